//! Calls of SOAP: the mapped tree becomes the operation's message, by the WSDL's model.

use std::time::Duration;

use bytes::Bytes;

use crate::call::Call;
use crate::expression::{Document, Subject};
use crate::map::{Identity, MapError, Tree};
use crate::outcome::Response;
use crate::secret::Text;
use crate::soap::{self, Addressing, EncodeOptions, Encoded, Reply};
use crate::wsdl::{Operation, Version};

/// Calls of one SOAP operation.
#[derive(Debug)]
pub struct SoapCalls {
    /// What is called.
    pub operation: Operation,
    /// Where to.
    pub endpoint: Text,
    /// What is sent.
    pub message: Message,
    /// Whether WS-Addressing headers are sent; never with a template, which writes its own.
    pub addressing: Option<AddressingHeaders>,
}

/// How WS-Addressing headers are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressingHeaders {
    /// Whether a server that does not understand them must say so.
    pub must_understand: bool,
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
    pub(super) fn call(&self, subject: &Subject<'_>, identity: &Identity, timeout: Duration) -> Result<Call, MapError> {
        let encoded = match &self.message {
            Message::Arguments(tree) => self.encoded(tree, subject, identity)?,
            Message::Document(document) => self.rendered(document, subject)?,
        };
        let mut headers = vec![("Content-Type".to_owned(), Text::plain(encoded.content_type))];
        headers.extend(encoded.soap_action.map(|action| ("SOAPAction".to_owned(), Text::plain(action))));
        let body = Bytes::from(encoded.body);
        let (method, url) = ("POST".to_owned(), self.endpoint.clone());
        Ok(Call { method, url, headers, id: String::new(), trace: None, body, timeout })
    }

    fn encoded(&self, tree: &Tree, subject: &Subject<'_>, identity: &Identity) -> Result<Encoded, MapError> {
        let argument = tree.arguments(subject)?;
        let addressing = self.addressing.map(|wanted| Addressing {
            message_id: identity.message_id(),
            to: self.endpoint.masked(),
            must_understand: wanted.must_understand,
        });
        let options = EncodeOptions { addressing, ..EncodeOptions::default() };
        soap::encode(&self.operation, &argument, &options).map_err(|error| {
            let reason = match tree.behind(&error.path) {
                Some((path, leaf)) => format!("{error} ({path} = {leaf})"),
                None => error.to_string(),
            };
            MapError { place: error.path, reason }
        })
    }

    fn rendered(&self, document: &Document, subject: &Subject<'_>) -> Result<Encoded, MapError> {
        let body = super::rendered(document, "text/xml", subject)?;
        soap::validate(&self.operation, &body).map_err(|error| MapError {
            place: document.file().to_owned(),
            reason: format!("{}: what it gives is not what the WSDL wants: {error}", document.file()),
        })?;
        let action = self.operation.soap_action();
        Ok(match self.operation.version() {
            Version::Soap11 => Encoded {
                content_type: "text/xml; charset=utf-8".to_owned(),
                soap_action: Some(format!("\"{action}\"")),
                body,
            },
            Version::Soap12 if action.is_empty() => {
                Encoded { content_type: "application/soap+xml; charset=utf-8".to_owned(), soap_action: None, body }
            }
            Version::Soap12 => Encoded {
                content_type: format!("application/soap+xml; charset=utf-8; action=\"{action}\""),
                soap_action: None,
                body,
            },
        })
    }

    pub(super) fn reply(&self, response: &Response) -> Reply {
        soap::decode(&self.operation, response)
    }
}
