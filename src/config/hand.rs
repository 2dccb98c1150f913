//! Calls of a destination that belong to no route: made by hand, with values of one's own.

use std::time::Duration;

use serde_json::Value as Json;

use super::destination::{Configured, Kind};
use super::route::soap_calls;
use crate::expression::Template;
use crate::map::soap::Message;
use crate::map::{Body, Calls, Leaf, Mapping, Node, RestCalls, Tree};
use crate::secret::Text;
use crate::wsdl::Operation;

/// How a destination is called, without what is sent.
#[derive(Clone)]
pub struct ByHand {
    kind: Kind,
    headers: Vec<(String, Template)>,
    idempotency_header: Option<String>,
    timeout: Duration,
}

/// Where a destination is, and what its calls have in common.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Its address, up to the first hole.
    pub url: Text,
    /// Its address as configured.
    pub shown: String,
    /// The headers that are the same for every call.
    pub headers: Vec<(String, Text)>,
    /// The operation, with SOAP.
    pub operation: Option<Operation>,
    /// How long a call may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for ByHand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByHand").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl ByHand {
    pub(super) fn of(configured: &Configured) -> Self {
        Self {
            kind: configured.kind.clone(),
            headers: configured.headers.clone(),
            idempotency_header: configured.idempotency_header.clone(),
            timeout: configured.timeout,
        }
    }

    /// Where it is, without any record; none for a destination that is wrong.
    #[must_use]
    pub fn whereabouts(&self) -> Option<Whereabouts> {
        let (url, shown, operation) = match &self.kind {
            Kind::Broken => return None,
            Kind::Soap(soap) => (soap.endpoint.clone(), soap.endpoint.masked(), Some(soap.operation.clone())),
            Kind::Rest(rest) => {
                let fixed = rest.url.whole().unwrap_or_else(|| Text::plain(rest.url.before_first_hole()));
                (fixed, rest.url.source(), None)
            }
        };
        let headers = self.headers.iter().filter_map(|(name, value)| Some((name.clone(), value.whole()?))).collect();
        Some(Whereabouts { url, shown, headers, operation, timeout: self.timeout })
    }

    /// A mapping that sends these values, whatever the record: target names with text, lists and objects as JSON. None
    /// for a destination that is wrong.
    #[must_use]
    pub fn mapping(&self, values: serde_json::Map<String, Json>) -> Option<Mapping> {
        let has_values = !values.is_empty();
        let leaf = |(name, value): (String, Json)| (name.clone(), Node::Leaf(name, Leaf::Constant(value)));
        let tree = Tree(values.into_iter().map(leaf).collect());
        let calls = match &self.kind {
            Kind::Broken => return None,
            Kind::Soap(soap) => Calls::Soap(Box::new(soap_calls(soap, Message::Arguments(tree)))),
            Kind::Rest(rest) => {
                let body = match (has_values, rest.form) {
                    (false, _) if matches!(rest.method.as_str(), "GET" | "DELETE") => Body::None,
                    (_, true) => Body::Form(tree),
                    (_, false) => Body::Json(tree),
                };
                let (method, url, query) = (rest.method.clone(), rest.url.clone(), rest.query.clone());
                Calls::Rest(RestCalls { method, url, query, body })
            }
        };
        let (headers, timeout) = (self.headers.clone(), self.timeout);
        Some(Mapping { calls, headers, idempotency_header: self.idempotency_header.clone(), timeout })
    }
}
