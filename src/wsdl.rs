//! WSDL 1.1 and XSD 1.0 → a model of what may be sent. Knows nothing of HTTP.
//!
//! [`load`] reads a WSDL with all it imports, from [`Files`] alone, never from the network. A WSDL is untrusted
//! input: files, depth and expansion are bounded. What is wrong with it is a list of [`Finding`]s, never a panic.

use std::io;
use std::path::Path;
use std::sync::Arc;

mod bind;
mod bundle;
mod canonical;
mod catalogue;
pub mod changes;
mod compile;
mod describe;
pub(crate) mod document;
pub(crate) mod encoding;
pub mod links;
pub(crate) mod model;
mod moment;
pub mod outbound;
pub mod outline;
mod pattern;
mod profile;
pub(crate) mod simple;
mod skeleton;

pub use bind::{Style, Usage, Version};
pub use describe::{Chosen, PathError, Target};

pub(crate) use bind::{Body, Header, Holds, Part};

/// Where documents come from: the disk, or a stored configuration.
pub trait Files: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As the file system says, or `InvalidData` when it is too large.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// Something wrong or remarkable in a WSDL or schema.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Whether it makes the document unusable.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// From 1; 0 when unknown.
    pub column: u32,
    /// A short stable name of the rule.
    pub rule: String,
    /// What is wrong, what was assumed, what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// It can, and something was assumed.
    Warning,
}

/// A WSDL with its schemas, ready to make operations of.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub schemas: model::Schemas,
    /// The files it was read from, by number, relative to the WSDL's folder.
    pub files: Vec<String>,
    pub services: Vec<bind::Service>,
    pub findings: Vec<Finding>,
}

/// A service as the WSDL has it, SOAP ports only.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its ports, in the WSDL's order.
    pub ports: Vec<Port>,
}

/// A SOAP port.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Which SOAP it speaks.
    pub version: Version,
    /// The address the WSDL gives; often an internal one, and empty when there is none.
    pub endpoint: String,
    /// The names of its operations.
    pub operations: Vec<String>,
}

/// Which operation is meant. Service and port only where the WSDL leaves a choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperationChoice<'a> {
    /// The service's name.
    pub service: Option<&'a str>,
    /// The port's name.
    pub port: Option<&'a str>,
    /// The operation's name.
    pub operation: &'a str,
}

/// Why no operation can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ChoiceError {
    /// Which part of the choice is wrong: `service`, `port` or `operation`, as the configuration's keys are called.
    pub key: &'static str,
    /// In words, with the nearest names.
    pub reason: String,
}

/// One operation of one port, with the whole model behind it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) model: Arc<Inner>,
    pub(crate) service: String,
    pub(crate) port: String,
    pub(crate) endpoint: String,
    pub(crate) version: Version,
    pub(crate) bound: Arc<bind::Bound>,
}

/// How far what is written may be from what is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// What many documents get wrong is understood as it was meant, and each such leniency is a warning.
    #[default]
    Lenient,
    /// Nothing is assumed: every finding is an error.
    Strict,
}

/// Reads a WSDL and all it imports, leniently.
///
/// # Errors
/// All findings, when one of them makes the WSDL unusable.
pub fn load(path: &Path, files: &dyn Files) -> Result<Model, Vec<Finding>> {
    load_as(path, files, Reading::Lenient)
}

/// Reads a WSDL and all it imports, as leniently as said.
///
/// # Errors
/// All findings, when one of them makes the WSDL unusable.
pub fn load_as(path: &Path, files: &dyn Files, reading: Reading) -> Result<Model, Vec<Finding>> {
    let shelf = bundle::Shelf::default();
    let bundle::Bundle { sources, schemas, definitions, mut findings } = bundle::read(path, files, &shelf);
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let broken = profile::check(&sources, &definitions, &mut findings);
    let mut compiler = compile::Compiler::new(&sources, &schemas, &mut findings);
    let services = bind::services(&sources, &definitions, &broken, &mut compiler);
    let schemas = compiler.finish();
    let mut findings = findings.finish(&names);
    let usable = |port: &bind::Port| port.operations.iter().any(|operation| operation.unsupported.is_none());
    if services.iter().flat_map(|service| &service.ports).any(usable) {
        let spoilt = findings.iter_mut().filter(|finding| profile::is_local(&finding.rule));
        for finding in spoilt.filter(|finding| finding.severity == Severity::Error) {
            finding.severity = Severity::Warning;
            finding.message.push_str("; assumed: what depends on it is not called");
        }
    }
    if reading == Reading::Strict {
        findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    Ok(Model { inner: Arc::new(Inner { schemas, files: names, services, findings }) })
}

impl Model {
    /// What was remarkable, all of it warnings.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.inner.findings
    }

    /// The services with their SOAP ports.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let port = |port: &bind::Port| Port {
            name: port.name.clone(),
            version: port.version,
            endpoint: port.endpoint.clone(),
            operations: port.operations.iter().map(|operation| operation.name.clone()).collect(),
        };
        let services = self.inner.services.iter();
        services
            .map(|known| Service { name: known.name.clone(), ports: known.ports.iter().map(port).collect() })
            .collect()
    }

    /// Takes an operation: of the first SOAP 1.1 port that has it, else of the first SOAP 1.2 port.
    ///
    /// # Errors
    /// What is unknown, with the nearest name, or why the operation cannot be called.
    pub fn operation(&self, choice: &OperationChoice<'_>) -> Result<Operation, ChoiceError> {
        let refuse = |key, reason: String| Err(ChoiceError { key, reason });
        let services = &self.inner.services;
        if let Some(name) = choice.service
            && !services.iter().any(|service| service.name == name)
        {
            return refuse("service", unknown("service", name, services.iter().map(|service| service.name.as_str())));
        }
        let chosen = |service: &&bind::Service| choice.service.is_none_or(|name| service.name == name);
        let ports: Vec<_> = services
            .iter()
            .filter(chosen)
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
            .collect();
        if let Some(name) = choice.port
            && !ports.iter().any(|(_, port)| port.name == name)
        {
            return refuse("port", unknown("SOAP port", name, ports.iter().map(|(_, port)| port.name.as_str())));
        }
        let mut having: Vec<_> = ports
            .iter()
            .filter(|(_, port)| choice.port.is_none_or(|name| port.name == name))
            .filter_map(|(service, port)| {
                let bound = port.operations.iter().find(|operation| operation.name == choice.operation)?;
                Some((service, port, bound))
            })
            .collect();
        having.sort_by_key(|(_, port, bound)| (bound.unsupported.is_some(), port.version));
        let Some((service, port, bound)) = having.first() else {
            let known = ports.iter().flat_map(|(_, port)| &port.operations).map(|operation| operation.name.as_str());
            return refuse("operation", unknown("operation", choice.operation, known));
        };
        if let Some(reason) = &bound.unsupported {
            return refuse("operation", format!("operation {} of port {}: {reason}", bound.name, port.name));
        }
        Ok(Operation {
            model: Arc::clone(&self.inner),
            service: service.name.clone(),
            port: port.name.clone(),
            endpoint: port.endpoint.clone(),
            version: port.version,
            bound: Arc::clone(bound),
        })
    }
}

impl Operation {
    /// The whole WSDL that it is of.
    #[must_use]
    pub fn wsdl(&self) -> Model {
        Model { inner: Arc::clone(&self.model) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.bound.name
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The port's name.
    #[must_use]
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The address the WSDL gives; empty when it gives none.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The SOAP action, unquoted; often empty.
    #[must_use]
    pub fn soap_action(&self) -> &str {
        &self.bound.action
    }

    /// Which SOAP it speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How its messages are made.
    #[must_use]
    pub fn style(&self) -> Style {
        let text = |part: &Part| match part.holds {
            Holds::Element(element) => {
                self.model.schemas.simple(self.model.schemas.elements[element].type_id).is_some()
            }
            Holds::Type(_) => false,
        };
        // A text has no members that could stand for the message.
        let bare = self.bound.style == Style::DocumentWrapped && self.bound.input.parts.iter().any(text);
        if bare { Style::DocumentBare } else { self.bound.style }
    }

    /// How the request's values are written.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.bound.input.usage
    }

    /// Whether no answer is declared.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.bound.output.is_none()
    }
}

/// The nearest of some names, if one is near.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_lowercase();
    known
        .take(10_000)
        .filter(|known| known.len() < 200 && name.len() < 200)
        .map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}

fn unknown<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let shown = document::clip(name, 100);
    if let Some(near) = nearest(name, known.clone()) {
        return format!("the WSDL has no {kind} {shown:?}; did you mean {near:?}?");
    }
    let mut names: Vec<&str> = known.collect();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > 10 { ", …" } else { "" };
    let some: Vec<&str> = names.into_iter().take(10).collect();
    if some.is_empty() {
        return format!("the WSDL has no {kind} {shown:?}; it has no {kind} at all");
    }
    format!("the WSDL has no {kind} {shown:?}; it has {}{more}", some.join(", "))
}
