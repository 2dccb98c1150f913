//! The edge to those who are told of alarms: a webhook, a mailbox, a program.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use self::mail::Mailbox;
use self::program::Program;
use super::{Target, send};
use crate::call::Call;
use crate::outcome::Exchange;
use crate::secret::Text;

pub mod mail;
pub mod program;

/// Something to be told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// By which it is known again, when it comes twice.
    pub id: String,
    /// In one line.
    pub title: String,
    /// For people.
    pub text: String,
    /// For machines.
    pub json: Bytes,
}

/// Where notices go.
#[derive(Clone)]
pub enum Channel {
    /// They are posted, as JSON.
    Webhook(Box<Webhook>),
    /// They are sent by e-mail.
    Email(Box<Mailbox>),
    /// A program reads them, as JSON.
    Command(Program),
}

/// Where notices are posted to.
#[derive(Clone)]
pub struct Webhook {
    /// The address.
    pub url: Text,
    /// The connection, with what signs them.
    pub target: Target,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Channel {
    /// What kind it is, as the configuration says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Command(_) => "command",
        }
    }

    /// Hands over a notice, once.
    ///
    /// # Errors
    /// Why it did not arrive, in words and without secrets.
    pub async fn send(&self, notice: &Notice) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.post(notice).await,
            Self::Email(mailbox) => mailbox.send(notice).await,
            Self::Command(program) => program.run(&notice.json).await,
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Webhook {
    async fn post(&self, notice: &Notice) -> Result<(), String> {
        let call = Call {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![("Content-Type".to_owned(), Text::plain("application/json"))],
            id: notice.id.clone(),
            trace: None,
            body: notice.json.clone(),
            timeout: self.timeout,
        };
        match send(&self.target, &call).await {
            Exchange::Answered(answer) if (200..300).contains(&answer.status) => Ok(()),
            Exchange::Answered(answer) => Err(format!("it answered {}", answer.status)),
            Exchange::NotSent { reason } | Exchange::NoCredentials { reason, .. } | Exchange::NoAnswer { reason } => {
                Err(reason)
            }
        }
    }
}
