//! The edge to Salesforce: address, identity, size, method, content type. Bytes in, answer out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::envelope::{ActionId, OrganizationId, RecordTypes};

/// One configured outbound message, as the edge needs it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The path it listens on, with a leading slash.
    pub path: String,
    /// Who may send; none: any organization.
    pub organizations: Option<Vec<OrganizationId>>,
    /// Which outbound messages may come; none: any.
    pub actions: Option<Vec<ActionId>>,
    /// What happens to others.
    pub unknown_organization: UnknownOrganization,
    /// The declared fields, when there is a WSDL.
    pub record_types: Option<Arc<RecordTypes>>,
    /// The WSDL's text, when `expose_wsdl` is on.
    pub wsdl: Option<Arc<str>>,
    /// Alarm when the same record comes more often than this in a minute.
    pub loop_per_minute: u32,
    /// Alarm when nothing came for this long; none: never.
    pub silence: Option<Duration>,
}

/// What happens to an envelope of an unknown organization or outbound message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownOrganization {
    /// A Fault; Salesforce drops it.
    #[default]
    Refuse,
    /// Stored aside, acknowledged, alarmed.
    Quarantine,
}

/// The bounds of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a body, before and after decompression, in bytes.
    pub body_bytes_max: usize,
    /// Nesting of elements.
    pub depth_max: usize,
    /// Notifications in an envelope.
    pub notifications_max: usize,
    /// Fields of a record.
    pub fields_max: usize,
    /// For the request line and headers.
    pub header_timeout: Duration,
    /// For the whole body.
    pub body_timeout: Duration,
    /// Open connections.
    pub connections_max: usize,
    /// Envelopes waiting for the store; one more is nacked.
    pub queue_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            depth_max: 64,
            notifications_max: 100,
            fields_max: 2_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            connections_max: 1_024,
            queue_max: 1_024,
        }
    }
}

/// TLS of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM: leaf first, then intermediates.
    pub certificate: PathBuf,
    /// PEM.
    pub private_key: PathBuf,
    /// Whether a client certificate is asked for.
    pub client_auth: ClientAuth,
    /// PEM: the authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    Off,
    /// Checked when it comes.
    Optional,
    /// No connection without one.
    Required,
}
