//! Who makes a changing call, for the audit log.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use crate::admin::access::{Caller, Who};
use crate::person;

/// The person at the other end: the account, or who the machine says it is where there are none; taken by every handler that changes something.
pub(super) struct Person(pub(super) String);

impl FromRequest for Person {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let who = request.extensions().get::<Caller>().map(|caller| caller.who.clone()).unwrap_or_default();
        let peer = request.peer_addr();
        let own_port = request.app_config().local_addr().port();
        Box::pin(async move {
            match who {
                Who::Account(name) => return Ok(Self(format!("account {name}"))),
                Who::Person(name) => return Ok(Self(format!("oidc {name}"))),
                Who::Token(name) => return Ok(Self(format!("token {name}"))),
                Who::Machine | Who::Nobody => {}
            }
            let Some(peer) = peer else { return Ok(Self(String::new())) };
            // The kernel's tables are read at once, but may be long.
            let found = web::block(move || person::of_connection(peer, own_port)).await;
            Ok(Self(found.unwrap_or_else(|_| peer.ip().to_string())))
        })
    }
}
