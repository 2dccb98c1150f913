//! The provider of logins as the admin side sees it: who somebody is, and what the configuration grants them.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::account;
use crate::admin::oidc::{Failed, Person, Provider, Secrets};
use crate::config::{Oidc, Server};
use crate::deliver::oidc::{self, LoginError};

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

    fn address<'a>(&'a self, secrets: &'a Secrets) -> BoxFuture<'a, Result<String, Failed>> {
        async { Ok(self.0.provider.address(&known(secrets)).await?) }.boxed()
    }

    fn person<'a>(&'a self, code: &'a str, secrets: &'a Secrets) -> BoxFuture<'a, Result<Person, Failed>> {
        async {
            let oidc::Person { subject, name, values } = self.0.provider.person(code, &known(secrets)).await?;
            // Names are given by people, and several may have the same.
            let name = if name == subject { subject } else { format!("{name} ({subject})") };
            match account::granted(&self.0.grants, &values) {
                Some(rights) => Ok(Person { name, rights }),
                None => Err(Failed::Stranger(name)),
            }
        }
        .boxed()
    }
}

fn known(secrets: &Secrets) -> oidc::Secrets {
    let Secrets { state, nonce, verifier } = secrets.clone();
    oidc::Secrets { state, nonce, verifier }
}

impl From<LoginError> for Failed {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Unavailable(reason) => Self::Unavailable(reason),
            LoginError::Refused(reason) => Self::Refused(reason),
        }
    }
}
