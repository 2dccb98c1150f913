//! Services, ports and operations: the WSDL's skeleton joined with the schemas' components.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::Severity;
use super::bundle::{Source, WSDL};
use super::compile::Compiler;
use super::document::Place;
use super::model::{ElementId, Name, TypeId};
use super::profile::Broken;
use super::simple::is_name;
use super::skeleton::{self, Binding, BindingOperation, BoundIo, Definitions, Io, Message, PortOperation, PortType};

/// How many parts the messages of all operations may have together.
const PARTS_MAX: usize = 200_000;
/// How many operations all ports may have together.
const OPERATIONS_MAX: usize = 20_000;

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
    /// As `RpcLiteral`, and every value says its type (SOAP 1.1 chapter 5).
    RpcEncoded,
}

/// How a message's values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    /// As the schema says.
    #[default]
    Literal,
    /// By the rules of SOAP 1.1 chapter 5, or SOAP 1.2 part 2 chapter 3.
    Encoded,
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
    /// What the details of its faults hold.
    pub faults: Vec<Part>,
    /// Why it cannot be called, if so.
    pub unsupported: Option<String>,
}

/// What stands in a SOAP body, and in its header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// rpc: the element that holds the parts.
    pub wrapper: Option<Name>,
    pub parts: Vec<Part>,
    pub headers: Vec<Header>,
    pub usage: Usage,
}

/// A header block that the binding declares.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub part: Part,
    /// The namespace of a block whose part names a type.
    pub namespace: Arc<str>,
    pub required: bool,
    pub usage: Usage,
}

/// A part of a message.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub name: String,
    pub holds: Holds,
    /// The type as the WSDL names it, which is not always a type: what `xsi:type` says of it.
    pub label: Option<Name>,
    pub place: Place,
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
    messages: Table<(usize, &'a Message)>,
    port_types: Table<(&'a PortType, HashMap<&'a str, &'a PortOperation>)>,
    bindings: Table<(usize, &'a Binding, &'a str)>,
    /// The target namespace of each file.
    targets: HashMap<usize, &'a str>,
}

/// Components by their names as `{namespace}local`.
struct Table<T> {
    known: HashMap<String, T>,
    /// The one name that has a local name; none where there are more.
    alone: HashMap<String, Option<String>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), alone: HashMap::new() }
    }
}

impl<T> Table<T> {
    fn add(&mut self, namespace: &str, local: &str, item: T) {
        let (local, name) = (local.trim(), format!("{{{namespace}}}{}", local.trim()));
        self.alone.entry(local.to_owned()).and_modify(|alone| *alone = None).or_insert_with(|| Some(name.clone()));
        self.known.entry(name).or_insert(item);
    }

    /// What a name means that is not there: the target namespace where there is no prefix or an undeclared one (the
    /// default namespace is mostly WSDL's own), else the only component of that local name.
    fn meant(&self, own: &str, written: &str) -> Option<String> {
        if self.known.contains_key(written) {
            return None;
        }
        let (namespace, local) = written.strip_prefix('{')?.split_once('}')?;
        let free = namespace.is_empty() || namespace == WSDL || namespace.starts_with("undeclared prefix");
        let meant = format!("{{{own}}}{local}");
        if free && self.known.contains_key(&meant) { Some(meant) } else { self.alone.get(local).cloned().flatten() }
    }

    /// The only component there is.
    fn only(&self) -> Option<String> {
        let mut names = self.known.keys();
        names.next().filter(|_| names.next().is_none()).cloned()
    }
}

/// Reads the services of a WSDL; compiles what their messages refer to.
pub(crate) fn services(
    sources: &[Source<'_>],
    files: &[usize],
    broken: &Broken,
    compiler: &mut Compiler<'_, '_, '_>,
) -> Vec<Service> {
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
    let mut joiner = Joiner {
        declared: &declared,
        broken,
        compiler,
        messages: HashMap::new(),
        bound: 0,
        parts: 0,
        requests_only: true,
    };
    joiner.compiler.findings.muted = true;
    for (file, definitions) in &read {
        for port in definitions.services.iter().flat_map(|service| &service.ports) {
            joiner.port(*file, port);
        }
    }
    joiner.compiler.findings.muted = false;
    joiner.compiler.requests_are_known();
    (joiner.requests_only, joiner.bound, joiner.parts) = (false, 0, 0);
    joiner.messages.clear();
    for (file, definitions) in &read {
        for service in &definitions.services {
            let ports = service.ports.iter().filter_map(|port| joiner.port(*file, port)).collect();
            services.push(Service { name: service.name.clone(), ports });
        }
    }
    joiner.compiler.drain();
    services
}

fn declare(read: &[(usize, Definitions)]) -> Declared<'_> {
    let mut declared = Declared::default();
    for (file, definitions) in read {
        declared.targets.insert(*file, &definitions.target);
        let target = definitions.target.as_str();
        for message in &definitions.messages {
            declared.messages.add(target, &message.name, (*file, message));
        }
        for port_type in &definitions.port_types {
            let mut operations = HashMap::new();
            for operation in &port_type.operations {
                operations.entry(operation.name.as_str()).or_insert(operation);
            }
            declared.port_types.add(target, &port_type.name, (port_type, operations));
        }
        for binding in &definitions.bindings {
            declared.bindings.add(target, &binding.name, (*file, binding, target));
        }
    }
    declared
}

struct Joiner<'x, 'c, 'b, 'd, 'i> {
    declared: &'x Declared<'x>,
    broken: &'x Broken,
    compiler: &'c mut Compiler<'b, 'd, 'i>,
    messages: HashMap<(String, bool, bool), Option<Vec<Part>>>,
    /// How many operations all ports have so far.
    bound: usize,
    /// How many parts their messages have.
    parts: usize,
    /// The first of two rounds: only what requests refer to.
    requests_only: bool,
}

impl<'i: 'd, 'd> Joiner<'_, '_, '_, 'd, 'i> {
    fn error(&mut self, file: usize, at: &str, rule: &str, message: String) {
        let (line, column) = skeleton::position(at);
        self.compiler.findings.add(Severity::Error, Place { file, line, column }, rule, message);
    }

    /// The name that is meant, with a warning when it is not the one that is written.
    fn meant(&mut self, file: usize, at: &str, written: &str, meant: Option<String>) -> String {
        let Some(meant) = meant else { return written.to_owned() };
        let (line, column) = skeleton::position(at);
        let message = format!("{written} is not there; assumed: {meant}; a prefix or a target namespace was forgotten");
        let place = Place { file, line, column };
        self.compiler.findings.add(Severity::Warning, place, "unprefixed-name", message);
        meant
    }

    fn port(&mut self, file: usize, port: &skeleton::ServicePort) -> Option<Port> {
        let own = self.declared.targets.get(&file).copied().unwrap_or_default();
        let bindings = &self.declared.bindings;
        let named = bindings.meant(own, &port.binding);
        let named = named.or_else(|| bindings.only().filter(|only| *only != port.binding));
        let named = self.meant(file, &port.at, &port.binding, named);
        let Some((at, binding, target)) = self.declared.bindings.known.get(&named).copied() else {
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
        let binding_name = named;
        let named = self.declared.port_types.meant(target, &binding.port_type);
        let named = self.meant(at, &binding.at, &binding.port_type, named);
        let Some((port_type, declared)) = self.declared.port_types.known.get(&named) else {
            let message =
                format!("binding {} is of the port type {}, which is not there", binding.name, binding.port_type);
            self.error(at, &binding.at, "WSDL 2.5", message);
            return None;
        };
        let soap = binding.soap11.as_ref().or(binding.soap12.as_ref());
        let style = soap.and_then(|soap| soap.style.as_deref()).unwrap_or("document");
        let mut seen = HashSet::new();
        let names = (binding_name.as_str(), named.as_str());
        let context = Context { file: at, port_type, declared, style, target, names };
        let operations = binding.operations.iter().filter(|operation| seen.insert(operation.name.as_str()));
        self.bound += binding.operations.len();
        if self.bound > OPERATIONS_MAX {
            let message = format!("the ports have more than {OPERATIONS_MAX} operations together");
            self.error(file, &port.at, "bounds", message);
            return None;
        }
        let operations = operations.filter_map(|operation| self.operation(&context, operation)).map(Arc::new).collect();
        Some(Port { name: port.name.clone(), version, endpoint, operations })
    }

    fn operation(&mut self, context: &Context<'_>, bound: &BindingOperation) -> Option<Bound> {
        let Some(declared) = context.declared.get(bound.name.as_str()).copied() else {
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
        let parts = declared.input.as_ref().map(|io| self.message(context.file, io, rpc, Severity::Error));
        if self.requests_only {
            return None;
        }
        let wrapper = rpc.then_some(bound.name.as_str());
        let mut input = body(context, wrapper, bound.input.as_ref(), declared.input.as_ref(), parts);
        input.headers = self.headers(context, bound.input.as_ref(), Severity::Warning);
        let output = declared.output.as_ref().map(|output| {
            let wrapper = rpc.then(|| format!("{}Response", bound.name));
            let parts = self.message(context.file, output, rpc, Severity::Warning);
            let mut body = body(context, wrapper.as_deref(), bound.output.as_ref(), Some(output), Some(parts));
            body.headers = self.headers(context, bound.output.as_ref(), Severity::Warning);
            body
        });
        let faults = declared.faults.iter();
        let faults = faults.flat_map(|io| self.message(context.file, io, rpc, Severity::Warning)).collect();
        let mut unsupported =
            declared.input.is_none().then(|| "it has no input: it is called by the other side".to_owned());
        let request = declared.input.as_ref().map(|io| (io.message.clone(), rpc, true));
        let leads_nowhere = request.is_some_and(|key| self.messages.get(&key).is_some_and(Option::is_none));
        if leads_nowhere
            || self.broken.has(context.names.0, &bound.name)
            || self.broken.has(context.names.1, &bound.name)
        {
            unsupported = Some("what the WSDL says of it leads nowhere or contradicts itself".to_owned());
        }
        if unsupported.is_none() {
            unsupported = self.refuse_text_in_body(context, bound, rpc, &input);
        }
        if unsupported.is_none() {
            unsupported = self.refuse_names(context, bound, &input);
        }
        let style = match (rpc, input.usage) {
            (true, Usage::Literal) => Style::RpcLiteral,
            (true, Usage::Encoded) => Style::RpcEncoded,
            (false, _) if self.is_wrapped(&bound.name, &input) => Style::DocumentWrapped,
            (false, _) => Style::DocumentBare,
        };
        let request = declared.input.as_ref().and_then(|input| input.name.clone());
        let request = request.unwrap_or_else(|| match output {
            Some(_) => format!("{}Request", bound.name),
            None => bound.name.clone(),
        });
        let (target, port_type) = (context.target.trim_end_matches('/'), &context.port_type.name);
        let default_action = format!("{target}/{port_type}/{request}");
        let action = action.trim().trim_matches('"').to_owned();
        Some(Bound { name: bound.name.clone(), action, default_action, style, input, output, faults, unsupported })
    }

    /// Why an operation cannot be called one of whose parts is text in the body itself.
    fn refuse_text_in_body(
        &mut self,
        context: &Context<'_>,
        bound: &BindingOperation,
        rpc: bool,
        input: &Body,
    ) -> Option<String> {
        let part = self.text_in_body(rpc, input)?;
        let message = format!(
            "operation {} is document/literal, and part {part} of its input is text of a type: WSDL 1.1 puts it into the \
             body itself, where SOAP has elements only, and no two systems agree what else to send; declare an element \
             for it in a schema, and let the part name that",
            bound.name
        );
        self.error(context.file, &bound.at, "R2204", message);
        Some(format!("its part {part} is text that no element holds"))
    }

    /// Why an operation cannot be called that would be written with an element of a name that XML has not: of an rpc message
    /// the wrapper and the parts (WSDL 1.1 3.5).
    fn refuse_names(&mut self, context: &Context<'_>, bound: &BindingOperation, input: &Body) -> Option<String> {
        let wrapper = input.wrapper.as_ref()?;
        let mut names = std::iter::once(&*wrapper.local).chain(input.parts.iter().map(|part| part.name.as_str()));
        let reason =
            format!("{:?} is no name that an element of XML can have", names.find(|name| !is_name(name, false))?);
        self.error(context.file, &bound.at, "WSDL 3.5", format!("operation {} is rpc, and {reason}", bound.name));
        Some(reason)
    }

    /// A document/literal part that is text of a type (Basic Profile R2204).
    fn text_in_body(&self, rpc: bool, body: &Body) -> Option<String> {
        let literal = !rpc && body.usage == Usage::Literal;
        let is_text = |part: &&Part| match (part.holds, &part.label) {
            (Holds::Type(_), Some(label)) => self.compiler.is_text(label),
            (Holds::Type(_) | Holds::Element(_), _) => false,
        };
        body.parts.iter().filter(|_| literal).find(is_text).map(|part| part.name.clone())
    }

    fn is_wrapped(&self, operation: &str, body: &Body) -> bool {
        match body.parts.as_slice() {
            [Part { holds: Holds::Element(element), .. }] => self.compiler.element_name(*element) == operation,
            _ => false,
        }
    }

    /// The header blocks that a binding declares; one that leads nowhere is named and left out.
    fn headers(&mut self, context: &Context<'_>, bound: Option<&BoundIo>, severity: Severity) -> Vec<Header> {
        let mut headers = Vec::new();
        for header in bound.into_iter().flat_map(|bound| bound.headers11.iter().chain(&bound.headers12)) {
            let io = Io { message: header.message.clone(), at: header.at.clone(), name: None };
            let messages = &self.declared.messages;
            let there = messages.known.contains_key(&io.message);
            if !there && messages.meant(context.target, &io.message).is_none() {
                let message =
                    format!("a header is of the message {}, which is not there; assumed: no header", io.message);
                let (line, column) = skeleton::position(&header.at);
                let place = Place { file: context.file, line, column };
                self.compiler.findings.add(Severity::Warning, place, "WSDL 3.7", message);
                continue;
            }
            let parts = self.message(context.file, &io, false, severity);
            let Some(part) = parts.into_iter().find(|part| part.name == header.part) else { continue };
            headers.push(Header {
                part,
                namespace: header.namespace.as_deref().unwrap_or(context.target).into(),
                required: matches!(header.required.as_deref().map(str::trim), Some("true" | "1")),
                usage: usage(header.usage.as_deref()),
            });
        }
        headers
    }

    /// The parts of a message. A part that refers to nothing is an error in a request; an answer is then read as it is.
    fn message(&mut self, file: usize, io: &Io, rpc: bool, severity: Severity) -> Vec<Part> {
        let key = (io.message.clone(), rpc, severity == Severity::Error);
        if let Some(parts) = self.messages.get(&key) {
            self.parts += parts.as_ref().map_or(0, Vec::len);
            if self.parts > PARTS_MAX {
                let message = format!("the messages of all operations have more than {PARTS_MAX} parts together");
                self.error(file, &io.at, "bounds", message);
                return Vec::new();
            }
            return parts.clone().unwrap_or_default();
        }
        let parts = self.read_message(file, io, rpc, severity);
        self.messages.insert(key, parts.clone());
        parts.unwrap_or_default()
    }

    fn holds(&mut self, part: &skeleton::Part) -> Option<Holds> {
        match (&part.element, &part.type_name) {
            (Some(element), _) => self.compiler.element(&from_clark(element)).map(Holds::Element),
            (None, Some(name)) => self.compiler.type_of(&from_clark(name)).map(Holds::Type),
            (None, None) => None,
        }
    }

    /// A part that names as its type what is an element, or is nowhere: in an rpc message the element's content, or
    /// anything at all, stands under the part's name.
    fn loose_holds(&mut self, file: usize, part: &skeleton::Part, rpc: bool) -> Option<Holds> {
        if part.element.is_some() {
            return None;
        }
        let element = part.type_name.as_ref().and_then(|name| self.compiler.element(&from_clark(name)));
        if element.is_none() && !rpc {
            return None;
        }
        let (assumed, holds) = match element {
            Some(element) if rpc => {
                ("the type of the element of that name", Holds::Type(self.compiler.type_of_element(element)))
            }
            Some(element) => ("the element of that name", Holds::Element(element)),
            None => ("any value", Holds::Type(self.compiler.any_type())),
        };
        let named = part.type_name.as_deref().unwrap_or("nothing");
        let message = format!(
            "part {} is of the type {named}, which no schema that is loaded declares; assumed: {assumed}",
            part.name
        );
        let (line, column) = skeleton::position(&part.at);
        self.compiler.findings.add(Severity::Warning, Place { file, line, column }, "WSDL 2.3.1", message);
        Some(holds)
    }

    /// A part that refers to nothing: what is meant when a prefix was forgotten, or the schema's target namespace.
    fn meant_holds(&mut self, file: usize, part: &skeleton::Part) -> Option<(Holds, Option<Name>)> {
        let written = part.element.as_ref().or(part.type_name.as_ref())?;
        let own = self.declared.targets.get(&file).copied().unwrap_or_default();
        let name = from_clark(written);
        let kind = if part.element.is_some() { "element" } else { "type" };
        let meant = self.compiler.guess(kind, own, &name)?;
        let meant = format!("{{{}}}{}", meant.namespace, meant.local);
        let guess = skeleton::Part {
            element: part.element.as_ref().map(|_| meant.clone()),
            type_name: part.type_name.as_ref().map(|_| meant.clone()),
            ..skeleton::Part::default()
        };
        let holds = self.holds(&guess)?;
        self.meant(file, &part.at, written, Some(meant));
        Some((holds, guess.type_name.as_deref().map(from_clark)))
    }

    fn read_message(&mut self, file: usize, io: &Io, rpc: bool, severity: Severity) -> Option<Vec<Part>> {
        let own = self.declared.targets.get(&file).copied().unwrap_or_default();
        let named = self.declared.messages.meant(own, &io.message);
        let named = self.meant(file, &io.at, &io.message, named);
        // What leads nowhere is named where the port type is checked.
        let (at, message) = self.declared.messages.known.get(&named).copied()?;
        let mut whole = true;
        let mut parts = Vec::new();
        for part in &message.parts {
            let written = part.type_name.as_deref().map(from_clark);
            let holds = self.holds(part).map(|holds| (holds, written.clone()));
            let holds = holds.or_else(|| self.meant_holds(at, part));
            let holds = holds.or_else(|| Some((self.loose_holds(at, part, rpc)?, written)));
            match holds {
                Some((holds, label)) => {
                    let (line, column) = skeleton::position(&part.at);
                    let place = Place { file: at, line, column };
                    parts.push(Part { name: part.name.clone(), holds, label, place });
                }
                None => {
                    let named = part.element.as_deref().or(part.type_name.as_deref()).unwrap_or("nothing");
                    let text = format!(
                        "part {} of message {} refers to {named}, which no schema that is loaded declares",
                        part.name, message.name
                    );
                    let (line, column) = skeleton::position(&part.at);
                    self.compiler.findings.add(severity, Place { file: at, line, column }, "WSDL 2.3.1", text);
                    whole = severity != Severity::Error;
                }
            }
        }
        whole.then_some(parts)
    }
}

struct Context<'x> {
    file: usize,
    port_type: &'x PortType,
    declared: &'x HashMap<&'x str, &'x PortOperation>,
    /// Of the binding and of the port type, as `{namespace}local`.
    names: (&'x str, &'x str),
    style: &'x str,
    target: &'x str,
}

/// What stands in the body: the parts that are bound there, and not as headers.
fn body(
    context: &Context<'_>,
    wrapper: Option<&str>,
    bound: Option<&BoundIo>,
    io: Option<&Io>,
    parts: Option<Vec<Part>>,
) -> Body {
    let soap = bound.and_then(soap_body);
    let parts = parts.unwrap_or_default();
    let only = soap.and_then(|soap| soap.parts.as_deref()).map(|parts| parts.split_whitespace().collect::<Vec<_>>());
    let attached: Vec<&str> = bound.map(|bound| bound.attachments.split_whitespace().collect()).unwrap_or_default();
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
            None => !headers.contains(part.name.as_str()) && !attached.contains(&part.name.as_str()),
        })
        .collect();
    let namespace = soap.and_then(|soap| soap.namespace.as_deref()).unwrap_or(context.target);
    let wrapper = wrapper.map(|wrapper| Name::new(namespace, wrapper));
    let usage = usage(soap.and_then(|soap| soap.usage.as_deref()));
    Body { wrapper, parts, headers: Vec::new(), usage }
}

fn soap_body(bound: &BoundIo) -> Option<&skeleton::SoapBody> {
    bound.body11.as_ref().or(bound.body12.as_ref())
}

fn usage(text: Option<&str>) -> Usage {
    if text.map(str::trim) == Some("encoded") { Usage::Encoded } else { Usage::Literal }
}

fn from_clark(text: &str) -> Name {
    let (namespace, local) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).unwrap_or(("", text));
    Name::new(namespace, local)
}
