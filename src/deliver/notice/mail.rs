//! A mailbox that is told, by way of a mail server (RFC 5321).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox as Address, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use reqwest::Url;
use tokio::net::TcpStream;

use super::Notice;
use crate::deliver::egress::{Egress, Gate, Names};
use crate::deliver::{mask_of, tls};
use crate::secret::Text;

/// How the connection to a mail server is kept from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// It begins in clear, and turns to TLS before anything is said.
    StartTls,
    /// It is TLS from the first byte.
    Tls,
    /// Nothing does: for a server on this machine.
    None,
}

impl Privacy {
    /// Where servers listen for it.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// What a configuration says of a mailbox.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name or address of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub privacy: Privacy,
    /// A PEM file of the authorities that its certificate comes from; none: those of this machine.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub credentials: Option<(Text, Text)>,
    /// Who sends, such as `omgate <omgate@example.com>`.
    pub from: String,
    /// Who is told.
    pub to: Vec<String>,
    /// How long it all may take.
    pub timeout: Duration,
    /// What this gateway calls itself.
    pub gateway: String,
}

/// A mailbox, ready to be written to.
#[derive(Clone)]
pub struct Mailbox {
    settings: Settings,
    from: Address,
    to: Vec<Address>,
    tls: Tls,
    gate: Gate,
}

/// Reads an address of e-mail.
///
/// # Errors
/// In words.
pub fn check_address(text: &str) -> Result<(), String> {
    address(text).map(drop)
}

fn address(text: &str) -> Result<Address, String> {
    let wrong = |error| format!("{text:?} is no address of e-mail ({error}); write one such as \"ops@example.com\"");
    text.parse().map_err(wrong)
}

impl Mailbox {
    /// Sets it up; nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: Settings, egress: Egress) -> Result<Self, String> {
        let from = address(&settings.from)?;
        let to: Result<Vec<_>, _> = settings.to.iter().map(|text| address(text)).collect();
        let tls = match settings.privacy {
            Privacy::None => Tls::None,
            Privacy::StartTls => Tls::Required(parameters(&settings)?),
            Privacy::Tls => Tls::Wrapper(parameters(&settings)?),
        };
        Ok(Self { from, to: to?, tls, gate: Gate::new(egress, None, Names::default()), settings })
    }

    /// Sends a notice.
    pub(super) async fn send(&self, notice: &Notice) -> Result<(), String> {
        let Settings { host, port, timeout, .. } = &self.settings;
        let sent = tokio::time::timeout(*timeout, self.hand_over(notice)).await;
        let told = sent.unwrap_or_else(|_| Err(format!("it took longer than {} s", timeout.as_secs_f64())));
        let texts = self.settings.credentials.iter().flat_map(|(user, password)| [user, password]);
        told.map_err(|reason| mask_of(texts).apply(&format!("mail server {host}:{port}: {reason}")))
    }

    async fn hand_over(&self, notice: &Notice) -> Result<(), String> {
        let message = self.message(notice)?;
        let address = self.reached().await?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(address.port())
            .timeout(Some(self.settings.timeout))
            .tls(self.tls.clone());
        if let Some(name) = self.name() {
            transport = transport.hello_name(ClientId::Domain(name.to_owned()));
        }
        if let Some((username, password)) = &self.settings.credentials {
            transport = transport.credentials(Credentials::new(username.reveal(), password.reveal()));
        }
        transport.build().send(message).await.map(drop).map_err(|error| in_words(&error))
    }

    /// The first of the server's addresses that may be gone to, and answers.
    async fn reached(&self) -> Result<SocketAddr, String> {
        let Settings { host, port, .. } = &self.settings;
        let url = url(host, *port).ok_or_else(|| "that is no name of a server".to_owned())?;
        self.gate.admit(&url).map_err(|refusal| refusal.to_string())?;
        let name = url.host_str().unwrap_or(host);
        let addresses = self.gate.addresses(name).await.map_err(|error| error.to_string())?;
        let mut reason = "the name has no address".to_owned();
        for mut address in addresses {
            address.set_port(*port);
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(address),
                Err(error) => reason = format!("no connection to {address}: {error}"),
            }
        }
        Err(reason)
    }

    fn message(&self, notice: &Notice) -> Result<Message, String> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let place = self.name().unwrap_or("omgate");
        let mut builder: MessageBuilder = Message::builder()
            .from(self.from.clone())
            .subject(notice.title.clone())
            .message_id(Some(format!("<{}@{place}>", notice.id)))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(notice.text.clone()).map_err(|error| error.to_string())
    }

    /// The gateway's name, where a mail server would take it.
    fn name(&self) -> Option<&str> {
        let name = self.settings.gateway.as_str();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        (!name.is_empty() && name.chars().all(fits)).then_some(name)
    }
}

/// The server as egress rules judge it.
#[must_use]
pub fn url(host: &str, port: u16) -> Option<Url> {
    let is_v6 = host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    let host = if is_v6 { format!("[{host}]") } else { host.to_owned() };
    Url::parse(&format!("http://{host}:{port}/")).ok()
}

fn parameters(settings: &Settings) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca {
        builder = builder.certificate_store(CertificateStore::None);
        for der in tls::certificates(path)? {
            builder = builder.add_root_certificate(Certificate::from_der(der.to_vec()).map_err(|e| in_words(&e))?);
        }
    }
    builder.build_rustls().map_err(|error| in_words(&error))
}

/// What an error and those behind it say.
fn in_words(error: &lettre::transport::smtp::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        let text = inner.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = inner.source();
    }
    words
}
