//! TLS for servers too old for ours: `tls = "legacy"`. Only builds with the feature `legacy-tls` have it.

/// Whether this build has it.
pub const IS_THERE: bool = cfg!(feature = "legacy-tls");

/// What a build without it says.
pub const WITHOUT: &str = "this omgate was built without TLS for old servers, and speaks TLS 1.2 and 1.3 only: build it with \
                           `cargo build --release --features legacy-tls` (which takes OpenSSL's headers: libssl-dev and \
                           pkg-config), or put a TLS relay such as stunnel before the system, and call that";

#[cfg(feature = "legacy-tls")]
mod client;

#[cfg(feature = "legacy-tls")]
pub(super) use client::Legacy;

#[cfg(not(feature = "legacy-tls"))]
pub(super) use absent::Legacy;

#[cfg(not(feature = "legacy-tls"))]
mod absent {
    //! What stands in its place.

    use std::time::Duration;

    use reqwest::{Request, Response};

    use super::WITHOUT;
    use crate::deliver::Failure;
    use crate::deliver::egress::Gate;
    use crate::deliver::tls::{Seen, Tls, TlsError};

    /// There is none.
    #[derive(Clone)]
    pub(in crate::deliver) enum Legacy {}

    impl Legacy {
        pub(in crate::deliver) fn new(_: &Tls, _: Seen, _: &Gate, _: Duration) -> Result<Self, TlsError> {
            Err(TlsError::Other(WITHOUT.to_owned()))
        }

        pub(in crate::deliver) async fn execute(&self, _: Request) -> Result<Response, Failure> {
            match *self {}
        }
    }
}
