//! Services, ports and operations: the WSDL's skeleton joined with the schemas' components.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::Severity;
use super::bundle::{Source, WSDL};
use super::compile::Compiler;
use super::document::Place;
use super::model::{ElementId, Name, TypeId};
use super::skeleton::{self, Binding, BindingOperation, BoundIo, Definitions, Io, Message, PortType};

/// Which SOAP a port speaks; 1.1 comes first where both have an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Version {
    /// SOAP 1.1.
    #[serde(rename = "1.1")]
    Soap11,
    /// SOAP 1.2.
    #[serde(rename = "1.2")]
    Soap12,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Soap11 => "1.1",
            Self::Soap12 => "1.2",
        })
    }
}

/// How an operation's messages are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// One element named like the operation holds the parameters.
    DocumentWrapped,
    /// The parts are the body's children.
    DocumentBare,
    /// An element named like the operation holds the parts by name, in no namespace.
    RpcLiteral,
}

/// A service with its SOAP ports.
#[derive(Debug)]
pub(crate) struct Service {
    pub name: String,
    pub ports: Vec<Port>,
}

/// A SOAP port.
#[derive(Debug)]
pub(crate) struct Port {
    pub name: String,
    pub version: Version,
    pub endpoint: String,
    pub operations: Vec<Arc<Bound>>,
}

/// An operation of a port.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub name: String,
    pub action: String,
    /// WS-Addressing 1.0 WSDL binding 4.4.4, for when there is no SOAP action.
    pub default_action: String,
    pub style: Style,
    pub input: Body,
    pub output: Option<Body>,
    /// Why it cannot be called, if so.
    pub unsupported: Option<String>,
}

/// What stands in a SOAP body.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// rpc: the element that holds the parts.
    pub wrapper: Option<Name>,
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub name: String,
    pub holds: Holds,
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Element(ElementId),
    Type(TypeId),
}

/// What the WSDL's files declare, by name.
#[derive(Default)]
struct Declared<'a> {
    messages: HashMap<String, (usize, &'a Message)>,
    port_types: HashMap<String, &'a PortType>,
    bindings: HashMap<String, (usize, &'a Binding, &'a str)>,
    /// The target namespace of each file.
    targets: HashMap<usize, &'a str>,
}

/// Reads the services of a WSDL; compiles what their messages refer to.
pub(crate) fn services(sources: &[Source<'_>], files: &[usize], compiler: &mut Compiler<'_, '_, '_>) -> Vec<Service> {
    let mut read: Vec<(usize, Definitions)> = Vec::new();
    for file in files {
        let Some(source) = sources.get(*file) else { continue };
        match skeleton::read(source) {
            Ok(definitions) => read.push((*file, definitions)),
            Err(reason) => {
                let place = Place { file: *file, line: 1, column: 1 };
                compiler.findings.add(Severity::Error, place, "WSDL", format!("cannot be read: {reason}"));
            }
        }
    }
    let declared = declare(&read);
    let mut services = Vec::new();
    for (file, definitions) in &read {
        for service in &definitions.services {
            let mut joiner = Joiner { declared: &declared, compiler, messages: HashMap::new() };
            let ports = service.ports.iter().filter_map(|port| joiner.port(*file, port)).collect();
            services.push(Service { name: service.name.clone(), ports });
        }
    }
    compiler.drain();
    services
}

fn declare(read: &[(usize, Definitions)]) -> Declared<'_> {
    let mut declared = Declared::default();
    for (file, definitions) in read {
        declared.targets.insert(*file, &definitions.target);
        let key = |name: &str| format!("{{{}}}{}", definitions.target, name.trim());
        for message in &definitions.messages {
            declared.messages.entry(key(&message.name)).or_insert((*file, message));
        }
        for port_type in &definitions.port_types {
            declared.port_types.entry(key(&port_type.name)).or_insert(port_type);
        }
        for binding in &definitions.bindings {
            let target = definitions.target.as_str();
            declared.bindings.entry(key(&binding.name)).or_insert((*file, binding, target));
        }
    }
    declared
}

struct Joiner<'x, 'c, 'b, 'd, 'i> {
    declared: &'x Declared<'x>,
    compiler: &'c mut Compiler<'b, 'd, 'i>,
    messages: HashMap<String, Option<Vec<Part>>>,
}

impl<'i: 'd, 'd> Joiner<'_, '_, '_, 'd, 'i> {
    fn error(&mut self, file: usize, at: &str, rule: &str, message: String) {
        let (line, column) = skeleton::position(at);
        self.compiler.findings.add(Severity::Error, Place { file, line, column }, rule, message);
    }

    /// A reference within WSDL. One without a prefix should be in the default namespace, which is mostly WSDL's own;
    /// what is meant is the target namespace.
    fn wsdl_name(&self, own: &str, name: &str, is_known: impl Fn(&str) -> bool) -> Option<String> {
        let local = name.strip_prefix("{}").or_else(|| name.strip_prefix(&format!("{{{WSDL}}}")))?;
        let meant = format!("{{{own}}}{local}");
        (!is_known(name) && is_known(&meant)).then_some(meant)
    }

    /// The name that is meant, with a warning when it is not the one that is written.
    fn meant(&mut self, file: usize, at: &str, written: &str, meant: Option<String>) -> String {
        let Some(meant) = meant else { return written.to_owned() };
        let (line, column) = skeleton::position(at);
        let message = format!("{written} is not there; assumed: {meant}, a prefix was forgotten");
        let place = Place { file, line, column };
        self.compiler.findings.add(Severity::Warning, place, "unprefixed-name", message);
        meant
    }

    fn port(&mut self, file: usize, port: &skeleton::ServicePort) -> Option<Port> {
        let own = self.declared.targets.get(&file).copied().unwrap_or_default();
        let named = self.wsdl_name(own, &port.binding, |key| self.declared.bindings.contains_key(key));
        let named = self.meant(file, &port.at, &port.binding, named);
        let Some((at, binding, target)) = self.declared.bindings.get(&named).copied() else {
            self.error(
                file,
                &port.at,
                "WSDL 2.6",
                format!("port {} names the binding {}, which is not there", port.name, port.binding),
            );
            return None;
        };
        let version = match (&binding.soap11, &binding.soap12) {
            (Some(_), _) => Version::Soap11,
            (None, Some(_)) => Version::Soap12,
            (None, None) => return None,
        };
        let address = port.soap11.as_ref().or(port.soap12.as_ref());
        let endpoint = address.map(|address| address.location.trim().to_owned()).unwrap_or_default();
        let is_known = |key: &str| self.declared.port_types.contains_key(key);
        let named = self.wsdl_name(target, &binding.port_type, is_known);
        let named = self.meant(at, &binding.at, &binding.port_type, named);
        let Some(port_type) = self.declared.port_types.get(&named).copied() else {
            let message =
                format!("binding {} is of the port type {}, which is not there", binding.name, binding.port_type);
            self.error(at, &binding.at, "WSDL 2.5", message);
            return None;
        };
        let soap = binding.soap11.as_ref().or(binding.soap12.as_ref());
        let style = soap.and_then(|soap| soap.style.as_deref()).unwrap_or("document");
        let mut seen = HashSet::new();
        let context = Context { file: at, port_type, style, target };
        let operations = binding.operations.iter().filter(|operation| seen.insert(operation.name.as_str()));
        let operations = operations.filter_map(|operation| self.operation(&context, operation)).map(Arc::new).collect();
        Some(Port { name: port.name.clone(), version, endpoint, operations })
    }

    fn operation(&mut self, context: &Context<'_>, bound: &BindingOperation) -> Option<Bound> {
        let Some(declared) = context.port_type.operations.iter().find(|operation| operation.name == bound.name) else {
            let message = format!(
                "the binding has an operation {}, its port type {} has none of that name",
                bound.name, context.port_type.name
            );
            self.error(context.file, &bound.at, "R2718", message);
            return None;
        };
        let soap = bound.soap11.as_ref().or(bound.soap12.as_ref());
        let action = soap.and_then(|soap| soap.action.clone()).unwrap_or_default();
        let style = soap.and_then(|soap| soap.style.as_deref()).unwrap_or(context.style);
        let rpc = style == "rpc";
        let mut unsupported = None;
        let input =
            self.body(context, &bound.name, bound.input.as_ref(), declared.input.as_ref(), rpc, &mut unsupported);
        let output = declared.output.as_ref().map(|output| {
            let name = format!("{}Response", bound.name);
            self.body(context, &name, bound.output.as_ref(), Some(output), rpc, &mut unsupported)
        });
        if declared.input.is_none() {
            unsupported = Some("it has no input: it is called by the other side".to_owned());
        }
        let style = if rpc {
            Style::RpcLiteral
        } else if self.is_wrapped(&bound.name, &input) {
            Style::DocumentWrapped
        } else {
            Style::DocumentBare
        };
        if !rpc && input.parts.iter().any(|part| matches!(part.holds, Holds::Type(_))) {
            unsupported = Some("its message is of document style, but a part names a type and no element".to_owned());
        }
        let request = declared.input.as_ref().and_then(|input| input.name.clone());
        let request = request.unwrap_or_else(|| match output {
            Some(_) => format!("{}Request", bound.name),
            None => bound.name.clone(),
        });
        let (target, port_type) = (context.target.trim_end_matches('/'), &context.port_type.name);
        let default_action = format!("{target}/{port_type}/{request}");
        let action = action.trim().trim_matches('"').to_owned();
        Some(Bound { name: bound.name.clone(), action, default_action, style, input, output, unsupported })
    }

    fn is_wrapped(&self, operation: &str, body: &Body) -> bool {
        match body.parts.as_slice() {
            [Part { holds: Holds::Element(element), .. }] => self.compiler.element_name(*element) == operation,
            _ => false,
        }
    }

    fn body(
        &mut self,
        context: &Context<'_>,
        wrapper: &str,
        bound: Option<&BoundIo>,
        io: Option<&Io>,
        rpc: bool,
        unsupported: &mut Option<String>,
    ) -> Body {
        let soap = bound.and_then(|bound| bound.body11.as_ref().or(bound.body12.as_ref()));
        if soap.and_then(|soap| soap.usage.as_deref()) == Some("encoded") {
            *unsupported = Some("its messages are rpc/encoded, which is not supported yet".to_owned());
        }
        let parts = io.map(|io| self.message(context.file, io)).unwrap_or_default();
        let only =
            soap.and_then(|soap| soap.parts.as_deref()).map(|parts| parts.split_whitespace().collect::<Vec<_>>());
        let headers: HashSet<&str> = bound
            .map(|bound| bound.headers11.iter().chain(&bound.headers12))
            .into_iter()
            .flatten()
            .filter(|header| io.is_some_and(|io| io.message == header.message))
            .map(|header| header.part.as_str())
            .collect();
        let parts = parts
            .into_iter()
            .filter(|part| match &only {
                Some(only) => only.contains(&part.name.as_str()),
                None => !headers.contains(part.name.as_str()),
            })
            .collect();
        let namespace = soap.and_then(|soap| soap.namespace.as_deref()).unwrap_or(context.target);
        Body { wrapper: rpc.then(|| Name::new(namespace, wrapper)), parts }
    }

    fn message(&mut self, file: usize, io: &Io) -> Vec<Part> {
        if let Some(parts) = self.messages.get(&io.message) {
            return parts.clone().unwrap_or_default();
        }
        let parts = self.read_message(file, io);
        self.messages.insert(io.message.clone(), parts.clone());
        parts.unwrap_or_default()
    }

    fn read_message(&mut self, file: usize, io: &Io) -> Option<Vec<Part>> {
        let own = self.declared.targets.get(&file).copied().unwrap_or_default();
        let named = self.wsdl_name(own, &io.message, |key| self.declared.messages.contains_key(key));
        let named = self.meant(file, &io.at, &io.message, named);
        let Some((at, message)) = self.declared.messages.get(&named).copied() else {
            self.error(file, &io.at, "WSDL 2.4", format!("there is no message {}", io.message));
            return None;
        };
        let mut parts = Vec::new();
        for part in &message.parts {
            let holds = match (&part.element, &part.type_name) {
                (Some(element), _) => self.compiler.element(&from_clark(element)).map(Holds::Element),
                (None, Some(name)) => self.compiler.type_of(&from_clark(name)).map(Holds::Type),
                (None, None) => None,
            };
            match holds {
                Some(holds) => parts.push(Part { name: part.name.clone(), holds }),
                None => {
                    let named = part.element.as_deref().or(part.type_name.as_deref()).unwrap_or("nothing");
                    let text = format!(
                        "part {} of message {} refers to {named}, which no schema that is loaded declares",
                        part.name, message.name
                    );
                    self.error(at, &part.at, "WSDL 2.3.1", text);
                }
            }
        }
        Some(parts)
    }
}

struct Context<'x> {
    file: usize,
    port_type: &'x PortType,
    style: &'x str,
    target: &'x str,
}

fn from_clark(text: &str) -> Name {
    let (namespace, local) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).unwrap_or(("", text));
    Name::new(namespace, local)
}
