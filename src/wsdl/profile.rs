//! What WSDL 1.1 and the WS-I Basic Profile 1.1 ask of a WSDL, beyond what a message needs to be made.
//!
//! Each rule has its name in those texts. What leaves a message's form open is an error; the rest is a warning that
//! says what was assumed, and an error for those who read strictly.

use std::collections::{HashMap, HashSet};

use roxmltree::Node;

use super::Severity;
use super::bundle::{Findings, Source, WSDL, place};
use super::document::{elements, split_qname};
use super::skeleton::{SOAP11, SOAP12};

/// The namespace of the MIME binding.
const MIME: &str = "http://schemas.xmlsoap.org/wsdl/mime/";

/// The operations that cannot be called, whatever else is right.
#[derive(Debug, Default)]
pub(crate) struct Broken(HashSet<(String, String)>);

impl Broken {
    /// Of a binding or a port type, `{namespace}local`.
    pub(crate) fn has(&self, owner: &str, operation: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(owner.to_owned(), operation.to_owned()))
    }

    fn note(&mut self, owner: Node<'_, '_>, operation: &str) {
        if let Some((namespace, name)) = own_name(owner) {
            self.0.insert((format!("{{{namespace}}}{name}"), operation.to_owned()));
        }
    }
}

/// The rules whose breach spoils one operation or one port, and no other.
pub(crate) fn is_local(rule: &str) -> bool {
    matches!(
        rule,
        "R2718" | "R2101" | "R2204" | "R2701" | "WSDL 2.4" | "WSDL 2.3.1" | "WSDL 2.5" | "WSDL 2.6" | "WSDL 3.5"
    )
}

/// How many parts, headers and faults are looked at: operations share messages.
const WORK_MAX: usize = 5_000_000;

/// A component's namespace and name.
type Key<'d> = (&'d str, &'d str);
type Element<'d, 'i> = Node<'d, 'i>;

/// What all files of a WSDL declare.
struct Wsdl<'d, 'i> {
    sources: &'d [Source<'i>],
    messages: Table<'d, 'i>,
    port_types: Table<'d, 'i>,
}

/// Components by name.
#[derive(Default)]
struct Table<'d, 'i> {
    known: HashMap<Key<'d>, Element<'d, 'i>>,
    /// The one component of a local name; none where there are more.
    alone: HashMap<&'d str, Option<Element<'d, 'i>>>,
}

impl<'d, 'i> Table<'d, 'i> {
    fn add(&mut self, key: Key<'d>, node: Element<'d, 'i>) {
        self.alone.entry(key.1).and_modify(|alone| *alone = None).or_insert(Some(node));
        self.known.entry(key).or_insert(node);
    }

    /// A reference; one that leads nowhere may mean the target namespace, or the only one of its local name.
    fn resolve(&self, at: Element<'d, 'i>, written: &str) -> Option<Element<'d, 'i>> {
        let (prefix, local) = split_qname(written);
        let namespace = at.lookup_namespace_uri(prefix);
        let direct = namespace.and_then(|namespace| self.known.get(&(namespace, local)).copied());
        let own = at.document().root_element().attribute("targetNamespace").unwrap_or_default();
        let free = namespace.is_none_or(|namespace| namespace == WSDL);
        let meant = if free { self.known.get(&(own, local)).copied() } else { None };
        direct.or(meant).or_else(|| self.alone.get(local).copied().flatten())
    }
}

/// The rules; files are those whose root is `wsdl:definitions`.
pub(crate) fn check(sources: &[Source<'_>], files: &[usize], findings: &mut Findings) -> Broken {
    let mut wsdl = Wsdl { sources, messages: Table::default(), port_types: Table::default() };
    let roots = || files.iter().filter_map(|file| Some((*file, sources.get(*file)?.document.root_element())));
    for (_, root) in roots() {
        for child in of_wsdl(root) {
            let Some(key) = own_name(child) else { continue };
            match child.tag_name().name() {
                "message" => wsdl.messages.add(key, child),
                "portType" => wsdl.port_types.add(key, child),
                _ => {}
            }
        }
    }
    let (mut broken, mut work) = (Broken::default(), 0);
    for (file, root) in roots() {
        let mut rules = Rules { wsdl: &wsdl, file, findings, broken: &mut broken, work: &mut work };
        rules.structure(root);
        for child in of_wsdl(root) {
            match child.tag_name().name() {
                "portType" => rules.port_type(child),
                "binding" => rules.binding(child),
                _ => {}
            }
        }
    }
    broken
}

struct Rules<'x, 'd, 'i> {
    wsdl: &'x Wsdl<'d, 'i>,
    file: usize,
    findings: &'x mut Findings,
    broken: &'x mut Broken,
    /// How many parts, headers and faults were looked at.
    work: &'x mut usize,
}

/// How a message of a binding is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    DocumentLiteral,
    RpcLiteral,
    Encoded,
}

/// One direction of an operation, as the port type and as the binding see it.
struct Direction<'d, 'i> {
    name: &'d str,
    bound: Element<'d, 'i>,
    message: Element<'d, 'i>,
    form: Form,
}

impl<'d, 'i> Rules<'_, 'd, 'i> {
    fn add(&mut self, severity: Severity, node: Element<'d, 'i>, rule: &str, message: String) {
        if let Some(source) = self.wsdl.sources.get(self.file) {
            self.findings.add(severity, place(self.file, source, node), rule, message);
        }
    }

    /// Elements and attributes that WSDL has not (WSDL 1.1 A 4.1; Basic Profile R2026).
    fn structure(&mut self, root: Element<'d, 'i>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            let parent = node.tag_name().name();
            for attribute in node.attributes().filter(|attribute| attribute.namespace().is_none()) {
                if !attributes_of(parent, node.parent_element()).contains(&attribute.name()) {
                    let message = format!("{parent} has no attribute {}; assumed: it says nothing", attribute.name());
                    self.add(Severity::Warning, node, "WSDL A.4.1", message);
                }
            }
            for child in of_wsdl(node) {
                let name = child.tag_name().name();
                if name == "documentation" || name == "types" {
                    continue;
                }
                if may_hold(parent, name) {
                    open.push(child);
                } else {
                    let message = format!("{name} has no place within {parent}");
                    self.add(Severity::Error, child, "WSDL A.4.1", message);
                }
            }
        }
    }

    /// Operations whose messages lead nowhere, whether a service binds them or not (WSDL 1.1 2.4, R2101).
    fn port_type(&mut self, port_type: Element<'d, 'i>) {
        for operation in children(port_type, "operation") {
            let name = operation.attribute("name").unwrap_or_default();
            for io in of_wsdl(operation).filter(|io| matches!(io.tag_name().name(), "input" | "output" | "fault")) {
                let direction = io.tag_name().name();
                let Some(written) = io.attribute("message") else {
                    let message = format!("the {direction} of operation {name} names no message");
                    self.add(Severity::Error, io, "WSDL 2.4", message);
                    self.broken.note(port_type, name);
                    continue;
                };
                if self.message(io, written).is_some() {
                    continue;
                }
                let outside = io.lookup_namespace_uri(split_qname(written).0).is_none_or(|namespace| namespace == WSDL);
                let (severity, rule, assumed) = match (direction, outside) {
                    (_, true) => (Severity::Error, "R2101", ""),
                    ("input", false) => (Severity::Error, "WSDL 2.4", ""),
                    (_, false) => (Severity::Warning, "WSDL 2.4", "; assumed: it is read as it is"),
                };
                let message =
                    format!("there is no message {written}: it is the {direction} of operation {name}{assumed}");
                self.add(severity, io, rule, message);
                if severity == Severity::Error {
                    self.broken.note(port_type, name);
                }
            }
        }
    }

    fn note_bound(&mut self, bound: Element<'d, 'i>, operation: &str) {
        if let Some(binding) = bound.parent_element().and_then(|operation| operation.parent_element()) {
            self.broken.note(binding, operation);
        }
    }

    /// The message of a name; one without a prefix may mean the target namespace.
    fn message(&self, at: Element<'d, 'i>, written: &str) -> Option<Element<'d, 'i>> {
        self.wsdl.messages.resolve(at, written)
    }

    fn binding(&mut self, binding: Element<'d, 'i>) {
        let operations = || children(binding, "operation");
        let soap = of_soap(binding, "binding").next();
        if soap.is_none() && !operations().any(|operation| of_soap(operation, "operation").next().is_some()) {
            return;
        }
        if soap.is_none() {
            let message = "the binding binds operations to SOAP and has no soap:binding itself".to_owned();
            self.add(Severity::Error, binding, "R2701", message);
        }
        let style = soap.and_then(|soap| soap.attribute("style")).unwrap_or("document");
        let port_type = binding.attribute("type").and_then(|name| self.wsdl.port_types.resolve(binding, name));
        let Some(port_type) = port_type else { return };
        let mut by_name = HashMap::new();
        for operation in children(port_type, "operation") {
            *self.work += 1;
            by_name.entry(operation.attribute("name").unwrap_or_default()).or_insert(operation);
        }
        let mut styles = HashSet::new();
        let mut signatures: HashMap<Key<'d>, &str> = HashMap::new();
        for operation in operations() {
            let of_operation = of_soap(operation, "operation").next().and_then(|soap| soap.attribute("style"));
            let style = of_operation.unwrap_or(style);
            styles.insert(style);
            let name = operation.attribute("name").unwrap_or_default();
            let Some(declared) = by_name.get(name).copied() else { continue };
            if *self.work > WORK_MAX {
                let message = "the bindings are too large together to be checked".to_owned();
                return self.add(Severity::Error, binding, "bounds", message);
            }
            self.operation(operation, declared, style, &mut signatures);
        }
        if styles.len() > 1 {
            let message = "the operations of a binding are of both styles; assumed: each is of its own".to_owned();
            self.add(Severity::Warning, binding, "R2705", message);
        }
    }

    fn operation(
        &mut self,
        operation: Element<'d, 'i>,
        declared: Element<'d, 'i>,
        style: &str,
        signatures: &mut HashMap<Key<'d>, &'d str>,
    ) {
        let name = operation.attribute("name").unwrap_or_default();
        for direction in ["input", "output"] {
            let find = |node: Element<'d, 'i>| of_wsdl(node).find(|child| child.tag_name().name() == direction);
            let (Some(bound), Some(abstracted)) = (find(operation), find(declared)) else { continue };
            self.names_agree(name, bound, abstracted, declared);
            let message = abstracted.attribute("message").and_then(|message| self.message(abstracted, message));
            let Some(message) = message else { continue };
            let usage = bodies(bound).find_map(|body| body.attribute("use"));
            let form = match (style, usage) {
                (_, Some("encoded")) => Form::Encoded,
                ("rpc", _) => Form::RpcLiteral,
                _ => Form::DocumentLiteral,
            };
            let direction = Direction { name, bound, message, form };
            let (parts, headers) = (children(message, "part").count(), headers(bound).count());
            *self.work += (parts + 1) * (headers + 1);
            if *self.work > WORK_MAX {
                return;
            }
            self.body(&direction);
            self.headers(&direction);
            self.all_are_bound(&direction);
            if form == Form::DocumentLiteral && bound.tag_name().name() == "input" {
                self.signature(&direction, signatures);
            }
        }
        let declared_faults = children(declared, "fault").count();
        for fault in children(operation, "fault") {
            *self.work += declared_faults;
            if *self.work > WORK_MAX {
                return;
            }
            self.fault(name, fault, declared, style);
        }
    }

    fn fault(&mut self, operation: &str, fault: Element<'d, 'i>, declared: Element<'d, 'i>, style: &str) {
        let named = fault.attribute("name");
        let Some(abstracted) = children(declared, "fault").find(|other| other.attribute("name") == named) else {
            let named = named.unwrap_or_default();
            let message = format!(
                "operation {operation} binds the fault {named:?}, its port type has none of that name; assumed: nothing"
            );
            return self.add(Severity::Warning, fault, "R2754", message);
        };
        let Some(soap) = of_soap(fault, "fault").next() else { return };
        if soap.attribute("use") == Some("encoded") {
            return;
        }
        if soap.attribute("namespace").is_some() {
            let rule = if style == "rpc" { "R2726" } else { "R2716" };
            let message = format!("a fault of operation {operation} has a namespace; assumed: it says nothing");
            self.add(Severity::Warning, soap, rule, message);
        }
        let message = abstracted.attribute("message").and_then(|message| self.message(abstracted, message));
        let part = message.and_then(|message| children(message, "part").next());
        if part.is_some_and(|part| part.attribute("element").is_none()) {
            let message = format!(
                "a fault of operation {operation} has a part that names no element; assumed: an element of the part's name"
            );
            self.add(Severity::Warning, soap, "R2205", message);
        }
    }

    /// An operation of a binding is that of the port type whose input and output have the same names (WSDL 1.1 2.5).
    fn names_agree(
        &mut self,
        operation: &str,
        bound: Element<'d, 'i>,
        abstracted: Element<'d, 'i>,
        declared: Element<'d, 'i>,
    ) {
        let Some(written) = bound.attribute("name") else { return };
        let kind = bound.tag_name().name();
        let one_way = !of_wsdl(declared).any(|child| child.tag_name().name() == "output");
        let default = match kind {
            "input" if one_way => operation.to_owned(),
            "input" => format!("{operation}Request"),
            _ => format!("{operation}Response"),
        };
        let expected = abstracted.attribute("name").unwrap_or(&default);
        if written != expected {
            let message = format!(
                "the {kind} of operation {operation} is named {written:?} in the binding and {expected:?} in the port type"
            );
            let severity = if abstracted.attribute("name").is_none() { Severity::Error } else { Severity::Warning };
            self.add(severity, bound, "R2718", message);
            if severity == Severity::Error {
                self.note_bound(bound, operation);
            }
        }
    }

    fn body(&mut self, direction: &Direction<'d, 'i>) {
        let Direction { name, bound, message, form } = direction;
        let kind = bound.tag_name().name();
        let body = bodies(*bound).next();
        let parts = self.body_parts(direction, body);
        if body.is_none() && !parts.is_empty() {
            let text =
                format!("the {kind} of operation {name} has no soap:body: nothing says how its parts are written");
            if kind == "input" {
                self.add(Severity::Error, *bound, "WSDL 3.5", text);
                self.note_bound(*bound, name);
            } else {
                self.add(Severity::Warning, *bound, "WSDL 3.5", text + "; assumed: it is read as it is");
            }
        }
        for part in &parts {
            let part_name = part.attribute("name").unwrap_or_default();
            let (element, type_name) = (part.attribute("element"), part.attribute("type"));
            if *form == Form::DocumentLiteral && element.is_none() && type_name.is_some() {
                let text = format!(
                    "operation {name} is document/literal, and part {part_name} of its {kind} names a type; assumed: an element named after the part holds it, if it holds elements"
                );
                self.add(Severity::Warning, *part, "R2204", text);
            } else if *form == Form::RpcLiteral && element.is_some() {
                let text = format!(
                    "operation {name} is rpc/literal, and part {part_name} of its {kind} names an element; assumed: the element's type"
                );
                self.add(Severity::Warning, *part, "R2203", text);
            }
        }
        let Some(body) = body else { return };
        let said = body.attribute("parts").is_some();
        let count = if said { parts.len() } else { children(*message, "part").count() };
        if *form == Form::DocumentLiteral && count > 1 {
            let rule = if said { "R2201" } else { "R2210" };
            let text = format!(
                "the {kind} of operation {name} is document/literal and has {count} parts; assumed: one after another"
            );
            self.add(Severity::Warning, body, rule, text);
        }
        let namespace = body.attribute("namespace");
        if *form == Form::RpcLiteral && namespace.is_none_or(str::is_empty) {
            let text = format!(
                "the {kind} of operation {name} is rpc/literal without a namespace; assumed: the target namespace"
            );
            self.add(Severity::Warning, body, "R2717", text);
        } else if *form == Form::DocumentLiteral && namespace.is_some() {
            let text = format!(
                "the {kind} of operation {name} is document/literal with a namespace; assumed: it says nothing"
            );
            self.add(Severity::Warning, body, "R2716", text);
        }
    }

    /// The parts that stand in the body: those that are said, else those that are no header.
    fn body_parts(&self, direction: &Direction<'d, 'i>, body: Option<Element<'d, 'i>>) -> Vec<Element<'d, 'i>> {
        let parts = children(direction.message, "part");
        if let Some(said) = body.and_then(|body| body.attribute("parts")) {
            let said: HashSet<&str> = said.split_whitespace().collect();
            return parts.filter(|part| part.attribute("name").is_some_and(|name| said.contains(name))).collect();
        }
        let elsewhere = self.elsewhere(direction);
        parts.filter(|part| part.attribute("name").is_none_or(|name| !elsewhere.contains(name))).collect()
    }

    /// The parts of the message that are bound as headers or as attachments.
    fn elsewhere(&self, direction: &Direction<'d, 'i>) -> HashSet<&'d str> {
        let own = |header: &Element<'d, 'i>| {
            let message = header.attribute("message").and_then(|message| self.message(*header, message));
            message == Some(direction.message)
        };
        let headers = headers(direction.bound).filter(own);
        let attachments = direction
            .bound
            .descendants()
            .filter(|node| node.tag_name().namespace() == Some(MIME) && node.tag_name().name() == "content");
        headers.chain(attachments).filter_map(|node| node.attribute("part")).collect()
    }

    fn headers(&mut self, direction: &Direction<'d, 'i>) {
        for header in headers(direction.bound) {
            let (name, kind) = (direction.name, header.tag_name().name());
            if direction.form == Form::RpcLiteral && header.attribute("namespace").is_some() {
                let text =
                    format!("a {kind} of operation {name} is rpc/literal with a namespace; assumed: it says nothing");
                self.add(Severity::Warning, header, "R2726", text);
            } else if direction.form == Form::DocumentLiteral && header.attribute("namespace").is_some() {
                let text = format!("a {kind} of operation {name} has a namespace; assumed: it says nothing");
                self.add(Severity::Warning, header, "R2716", text);
            }
            let message = header.attribute("message").and_then(|message| self.message(header, message));
            let wanted = header.attribute("part");
            let part =
                message.and_then(|message| children(message, "part").find(|part| part.attribute("name") == wanted));
            let literal = header.attribute("use") != Some("encoded");
            if literal && part.is_some_and(|part| part.attribute("element").is_none()) {
                let text = format!(
                    "a {kind} of operation {name} is the part {}, which names no element; assumed: an element of the part's name",
                    wanted.unwrap_or_default()
                );
                self.add(Severity::Warning, header, "R2205", text);
            }
        }
    }

    fn all_are_bound(&mut self, direction: &Direction<'d, 'i>) {
        let Some(body) = bodies(direction.bound).next() else { return };
        if body.attribute("parts").is_none() {
            return;
        }
        let elsewhere = self.elsewhere(direction);
        let bound: HashSet<&str> = body.attribute("parts").unwrap_or_default().split_whitespace().collect();
        let free = children(direction.message, "part")
            .filter_map(|part| part.attribute("name"))
            .find(|name| !bound.contains(name) && !elsewhere.contains(name));
        if let Some(free) = free {
            let text = format!("part {free} of operation {} is bound nowhere; assumed: it is not sent", direction.name);
            self.add(Severity::Warning, direction.bound, "R2209", text);
        }
    }

    /// A receiver tells operations apart by the element in the body (R2710).
    fn signature(&mut self, direction: &Direction<'d, 'i>, signatures: &mut HashMap<Key<'d>, &'d str>) {
        let parts = self.body_parts(direction, bodies(direction.bound).next());
        let first = parts.first().and_then(|part| Some((*part, part.attribute("element")?)));
        let Some((part, element)) = first else { return };
        let (prefix, local) = split_qname(element);
        let key = (part.lookup_namespace_uri(prefix).unwrap_or_default(), local);
        if let Some(other) = signatures.insert(key, direction.name).filter(|other| *other != direction.name) {
            let text = format!(
                "the operations {other} and {} have the same element {element} in their bodies; assumed: the SOAP action tells them apart, or the receiver does the same for both",
                direction.name
            );
            self.add(Severity::Warning, direction.bound, "R2710", text);
        }
    }
}

fn own_name<'d>(node: Element<'d, '_>) -> Option<Key<'d>> {
    let target = node.document().root_element().attribute("targetNamespace").unwrap_or_default();
    Some((target, node.attribute("name")?.trim()))
}

fn of_wsdl<'d, 'i>(node: Element<'d, 'i>) -> impl Iterator<Item = Element<'d, 'i>> {
    elements(node).filter(|child| child.tag_name().namespace() == Some(WSDL))
}

fn children<'d, 'i>(node: Element<'d, 'i>, name: &'static str) -> impl Iterator<Item = Element<'d, 'i>> {
    of_wsdl(node).filter(move |child| child.tag_name().name() == name)
}

fn is_soap(node: &Element<'_, '_>) -> bool {
    matches!(node.tag_name().namespace(), Some(SOAP11 | SOAP12))
}

fn of_soap<'d, 'i>(node: Element<'d, 'i>, name: &'static str) -> impl Iterator<Item = Element<'d, 'i>> {
    elements(node).filter(move |child| is_soap(child) && child.tag_name().name() == name)
}

/// `soap:body`, which may stand within MIME parts.
fn bodies<'d, 'i>(bound: Element<'d, 'i>) -> impl Iterator<Item = Element<'d, 'i>> {
    bound.descendants().filter(|node| is_soap(node) && node.tag_name().name() == "body")
}

fn headers<'d, 'i>(bound: Element<'d, 'i>) -> impl Iterator<Item = Element<'d, 'i>> {
    bound.descendants().filter(|node| is_soap(node) && matches!(node.tag_name().name(), "header" | "headerfault"))
}

/// Whether an element of WSDL may hold another.
fn may_hold(parent: &str, child: &str) -> bool {
    match parent {
        "definitions" => matches!(child, "import" | "types" | "message" | "portType" | "binding" | "service"),
        "message" => child == "part",
        "portType" | "binding" => child == "operation",
        "operation" => matches!(child, "input" | "output" | "fault"),
        "service" => child == "port",
        _ => false,
    }
}

/// The attributes that an element of WSDL may have.
fn attributes_of(name: &str, parent: Option<Element<'_, '_>>) -> &'static [&'static str] {
    let bound = parent.is_some_and(|parent| parent.tag_name().name() == "binding");
    match name {
        "definitions" => &["name", "targetNamespace"],
        "import" => &["namespace", "location"],
        "message" | "portType" | "service" => &["name"],
        "part" => &["name", "element", "type"],
        "binding" => &["name", "type"],
        "operation" if bound => &["name"],
        "operation" => &["name", "parameterOrder"],
        "port" => &["name", "binding"],
        _ => &["name", "message"],
    }
}
