//! Calls of SOAP: the mapped tree becomes the operation's message, by the WSDL's model.

use std::time::Duration;

use crate::call::Call;
use crate::expression::{Document, Subject, Template};
use crate::map::{Identity, MapError, Tree};
use crate::outcome::Response;
use crate::soap::Reply;

/// Calls of one SOAP operation.
#[derive(Debug)]
pub struct SoapCalls {
    /// Where to.
    pub endpoint: Template,
    /// What is sent.
    pub message: Message,
    /// Whether WS-Addressing headers are sent.
    pub addressing: bool,
}

/// What a SOAP call sends.
#[derive(Debug)]
pub enum Message {
    /// The operation's arguments.
    Arguments(Tree),
    /// A whole envelope from a template.
    Document(Document),
}

impl SoapCalls {
    pub(super) fn call(
        &self,
        _subject: &Subject<'_>,
        _identity: &Identity,
        _timeout: Duration,
    ) -> Result<Call, MapError> {
        Err(MapError { reason: "SOAP is not wired yet".to_owned() })
    }

    pub(super) fn reply(&self, _response: &Response) -> Reply {
        Reply::Unreadable(String::new())
    }
}
