//! A response → a value, typed by the operation's model; or a fault; or what it is instead, in words.
//!
//! Tolerant where servers are sloppy (HTTP status, content type, namespaces, unknown elements), strict about XML.

use roxmltree::Node;
use serde_json::{Map, Number, Value};

use super::{Reply, fault, shapes};
use crate::outcome::Response;
use crate::wsdl::document::{self, XSI, clip, elements, split_qname, text_of};
use crate::wsdl::model::{Complex, Content, Definition, Name, Schemas, Simple, TypeId, Variety};
use crate::wsdl::{Body, Holds, Operation, simple};

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
    let content_type = response.header("content-type").unwrap_or_default();
    let text = match document::decode(&response.body, charset(content_type)) {
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

/// The charset of a Content-Type.
fn charset(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches(['"', '\''])).filter(|value| !value.is_empty())
}

fn envelope(operation: Option<&Operation>, root: Node<'_, '_>) -> Reply {
    let name = root.tag_name().name();
    if name == "Fault" {
        return Reply::Fault(fault::read(root));
    }
    if name != "Envelope" {
        let what = if name.eq_ignore_ascii_case("html") {
            html(root.document().input_text())
        } else {
            format!("XML that is no SOAP envelope: <{}>", clip(name, 60))
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
        return Reply::Fault(fault::read(found));
    }
    Reply::Body(content(operation, body))
}

fn content(operation: Option<&Operation>, body: Node<'_, '_>) -> Value {
    let children: Vec<Node<'_, '_>> = elements(body).collect();
    let output = operation.and_then(|operation| operation.bound.output.as_ref().map(|output| (operation, output)));
    let Some((operation, output)) = output else {
        return match children.as_slice() {
            [] => Value::Null,
            [one] => untyped(*one),
            [_, ..] => untyped(body),
        };
    };
    let reader = Reader { schemas: &operation.model.schemas };
    match (&output.wrapper, children.first()) {
        (_, None) => Value::Null,
        (Some(_), Some(wrapper)) => reader.parts(output, *wrapper),
        (None, Some(only)) if output.parts.len() <= 1 => match output.parts.first().map(|part| part.holds) {
            Some(Holds::Element(element)) => {
                let element = &reader.schemas.elements[element];
                let expected = *element.name.local == *only.tag_name().name();
                if expected { reader.value(*only, element.type_id) } else { untyped(*only) }
            }
            Some(Holds::Type(_)) | None => untyped(*only),
        },
        (None, Some(_)) => reader.parts(output, body),
    }
}

struct Reader<'a> {
    schemas: &'a Schemas,
}

impl Reader<'_> {
    /// The parts of a message by name: children named like the part (rpc) or its element (document).
    fn parts(&self, output: &Body, parent: Node<'_, '_>) -> Value {
        let mut object = Map::new();
        for child in elements(parent) {
            let name = child.tag_name().name();
            let part = output.parts.iter().find(|part| match part.holds {
                Holds::Type(_) => part.name == name,
                Holds::Element(element) => *self.schemas.elements[element].name.local == *name || part.name == name,
            });
            let (key, value) = match part {
                Some(part) => {
                    let type_id = match part.holds {
                        Holds::Type(type_id) => type_id,
                        Holds::Element(element) => self.schemas.elements[element].type_id,
                    };
                    (part.name.as_str(), self.value(child, type_id))
                }
                None => (name, untyped(child)),
            };
            add(&mut object, key, value);
        }
        Value::Object(object)
    }

    fn value(&self, node: Node<'_, '_>, declared: TypeId) -> Value {
        if is_nil(node) {
            return Value::Null;
        }
        let type_id =
            self.actual_type(node).filter(|actual| self.schemas.derives(*actual, declared)).unwrap_or(declared);
        match &self.schemas.types[type_id].definition {
            Definition::Any => untyped(node),
            Definition::Simple(_) if node.first_element_child().is_some() => untyped(node),
            Definition::Simple(simple) => scalar(self.schemas, simple, &text_of(node)),
            Definition::Complex(complex) => self.complex(node, complex),
        }
    }

    fn actual_type(&self, node: Node<'_, '_>) -> Option<TypeId> {
        let (prefix, local) = split_qname(node.attribute((XSI, "type"))?);
        let namespace = node.lookup_namespace_uri(prefix).unwrap_or_default();
        self.schemas.global_types.get(&Name::new(namespace, local)).copied()
    }

    fn complex(&self, node: Node<'_, '_>, complex: &Complex) -> Value {
        let mut object = Map::new();
        for given in node.attributes().filter(|given| given.namespace() != Some(XSI)) {
            let declared = complex.attributes.iter().find(|declared| *declared.name.local == *given.name());
            let simple = declared.and_then(|declared| self.schemas.simple(declared.type_id));
            let value = match simple {
                Some(simple) => scalar(self.schemas, simple, given.value()),
                None => Value::String(given.value().to_owned()),
            };
            object.insert(format!("@{}", given.name()), value);
        }
        if let Content::Simple(inner) = complex.content {
            let value = match &self.schemas.types[inner].definition {
                Definition::Simple(simple) => scalar(self.schemas, simple, &text_of(node)),
                Definition::Any | Definition::Complex(_) => Value::String(text_of(node)),
            };
            if object.is_empty() && complex.attributes.is_empty() {
                return value;
            }
            object.insert("$value".to_owned(), value);
            return Value::Object(object);
        }
        self.children(node, complex, &mut object);
        Value::Object(object)
    }

    fn children(&self, node: Node<'_, '_>, complex: &Complex, object: &mut Map<String, Value>) {
        let known = self.schemas.children(complex);
        for child in elements(node) {
            let name = Name::new(child.tag_name().namespace().unwrap_or_default(), child.tag_name().name());
            let found = known.get(&name).or_else(|| {
                // A server that forgets the namespace still says what it means.
                known.iter().find(|(other, _)| other.local == name.local).map(|(_, child)| child)
            });
            match found {
                Some(found) => {
                    let value = self.value(child, self.schemas.elements[found.element].type_id);
                    if found.repeated {
                        push(object, &name.local, value);
                    } else {
                        add(object, &name.local, value);
                    }
                }
                None => add(object, &name.local, untyped(child)),
            }
        }
        let text = text_of(node);
        if (complex.mixed || object.is_empty()) && !text.trim().is_empty() {
            object.insert("$value".to_owned(), Value::String(text));
        }
    }
}

/// A text by its type: numbers keep their digits, strings everything.
fn scalar(schemas: &Schemas, simple: &Simple, text: &str) -> Value {
    let Ok(checked) = simple::lexical(schemas, simple, text) else { return Value::String(text.to_owned()) };
    match &simple.variety {
        Variety::Atomic(simple::Builtin::Boolean) => Value::Bool(matches!(&*checked, "true" | "1")),
        Variety::Atomic(builtin) if builtin.is_number() => {
            number(&checked).map_or_else(|| Value::String(checked.into_owned()), Value::Number)
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

/// Adds a value; a second one of the same name makes a list.
fn add(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key) {
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            object.insert(key.to_owned(), value);
        }
    }
}

/// Adds a value to a list, however long.
fn push(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key) {
        Some(Value::Array(items)) => items.push(value),
        Some(_) | None => {
            object.insert(key.to_owned(), Value::Array(vec![value]));
        }
    }
}

fn no_xml(text: &str, defect: &document::Defect) -> String {
    let head = text.get(..text.len().min(1_024)).unwrap_or_else(|| text.split('>').next().unwrap_or_default());
    let head = head.to_ascii_lowercase();
    if head.contains("<!doctype html") || head.contains("<html") {
        return html(text);
    }
    if text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return format!("JSON and no SOAP: {}", clip(text.trim(), 80));
    }
    if text.starts_with('<') {
        return format!("XML that cannot be read: line {}, column {}: {}", defect.line, defect.column, defect.reason);
    }
    format!("text and no SOAP: {}", clip(text.trim(), 80))
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
