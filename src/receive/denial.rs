//! Who is turned away at the edge before a body is read, and why: never with an acknowledgement.

use crate::certificate::Certificate;

/// Somebody who was turned away.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Which kind of reason it is.
    pub denial: Denial,
    /// The source that the request named; none when it came to no request.
    pub source: Option<String>,
    /// The sender's address.
    pub sender: String,
    /// In words, with what to do.
    pub reason: String,
    /// The client certificate that was refused.
    pub certificate: Option<Box<Certificate>>,
}

/// The kinds of reasons for which somebody is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// A client certificate is required, and none came.
    NoCertificate,
    /// What came as a certificate cannot be read.
    CertificateUnreadable,
    /// It does not hold any more.
    CertificateExpired,
    /// It does not hold yet.
    CertificateNotYetValid,
    /// None of the authorities issued it, or it is not as they must issue it.
    CertificateIssuer,
    /// An authority issued it, and it has none of the names.
    CertificateName,
    /// It is none of those that are pinned.
    CertificatePin,
    /// The sender's address is not one of the source's.
    Address,
    /// The PROXY protocol was not spoken as it must be.
    Proxy,
    /// The TLS handshake failed, or it took too long.
    Handshake,
}

impl Denial {
    /// The word for it in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::CertificateUnreadable => "certificate_unreadable",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::CertificateIssuer => "certificate_issuer",
            Self::CertificateName => "certificate_name",
            Self::CertificatePin => "certificate_pin",
            Self::Address => "address",
            Self::Proxy => "proxy",
            Self::Handshake => "handshake",
        }
    }
}
