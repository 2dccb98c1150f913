//! The edge to destinations: [`Call`] → [`Exchange`].

use crate::call::Call;
use crate::outcome::Exchange;

pub mod classify;

/// A destination's connection: client, credentials, bounds.
#[derive(Clone, Debug)]
pub struct Target {}

/// Makes the call. Never fails: what went wrong is part of the exchange.
pub async fn send(_target: &Target, _call: &Call) -> Exchange {
    unimplemented!()
}
