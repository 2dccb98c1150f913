//! The provider of logins as the admin side sees it: who somebody is, and what the configuration grants them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::account::{self, Rights};
use crate::admin::oidc::Provider;
use crate::config::{Oidc, Server};
use crate::login::{LoginError, Person, Secrets};

/// The provider of a configuration, where it has one.
pub(super) fn provider(server: &Server) -> Option<Arc<dyn Provider>> {
    server.oidc.clone().map(|oidc| Arc::new(House(oidc)) as _)
}

#[derive(Debug)]
struct House(Oidc);

impl Provider for House {
    fn issuer(&self) -> &str {
        self.0.provider.issuer()
    }

    fn terms(&self) -> [u8; 32] {
        self.0.terms
    }

    fn address<'a>(&'a self, secrets: &'a Secrets) -> BoxFuture<'a, Result<String, LoginError>> {
        self.0.provider.address(secrets).boxed()
    }

    fn person<'a>(&'a self, code: &'a str, secrets: &'a Secrets) -> BoxFuture<'a, Result<Person, LoginError>> {
        self.0.provider.person(code, secrets).boxed()
    }

    fn rights(&self, person: &Person) -> Option<Rights> {
        account::granted(&self.0.grants, &person.values)
    }
}
