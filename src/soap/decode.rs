//! A response → a value, typed by the operation's model; or a fault; or what it is instead, in words.
//!
//! Tolerant where servers are sloppy (HTTP status, content type, namespaces, unknown elements), strict about XML.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use roxmltree::{Node, NodeId};
use serde_json::{Map, Number, Value};

use super::encoded::{ENC11, ENC12, XSD};
use super::fragment::Allowance;
use super::matching::{self, Event};
use super::members::{add, push, with_type};
use super::references::{self, References};
use super::{Reply, fault, fragment, shapes};
use crate::outcome::{Fault, Response};
use crate::wsdl::document::{self, XSI, clip, elements, split_qname, text_of};
use crate::wsdl::model::{
    AttributeUse, Complex, Content, Definition, ElementId, Name, Schemas, Simple, TypeId, Variety,
};
use crate::wsdl::{Body, Holds, Operation, Usage, simple};

/// How deep values may nest, references followed.
const DEPTH_MAX: usize = 128;
/// How many empty places of an array count as one value.
const PLACES_WEIGHT: usize = 16;

/// Reads a response by an operation's model.
#[must_use]
pub fn decode(operation: &Operation, response: &Response) -> Reply {
    answer(Some(operation), response)
}

/// Reads a response without a model: every text is a string.
#[must_use]
pub fn read(response: &Response) -> Reply {
    answer(None, response)
}

fn answer(operation: Option<&Operation>, response: &Response) -> Reply {
    if response.body.iter().all(u8::is_ascii_whitespace) {
        let expected = operation.is_some_and(Operation::is_one_way) || matches!(response.status, 202 | 204);
        return if expected && (200..300).contains(&response.status) {
            Reply::Body(Value::Null)
        } else {
            Reply::Unreadable("an empty answer".to_owned())
        };
    }
    let text = match text(response) {
        Ok(text) => text,
        Err(reason) => return Reply::Unreadable(format!("an answer that {reason}")),
    };
    let text = text.trim_start();
    match document::parse(text) {
        Ok(document) => envelope(operation, document.root_element()),
        Err(_) if response.cut => {
            Reply::Unreadable(format!("an answer cut after its first {} bytes", response.body.len()))
        }
        Err(defect) => Reply::Unreadable(no_xml(text, &defect)),
    }
}

/// The text of an answer, in the encoding that it says.
pub(super) fn text(response: &Response) -> Result<Cow<'_, str>, String> {
    let content_type = response.header("content-type").unwrap_or_default();
    document::decode(&response.body, charset(content_type))
}

/// The charset of a Content-Type.
fn charset(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches(['"', '\''])).filter(|value| !value.is_empty())
}

fn envelope(operation: Option<&Operation>, root: Node<'_, '_>) -> Reply {
    let name = root.tag_name().name();
    let fault = |node: Node<'_, '_>| {
        let found = fault::read(node);
        let content = operation.map(|operation| detail(operation, &found)).unwrap_or_default();
        Reply::Fault(Fault { content, ..found })
    };
    if name == "Fault" {
        return fault(root);
    }
    if name != "Envelope" {
        let what = if name.eq_ignore_ascii_case("html") {
            html(root.document().input_text())
        } else {
            format!("XML that is no SOAP envelope, but begins with {:?}", clip(name, 60))
        };
        return Reply::Unreadable(what);
    }
    let Some(body) = elements(root).find(|child| child.tag_name().name() == "Body") else {
        return Reply::Unreadable("a SOAP envelope without a body".to_owned());
    };
    let is_soap = |namespace: Option<&str>| matches!(namespace, None | Some(shapes::SOAP11 | shapes::SOAP12));
    let is_fault = |child: &Node<'_, '_>| {
        let namespace = child.tag_name().namespace();
        child.tag_name().name() == "Fault" && (is_soap(namespace) || namespace == root.tag_name().namespace())
    };
    if let Some(found) = elements(body).find(is_fault) {
        return fault(found);
    }
    content(operation, body).map_or_else(Reply::Broken, Reply::Body)
}

fn content<'a, 'i>(operation: Option<&'a Operation>, body: Node<'a, 'i>) -> Result<Value, String> {
    let children: Vec<Node<'_, '_>> = elements(body).collect();
    let output = operation.and_then(|operation| operation.bound.output.as_ref().map(|output| (operation, output)));
    let Some((operation, output)) = output else {
        return Ok(match children.as_slice() {
            [] => Value::Null,
            [one] => untyped(*one),
            [_, ..] => untyped(body),
        });
    };
    message(operation, output, body, &children, Unknown::ByName)
}

/// Reads a request as the argument that makes it, without its header. None: it is no SOAP envelope that can be read.
#[must_use]
pub fn argument(operation: &Operation, envelope: &str) -> Option<Value> {
    let document = document::parse(envelope.trim_start()).ok()?;
    let body = elements(document.root_element()).find(|child| child.tag_name().name() == "Body")?;
    let children: Vec<Node<'_, '_>> = elements(body).collect();
    message(operation, &operation.bound.input, body, &children, Unknown::AsFragment).ok()
}

fn message<'a, 'i>(
    operation: &'a Operation,
    output: &'a Body,
    body: Node<'a, 'i>,
    children: &[Node<'a, 'i>],
    unknown: Unknown,
) -> Result<Value, String> {
    let encoded = output.usage == Usage::Encoded;
    let reader = Reader { unknown, ..Reader::of(&operation.model.schemas, encoded, body) };
    // Of an encoded answer the other children are values that it refers to.
    let is_root = |child: &&Node<'_, '_>| !encoded || references::is_root(**child);
    let value = match (&output.wrapper, children.iter().find(is_root)) {
        (_, None) => Value::Null,
        (Some(_), Some(wrapper)) => reader.parts(output, *wrapper),
        (None, Some(only)) if output.parts.len() <= 1 => match output.parts.first().map(|part| part.holds) {
            Some(Holds::Element(element)) => reader.root(*only, element),
            Some(Holds::Type(type_id)) => reader.value(*only, type_id),
            None => untyped(*only),
        },
        (None, Some(_)) => reader.parts(output, body),
    };
    reader.finish(value)
}

/// The detail of a fault, typed by what the WSDL declares of it: an object of its elements, a text, or none.
fn detail(operation: &Operation, found: &Fault) -> Value {
    let Some(text) = &found.detail else { return Value::Null };
    let whole = format!("<detail>{text}</detail>");
    let Ok(document) = document::parse(&whole) else { return Value::String(text.clone()) };
    let root = document.root_element();
    if root.first_element_child().is_none() {
        return Value::String(text_of(root));
    }
    let schemas = &operation.model.schemas;
    let reader = Reader::of(schemas, operation.usage() == Usage::Encoded, root);
    let mut object = Map::new();
    for child in elements(root) {
        let name = name_of(child);
        let declared = operation.bound.faults.iter().find_map(|part| match part.holds {
            Holds::Element(id) if *schemas.elements[id].name.local == *name.local => Some(schemas.elements[id].type_id),
            Holds::Type(type_id) if *part.name == *name.local => Some(type_id),
            Holds::Element(_) | Holds::Type(_) => None,
        });
        let global = || schemas.global_elements.get(&name).map(|id| schemas.elements[*id].type_id);
        let value = match declared.or_else(global) {
            Some(type_id) => reader.value(child, type_id),
            None => untyped(child),
        };
        add(&mut object, &name.local, value);
    }
    reader.finish(Value::Object(object)).unwrap_or_else(|_| Value::String(text.clone()))
}

/// How an element is read that nobody declares, at a wildcard.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// By its name, so that rules can ask for it.
    ByName,
    /// As it is, so that it can be written again.
    AsFragment,
}

struct Reader<'a, 'i> {
    schemas: &'a Schemas,
    encoded: bool,
    unknown: Unknown,
    references: References<'a, 'i>,
    /// The values being read, one within the other.
    open: RefCell<Vec<NodeId>>,
    /// How much may still be read: references may multiply what they refer to.
    left: Cell<usize>,
    /// What namespaces may still take where they are written out.
    allowance: Allowance,
    /// Why the answer cannot be read.
    broken: RefCell<Option<String>>,
}

impl<'a, 'i> Reader<'a, 'i> {
    fn of(schemas: &'a Schemas, encoded: bool, body: Node<'a, 'i>) -> Self {
        let references = if encoded { References::of(body) } else { References::default() };
        let left = Cell::new(references.expansion_max());
        let (unknown, allowance) = (Unknown::ByName, Allowance::of(body));
        let (open, broken) = (RefCell::default(), RefCell::default());
        Self { schemas, encoded, unknown, references, open, left, allowance, broken }
    }

    /// What was read, if all of it could be.
    fn finish(self, value: Value) -> Result<Value, String> {
        self.broken.into_inner().map_or(Ok(value), Err)
    }

    /// The element of a part, or one that may take its place; else what it is without a model.
    fn root(&self, node: Node<'a, 'i>, element: ElementId) -> Value {
        let named = |id: &ElementId| *self.schemas.elements[*id].name.local == *node.tag_name().name();
        let found = Some(element).filter(named).or_else(|| self.schemas.alternatives(element).find(named));
        found.map_or_else(|| untyped(node), |id| self.value(node, self.schemas.elements[id].type_id))
    }

    /// The parts of a message by name: children named like the part (rpc) or its element (document).
    fn parts(&self, output: &Body, parent: Node<'a, 'i>) -> Value {
        let mut object = Map::new();
        // SOAP 1.2 part 2, 4.2.1: which part is the result, said beside the parts.
        let says_result = |child: &Node<'_, '_>| child.tag_name().namespace() == Some(shapes::SOAP12_RPC);
        for child in elements(parent).filter(|child| !says_result(child)) {
            let name = child.tag_name().name();
            let part = output.parts.iter().find(|part| match part.holds {
                Holds::Type(_) => part.name == name,
                Holds::Element(element) => *self.schemas.elements[element].name.local == *name || part.name == name,
            });
            // An rpc answer's one part may have any name (SOAP 1.1 7.1).
            let only = output.parts.first().filter(|_| output.wrapper.is_some() && output.parts.len() == 1);
            let part = part.or_else(|| only.filter(|_| elements(parent).nth(1).is_none()));
            let (key, value) = match part {
                Some(part) => {
                    let type_id = match part.holds {
                        Holds::Type(type_id) => type_id,
                        Holds::Element(element) => self.schemas.elements[element].type_id,
                    };
                    (part.name.as_str(), self.value(child, type_id))
                }
                None => (name, self.value(child, self.schemas.any_type)),
            };
            add(&mut object, key, value);
        }
        Value::Object(object)
    }

    fn value(&self, node: Node<'a, 'i>, declared: TypeId) -> Value {
        if self.broken.borrow().is_some() {
            return Value::Null;
        }
        match self.follow(node) {
            Ok(node) => {
                self.open.borrow_mut().push(node.id());
                let value = self.typed(node, declared);
                self.open.borrow_mut().pop();
                value
            }
            Err(reason) => {
                self.broken.replace(Some(format!("{reason} ({})", place(node))));
                Value::Null
            }
        }
    }

    /// The element that holds a value: itself, or what it refers to.
    fn follow(&self, node: Node<'a, 'i>) -> Result<Node<'a, 'i>, String> {
        let name = node.tag_name().name();
        if self.open.borrow().len() >= DEPTH_MAX {
            return Err(format!("<{}> is nested deeper than {DEPTH_MAX} elements", clip(name, 60)));
        }
        if !self.encoded {
            return Ok(node);
        }
        let found = self.references.resolve(node)?;
        if found != node && self.open.borrow().contains(&found.id()) {
            return Err(format!("<{}> refers to a value that it is a part of", clip(name, 60)));
        }
        self.spend(references::weight(found))?;
        Ok(found)
    }

    fn spend(&self, weight: usize) -> Result<(), String> {
        let left = self.left.get().checked_sub(weight);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            let most = self.references.expansion_max();
            format!("its references make more of it than an answer of its size may hold ({most} values)")
        })
    }

    fn typed(&self, node: Node<'a, 'i>, declared: TypeId) -> Value {
        let actual = self.actual_type(node).filter(|actual| self.schemas.derives(*actual, declared));
        let type_id = actual.unwrap_or(declared);
        if is_nil(node) {
            return self.nil(node, type_id);
        }
        if let Some(array) = self.array(node, type_id) {
            return array;
        }
        if self.schemas.is_map(type_id) && self.encoded {
            return self.map(node);
        }
        match &self.schemas.types[type_id].definition {
            Definition::Any => self.any(node),
            Definition::Simple(_) if node.first_element_child().is_some() => untyped(node),
            Definition::Simple(simple) => self.scalar_at(simple, node, &text_of(node)),
            Definition::Complex(complex) => {
                let value = self.complex(node, complex);
                if type_id == declared { value } else { with_type(self.schemas, value, type_id) }
            }
        }
    }

    /// Null; an object when attributes stand at what is nil.
    fn nil(&self, node: Node<'a, 'i>, type_id: TypeId) -> Value {
        let Definition::Complex(complex) = &self.schemas.types[type_id].definition else { return Value::Null };
        let mut object = Map::new();
        self.attributes(node, complex, &mut object);
        if object.is_empty() {
            return Value::Null;
        }
        object.insert("$nil".to_owned(), Value::Bool(true));
        Value::Object(object)
    }

    fn actual_type(&self, node: Node<'a, 'i>) -> Option<TypeId> {
        let (prefix, local) = split_qname(node.attribute((XSI, "type"))?);
        self.type_named(&Name::new(node.lookup_namespace_uri(prefix).unwrap_or_default(), local))
    }

    /// A type by name; SOAP's encoding has a twin of each built-in one.
    fn type_named(&self, name: &Name) -> Option<TypeId> {
        let known = self.schemas.global_types.get(name).copied();
        let twin = || {
            let builtin = matches!(&*name.namespace, ENC11 | ENC12) || name.namespace.ends_with("/XMLSchema");
            builtin.then(|| self.schemas.global_types.get(&Name::new(XSD, &name.local)).copied()).flatten()
        };
        known.or_else(twin)
    }

    /// An encoded array: by its type, or because it says so itself.
    fn array(&self, node: Node<'a, 'i>, type_id: TypeId) -> Option<Value> {
        let said = references::sizes(node).filter(|_| self.encoded);
        let known = self.schemas.array(type_id);
        if said.is_none() && known.is_none() {
            return None;
        }
        let said = said.unwrap_or_default();
        let known = known.unwrap_or_default();
        let element = known.element.map(|element| self.schemas.elements[element].type_id);
        let nested = said.nested || known.ranks.len() > 1;
        let item = said.item.as_ref().and_then(|name| self.type_named(name)).or(known.item).or(element);
        let item = item.filter(|_| !nested).unwrap_or(self.schemas.any_type);
        let places = references::places(node, &said.sizes).and_then(|places| {
            // Each dimension makes lists of its own.
            let weight = places.empty().saturating_mul(said.sizes.len().max(1)) / PLACES_WEIGHT;
            let most = "which make more of it than an answer of its size may hold";
            self.spend(weight).map_err(|_| format!("has {} empty places, {most}", places.empty()))?;
            Ok(places)
        });
        match places {
            Ok(places) => Some(references::shaped(self.items(node, item, &places), &said.sizes)),
            Err(reason) => {
                let name = clip(node.tag_name().name(), 60);
                self.broken.replace(Some(format!("the array <{name}> {reason} ({})", place(node))));
                Some(Value::Null)
            }
        }
    }

    /// The items of an array at their places, with nulls where nothing was sent.
    fn items(&self, array: Node<'a, 'i>, item: TypeId, places: &references::Places) -> Vec<Value> {
        let mut items = vec![Value::Null; places.offset];
        for (child, position) in elements(array).zip(&places.positions) {
            let value = self.value(child, item);
            let Some(position) = position else {
                items.push(value);
                continue;
            };
            items.resize(items.len().max(position + 1), Value::Null);
            if let Some(slot) = items.get_mut(*position) {
                *slot = value;
            }
        }
        items.resize(items.len().max(places.count), Value::Null);
        items
    }

    /// Apache's map.
    fn map(&self, node: Node<'a, 'i>) -> Value {
        let mut object = Map::new();
        for item in elements(node) {
            let item = self.references.resolve(item).unwrap_or(item);
            let inner = |name: &str| elements(item).find(|child| child.tag_name().name() == name);
            let (Some(key), Some(value)) = (inner("key"), inner("value")) else { continue };
            object
                .insert(text_of(self.references.resolve(key).unwrap_or(key)), self.value(value, self.schemas.any_type));
        }
        Value::Object(object)
    }

    /// An element of any type: what it says of itself counts.
    fn any(&self, node: Node<'a, 'i>) -> Value {
        let mut object = Map::new();
        for given in node.attributes().filter(|given| given.namespace() != Some(XSI)) {
            if !(self.encoded && references::is_encodings(given.namespace(), given.name())) {
                object.insert(format!("@{}", given.name()), Value::String(given.value().to_owned()));
            }
        }
        let text = text_of(node);
        if !text.trim().is_empty() && node.first_element_child().is_some() {
            object.insert("$xml".to_owned(), self.fragment(fragment::mixed(node, &self.allowance), node));
            return Value::Object(object);
        }
        for child in elements(node) {
            add(&mut object, child.tag_name().name(), self.value(child, self.schemas.any_type));
        }
        if object.is_empty() {
            return Value::String(text);
        }
        if !text.trim().is_empty() {
            object.insert("$value".to_owned(), Value::String(text));
        }
        Value::Object(object)
    }

    fn attributes(&self, node: Node<'a, 'i>, complex: &Complex, object: &mut Map<String, Value>) {
        for given in node.attributes().filter(|given| given.namespace() != Some(XSI)) {
            let (namespace, name) = (given.namespace().unwrap_or_default(), given.name());
            let exact = |known: &&AttributeUse| *known.name.local == *name && *known.name.namespace == *namespace;
            let declared = complex.attributes.iter().find(exact);
            let declared = declared.or_else(|| complex.attributes.iter().find(|known| *known.name.local == *name));
            if declared.is_none() && self.encoded && references::is_encodings(given.namespace(), name) {
                continue;
            }
            let simple = declared.and_then(|declared| self.schemas.simple(declared.type_id));
            let value = match simple {
                Some(simple) => self.scalar_at(simple, node, given.value()),
                None => Value::String(given.value().to_owned()),
            };
            let twins = complex.attributes.iter().filter(|known| *known.name.local == *name).count();
            let key =
                if twins > 1 && !namespace.is_empty() { format!("@{{{namespace}}}{name}") } else { format!("@{name}") };
            object.insert(key, value);
        }
    }

    fn complex(&self, node: Node<'a, 'i>, complex: &'a Complex) -> Value {
        let mut object = Map::new();
        self.attributes(node, complex, &mut object);
        if let Content::Simple(inner) = complex.content {
            let value = match &self.schemas.types[inner].definition {
                Definition::Simple(simple) => self.scalar_at(simple, node, &text_of(node)),
                Definition::Any | Definition::Complex(_) => Value::String(text_of(node)),
            };
            if object.is_empty() && complex.attributes.is_empty() {
                return value;
            }
            object.insert("$value".to_owned(), value);
            return Value::Object(object);
        }
        // Text between elements has its place there, which only a fragment keeps.
        if complex.mixed && node.first_element_child().is_some() && !text_of(node).trim().is_empty() {
            object.insert("$xml".to_owned(), self.fragment(fragment::mixed(node, &self.allowance), node));
            return Value::Object(object);
        }
        if !self.grouped(node, complex, &mut object) {
            elements(node).for_each(|child| self.child(child, complex, &mut object));
        }
        let text = text_of(node);
        if (complex.mixed || object.is_empty()) && !text.trim().is_empty() {
            object.insert("$value".to_owned(), Value::String(text));
        }
        Value::Object(object)
    }

    /// A child by its name.
    fn child(&self, child: Node<'a, 'i>, complex: &'a Complex, object: &mut Map<String, Value>) {
        let known = self.schemas.children(complex);
        let name = name_of(child);
        // A server that forgets the namespace still says what it means.
        let found = known.by_name.get(&name).or_else(|| known.by_local.get(&name.local));
        let Some(found) = found else {
            let global = self.schemas.global_elements.get(&name);
            if global.is_none() && self.unknown == Unknown::AsFragment && self.is_open(complex) {
                return add(object, "$xml", self.fragment(fragment::outer(child, &self.allowance), child));
            }
            let type_id = global.map_or(self.schemas.any_type, |id| self.schemas.elements[*id].type_id);
            return add(object, &name.local, self.value(child, type_id));
        };
        let element = &self.schemas.elements[found.element];
        let value = self.value(child, element.type_id);
        let key = self.key(complex, &element.name);
        match found.repeated {
            true => push(object, &key, value),
            false => add(object, &key, value),
        }
    }

    /// A fragment of what is read, or why there is none.
    fn fragment(&self, made: Result<String, String>, node: Node<'a, 'i>) -> Value {
        match made {
            Ok(text) => Value::String(text),
            Err(reason) => {
                self.broken.replace(Some(format!(
                    "<{}>: {reason} ({})",
                    clip(node.tag_name().name(), 60),
                    place(node)
                )));
                Value::Null
            }
        }
    }

    /// A text by its type, where it stands: a qualified name has its namespace.
    fn scalar_at(&self, simple: &Simple, node: Node<'a, 'i>, text: &str) -> Value {
        if matches!(simple.variety, Variety::Atomic(simple::Builtin::QName)) {
            let (prefix, local) = split_qname(text.trim());
            if let Some(namespace) = node.lookup_namespace_uri(prefix).filter(|namespace| !namespace.is_empty()) {
                let spent = self.allowance.spend(namespace.len());
                return self.fragment(spent.map(|()| format!("{{{namespace}}}{local}")), node);
            }
        }
        scalar(self.schemas, simple, text)
    }

    fn is_open(&self, complex: &Complex) -> bool {
        matches!(complex.content, Content::Particle(particle) if matching::has_wildcard(self.schemas, particle))
    }

    /// The key of an element: its local name, unless another one of the type has it too.
    fn key(&self, complex: &'a Complex, name: &Name) -> String {
        let known = self.schemas.children(complex);
        let alone = known.by_name.len() == known.by_local.len()
            || known.by_name.keys().filter(|other| other.local == name.local).count() <= 1;
        if alone || name.namespace.is_empty() { name.local.to_string() } else { name.to_string() }
    }

    /// Content with repeated groups: each pass is an object of `$group`. False: there are none, or they do not fit.
    fn grouped(&self, node: Node<'a, 'i>, complex: &'a Complex, object: &mut Map<String, Value>) -> bool {
        let Content::Particle(particle) = complex.content else { return false };
        if !matching::has_repeated_group(self.schemas, particle, 0) {
            return false;
        }
        let children: Vec<Node<'a, 'i>> = elements(node).collect();
        let names: Vec<Name> = children.iter().map(|child| name_of(*child)).collect();
        let Ok(events) = matching::places(self.schemas, particle, &names) else { return false };
        let mut open: Vec<Map<String, Value>> = vec![std::mem::take(object)];
        for event in events {
            match event {
                Event::Enter => open.push(Map::new()),
                Event::Leave => {
                    let pass = Value::Object(open.pop().unwrap_or_default());
                    if let Some(here) = open.last_mut() {
                        push(here, "$group", pass);
                    }
                }
                Event::Child(index, _) | Event::Wild(index, _) => {
                    let whole = open.len() == 1;
                    if let (Some(child), Some(here)) = (children.get(index), open.last_mut()) {
                        // What stands outside of the groups is a list where it may repeat, as everywhere.
                        self.member(*child, complex, here, open_is_pass(event).filter(|_| !whole));
                    }
                }
            }
        }
        *object = open.into_iter().next().unwrap_or_default();
        true
    }

    fn member(
        &self,
        child: Node<'a, 'i>,
        complex: &'a Complex,
        object: &mut Map<String, Value>,
        element: Option<ElementId>,
    ) {
        let Some(element) = element else { return self.child(child, complex, object) };
        let element = &self.schemas.elements[element];
        let key = self.key(complex, &element.name);
        add(object, &key, self.value(child, element.type_id));
    }
}

fn open_is_pass(event: Event) -> Option<ElementId> {
    match event {
        Event::Child(_, element) => Some(element),
        Event::Wild(..) | Event::Enter | Event::Leave => None,
    }
}

/// Where an element stands in the answer.
fn place(node: Node<'_, '_>) -> String {
    let at = node.document().text_pos_at(node.range().start);
    format!("line {}, column {}", at.row, at.col)
}

fn name_of(node: Node<'_, '_>) -> Name {
    Name::new(node.tag_name().namespace().unwrap_or_default(), node.tag_name().name())
}

/// A text by its type: numbers keep their digits, strings everything.
pub(super) fn scalar(schemas: &Schemas, simple: &Simple, text: &str) -> Value {
    let Ok(checked) = simple::lexical(schemas, simple, text) else { return Value::String(text.to_owned()) };
    match &simple.variety {
        Variety::Atomic(simple::Builtin::Boolean) => Value::Bool(matches!(&*checked, "true" | "1")),
        Variety::Atomic(builtin) if builtin.is_number() => {
            // A pattern may want the very digits that were sent.
            let kept = |number: &Number| simple.facets.patterns.is_empty() || number.to_string() == *checked;
            number(&checked).filter(kept).map_or_else(|| Value::String(checked.into_owned()), Value::Number)
        }
        Variety::Atomic(_) => Value::String(checked.into_owned()),
        Variety::List(item) => {
            let words = checked.split(' ').filter(|word| !word.is_empty());
            let item = schemas.simple(*item);
            let read =
                |word: &str| item.map_or_else(|| Value::String(word.to_owned()), |item| scalar(schemas, item, word));
            Value::Array(words.map(read).collect())
        }
        Variety::Union(members) => {
            let members = members.iter().filter_map(|member| schemas.simple(*member));
            let fitting = members.into_iter().find(|member| simple::check(schemas, member, text).is_ok());
            fitting.map_or_else(|| Value::String(text.to_owned()), |member| scalar(schemas, member, text))
        }
    }
}

/// An XSD number as a JSON number: the same digits, in the form JSON has for them.
fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let split = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at_checked(split)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}{exponent}").parse().ok()
}

fn is_nil(node: Node<'_, '_>) -> bool {
    matches!(node.attribute((XSI, "nil")).map(str::trim), Some("true" | "1"))
}

/// An element without a model.
fn untyped(node: Node<'_, '_>) -> Value {
    if is_nil(node) {
        return Value::Null;
    }
    let mut object = Map::new();
    for given in node.attributes().filter(|given| given.namespace() != Some(XSI)) {
        object.insert(format!("@{}", given.name()), Value::String(given.value().to_owned()));
    }
    for child in elements(node) {
        add(&mut object, child.tag_name().name(), untyped(child));
    }
    let text = text_of(node);
    if object.is_empty() {
        return Value::String(text);
    }
    if !text.trim().is_empty() {
        object.insert("$value".to_owned(), Value::String(text));
    }
    Value::Object(object)
}

fn no_xml(text: &str, defect: &document::Defect) -> String {
    let head = text.get(..text.len().min(1_024)).unwrap_or_else(|| text.split('>').next().unwrap_or_default());
    let head = head.to_ascii_lowercase();
    if head.contains("<!doctype html") || head.contains("<html") {
        return html(text);
    }
    if text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return format!("JSON and no SOAP: {:?}", clip(text.trim(), 80));
    }
    if text.starts_with('<') {
        let document::Defect { line, column, rule, reason, .. } = defect;
        // The readers' own errors quote the text; what is quoted is not shown to everybody.
        let reason = if matches!(*rule, "bounds" | "DTD") { reason.clone() } else { format!("{reason:?}") };
        return format!("XML that cannot be read: line {line}, column {column}: {reason}");
    }
    format!("text and no SOAP: {:?}", clip(text.trim(), 80))
}

fn html(text: &str) -> String {
    let head: String = text.chars().take(65_536).collect::<String>().replace(['\n', '\r', '\t'], " ");
    let lower = head.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|start| {
        let open = start + lower.get(start..)?.find('>')? + 1;
        let end = open + lower.get(open..)?.find("</title")?;
        head.get(open..end)
    });
    match title.map(str::trim).filter(|title| !title.is_empty()) {
        Some(title) => format!("an HTML page titled {:?}", clip(title, 80)),
        None => "an HTML page".to_owned(),
    }
}
