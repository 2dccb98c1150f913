//! A value → a request, by walking the operation's model.
//!
//! Order, namespaces and occurrences come from the schema, never from the value; every text is checked against
//! its type before it is written. What comes out is valid, or nothing comes out.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use bigdecimal::BigDecimal;
use serde_json::{Map, Value};

use super::{fragment, shapes};
use crate::wsdl::document::{XSI, clip};
use crate::wsdl::model::{
    AttributeUse, Complex, Content, Definition, Element, ElementId, Name, Particle, ParticleId, Schemas, Simple, Term,
    TypeId, Variety,
};
use crate::wsdl::simple::{self, Builtin, is_name};
use crate::wsdl::{Holds, Operation, Part, Version, nearest};

/// How deep elements may nest in a request.
const DEPTH_MAX: usize = 100;
/// How many particles may be open at once.
const NESTING_MAX: usize = 600;
/// How often a group may be written of nils and defaults alone.
const IDLE_MAX: u32 = 1_000;
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// What belongs to the call and not to its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// WS-Addressing headers, when the destination wants them.
    pub addressing: Option<Addressing>,
}

/// WS-Addressing 2005/08.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressing {
    /// The same for every attempt of a delivery: an absolute IRI, mostly `urn:uuid:…`.
    pub message_id: String,
    /// The endpoint's address.
    pub to: String,
    /// Whether a server that does not understand the headers must say so.
    pub must_understand: bool,
}

/// A complete request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The `Content-Type` header; with SOAP 1.2 it holds the action.
    pub content_type: String,
    /// The `SOAPAction` header, quoted, even when empty; none with SOAP 1.2.
    pub soap_action: Option<String>,
    /// The envelope, in UTF-8.
    pub body: String,
}

/// Why a value makes no valid request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {reason}")]
pub struct EncodeError {
    /// The element or attribute, from the operation's name: `CreateOrder.Lines[1].Quantity`.
    pub path: String,
    /// What is wrong with it, to be read behind the path.
    pub reason: String,
}

/// Builds a request.
///
/// `argument` is, for document/literal wrapped and for a single part, the content of the body's element; else an
/// object of the parts by name. Keys are local names (or `{namespace}local`); `@name` is an attribute; `$value` the text
/// of an element with attributes; `$type` the name of a derived type; `$nil` true makes `xsi:nil`; `$xml` is a
/// fragment that is taken as it is when it is well-formed. Lists repeat. JSON null leaves an optional element out,
/// else makes it `xsi:nil`, else is an error; an optional object of nothing but nulls is left out too.
///
/// # Errors
/// The first path that is missing, unknown or of a wrong value.
pub fn encode(operation: &Operation, argument: &Value, options: &EncodeOptions) -> Result<Encoded, EncodeError> {
    let bound = &operation.bound;
    let mut encoder = Encoder {
        schemas: &operation.model.schemas,
        out: String::with_capacity(1_024),
        prefixes: Vec::new(),
        uses_xsi: false,
        path: vec![Step::Name(&bound.name)],
        depth: 0,
        nesting: 0,
    };
    let mut body = String::new();
    match (&bound.input.wrapper, bound.input.parts.as_slice()) {
        (Some(wrapper), parts) => body.push_str(&encoder.rpc(wrapper, parts, argument)?),
        (None, [part]) => {
            let argument = without_part_name(&operation.model.schemas, part, argument);
            body.push_str(&encoder.part(part, argument)?);
        }
        (None, parts) => {
            let object = encoder.object_of_parts(parts, argument)?;
            for part in parts {
                let value = object.and_then(|object| object.get(&part.name)).unwrap_or(&Value::Null);
                encoder.path.push(Step::Name(&part.name));
                body.push_str(&encoder.part(part, value)?);
                encoder.path.pop();
            }
        }
    }
    let action = if bound.action.is_empty() { &bound.default_action } else { &bound.action };
    let header = options.addressing.as_ref().map(|addressing| shapes::addressing_headers(addressing, action));
    let header = header.transpose().map_err(|reason| encoder.error(reason))?.unwrap_or_default();
    Ok(wrap(operation, &header, &body))
}

fn wrap(operation: &Operation, header: &str, body: &str) -> Encoded {
    let action: String = operation.soap_action().chars().filter(|c| !c.is_control()).collect();
    let (namespace, content_type, soap_action) = match operation.version() {
        Version::Soap11 => (shapes::SOAP11, "text/xml; charset=utf-8".to_owned(), Some(format!("\"{action}\""))),
        Version::Soap12 if action.is_empty() => {
            (shapes::SOAP12, "application/soap+xml; charset=utf-8".to_owned(), None)
        }
        Version::Soap12 => {
            let quoted = action.replace('\\', "\\\\").replace('"', "\\\"");
            (shapes::SOAP12, format!("application/soap+xml; charset=utf-8; action=\"{quoted}\""), None)
        }
    };
    let header = if header.is_empty() { String::new() } else { format!("<soapenv:Header>{header}</soapenv:Header>") };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"{namespace}\">{header}\
         <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    );
    Encoded { content_type, soap_action, body }
}

/// A single part may be given under its own name, or its element's, when its content has nothing of that name.
fn without_part_name<'v>(schemas: &Schemas, part: &Part, argument: &'v Value) -> &'v Value {
    let Holds::Element(element) = part.holds else { return argument };
    let element = &schemas.elements[element];
    let Some((key, value)) =
        argument.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next())
    else {
        return argument;
    };
    let inner = match &schemas.types[element.type_id].definition {
        Definition::Complex(complex) => schemas.children(complex).by_local.contains_key(key.as_str()),
        Definition::Simple(_) | Definition::Any => false,
    };
    if !inner && (*key == part.name || **key == *element.name.local) { value } else { argument }
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Name(&'a str),
    Attribute(&'a str),
    Index(usize),
}

struct Encoder<'a> {
    schemas: &'a Schemas,
    out: String,
    /// Namespaces in the order they were first used: `ns1`, `ns2` …
    prefixes: Vec<Arc<str>>,
    uses_xsi: bool,
    path: Vec<Step<'a>>,
    depth: usize,
    /// Particles within particles, elements' contents included: what the stack holds.
    nesting: usize,
}

type Done<T = ()> = Result<T, EncodeError>;

impl<'a> Encoder<'a> {
    fn error(&self, reason: impl Into<String>) -> EncodeError {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if path.is_empty() => path.push_str(name),
                Step::Name(name) => path.push_str(&format!(".{name}")),
                Step::Attribute(name) => path.push_str(&format!(".@{name}")),
                Step::Index(index) => path.push_str(&format!("[{}]", index + 1)),
            }
        }
        EncodeError { path, reason: reason.into() }
    }

    /// A child of the body; its element declares all prefixes that it and its content use.
    fn part(&mut self, part: &'a Part, value: &'a Value) -> Done<String> {
        let Holds::Element(id) = part.holds else {
            return Err(self.error("is a part that names a type in a document message"));
        };
        static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Map::new()));
        let element = &self.schemas.elements[id];
        let given = if value.is_null() && !element.nillable { &*EMPTY } else { value };
        let simple = self.schemas.simple(element.type_id).is_some();
        let given = if simple && value.is_null() { value } else { given };
        self.start_child();
        self.element(id, given)?;
        Ok(self.finish_child())
    }

    fn rpc(&mut self, wrapper: &Name, parts: &'a [Part], argument: &'a Value) -> Done<String> {
        let object = self.object_of_parts(parts, argument)?;
        self.start_child();
        let tag = self.tag(wrapper);
        self.open(&tag);
        self.out.push('>');
        for part in parts {
            let type_id = match part.holds {
                Holds::Type(type_id) => type_id,
                Holds::Element(element) => self.schemas.elements[element].type_id,
            };
            self.path.push(Step::Name(&part.name));
            let value = object.and_then(|object| object.get(&part.name)).filter(|value| !value.is_null());
            let value = value.ok_or_else(|| self.error("is required and nobody fills it"))?;
            self.typed(&part.name, type_id, None, value)?;
            self.path.pop();
        }
        self.close(&tag);
        Ok(self.finish_child())
    }

    fn object_of_parts(&self, parts: &[Part], argument: &'a Value) -> Done<Option<&'a Map<String, Value>>> {
        let object = match argument {
            Value::Null => return Ok(None),
            Value::Object(object) => object,
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                return Err(self.error("wants an object of its parts by name"));
            }
        };
        let names = || parts.iter().map(|part| part.name.as_str());
        match object.keys().find(|key| !names().any(|name| name == *key)) {
            Some(key) => Err(self.error(format!("has no part {}{}", clip(key, 60), hint(key, names())))),
            None => Ok(Some(object)),
        }
    }

    fn start_child(&mut self) {
        self.out.clear();
        self.prefixes.clear();
        self.uses_xsi = false;
    }

    /// Takes the child out and puts the declarations into its start tag.
    fn finish_child(&mut self) -> String {
        let mut declarations = String::new();
        for (index, namespace) in self.prefixes.iter().enumerate() {
            declarations.push_str(&format!(" xmlns:ns{}=\"", index + 1));
            escape_attribute(&mut declarations, namespace);
            declarations.push('"');
        }
        if self.uses_xsi {
            declarations.push_str(&format!(" xmlns:xsi=\"{XSI}\""));
        }
        let name_end = self.out.find([' ', '>', '/']).unwrap_or(self.out.len());
        let mut child = std::mem::take(&mut self.out);
        child.insert_str(name_end, &declarations);
        child
    }

    /// A name with its prefix.
    fn tag(&mut self, name: &Name) -> String {
        if name.namespace.is_empty() {
            return name.local.to_string();
        }
        if &*name.namespace == XML_NAMESPACE {
            return format!("xml:{}", name.local);
        }
        let known = self.prefixes.iter().position(|namespace| *namespace == name.namespace);
        let index = known.unwrap_or_else(|| {
            self.prefixes.push(Arc::clone(&name.namespace));
            self.prefixes.len() - 1
        });
        format!("ns{}:{}", index + 1, name.local)
    }

    fn open(&mut self, tag: &str) {
        self.out.push('<');
        self.out.push_str(tag);
    }

    fn close(&mut self, tag: &str) {
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    /// One element with its value.
    fn element(&mut self, id: ElementId, value: &'a Value) -> Done {
        let element = &self.schemas.elements[id];
        let tag = self.tag(&element.name);
        if value.is_null() || is_nil(value) {
            if !element.nillable {
                let reason = if value.is_null() {
                    "is required and its value is none"
                } else {
                    "is not nillable, so $nil is wrong"
                };
                return Err(self.error(reason));
            }
            return self.nil(&tag, element, value);
        }
        self.typed(&tag, element.type_id, Some(element), value)
    }

    /// An `xsi:nil` element; its attributes are still written when an object gives them.
    fn nil(&mut self, tag: &str, element: &'a Element, value: &'a Value) -> Done {
        self.uses_xsi = true;
        self.open(tag);
        self.out.push_str(" xsi:nil=\"true\"");
        if let (Some(object), Definition::Complex(complex)) =
            (value.as_object(), &self.schemas.types[element.type_id].definition)
        {
            self.attributes(complex, Some(object))?;
        }
        self.out.push_str("/>");
        Ok(())
    }

    fn typed(&mut self, tag: &str, type_id: TypeId, element: Option<&'a Element>, value: &'a Value) -> Done {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("is nested deeper than {DEPTH_MAX} elements")));
        }
        self.depth += 1;
        let chosen = self.chosen_type(type_id, value)?;
        self.open(tag);
        if chosen != type_id {
            self.type_attribute(chosen);
        }
        let fixed = element.and_then(|element| element.fixed.as_deref());
        match &self.schemas.types[chosen].definition {
            Definition::Any => self.any_content(tag, value)?,
            Definition::Simple(simple) => {
                let text = self.plain_value(value)?;
                self.text_content(tag, simple, text, fixed)?;
            }
            Definition::Complex(complex) if complex.is_abstract => {
                let name = self.schemas.types[chosen].name.as_ref().map(|name| name.local.to_string());
                let reason = format!("is of the abstract type {}: say which in $type", name.unwrap_or_default());
                return Err(self.error(reason));
            }
            Definition::Complex(complex) => self.complex_content(tag, complex, value, fixed)?,
        }
        self.depth -= 1;
        Ok(())
    }

    /// The type that `$type` names, or the declared one.
    fn chosen_type(&self, declared: TypeId, value: &Value) -> Done<TypeId> {
        let Some(given) = value.as_object().and_then(|object| object.get("$type")) else { return Ok(declared) };
        let Some(given) = given.as_str() else { return Err(self.error("has a $type that is no text")) };
        let (namespace, local) = match given.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((namespace, local)) => (Some(namespace), local),
            None => (None, given.rsplit(':').next().unwrap_or(given)),
        };
        let fits =
            |name: &Name| *name.local == *local && namespace.is_none_or(|namespace| namespace == &*name.namespace);
        let mut found: Vec<(&Name, TypeId)> = self
            .schemas
            .global_types
            .iter()
            .filter(|(name, id)| fits(name) && self.schemas.derives(**id, declared))
            .map(|(name, id)| (name, *id))
            .collect();
        found.sort_unstable_by_key(|(name, _)| *name);
        match found.as_slice() {
            [(_, id)] => Ok(*id),
            [] => {
                let derived = self.schemas.global_types.iter().filter(|(_, id)| self.schemas.derives(**id, declared));
                let names: Vec<&str> = derived.map(|(name, _)| &*name.local).collect();
                let near = hint(local, names.into_iter());
                Err(self
                    .error(format!("has the $type {:?}, which is no type derived from its own{near}", clip(given, 60))))
            }
            [(first, _), ..] => {
                let reason = format!("has the $type {given:?}, of which there are several; write it as {first}");
                Err(self.error(reason))
            }
        }
    }

    fn type_attribute(&mut self, id: TypeId) {
        let Some(name) = &self.schemas.types[id].name else { return };
        self.uses_xsi = true;
        let qname = self.tag(name);
        self.out.push_str(" xsi:type=\"");
        self.out.push_str(&qname);
        self.out.push('"');
    }

    /// The value of text: itself, or the `$value` of an object that says nothing else.
    fn plain_value(&self, value: &'a Value) -> Done<&'a Value> {
        let Some(object) = value.as_object() else { return Ok(value) };
        if let Some(key) = object.keys().find(|key| !matches!(key.as_str(), "$value" | "$type" | "$nil")) {
            return Err(self.error(format!("holds text and has no {}", clip(key, 60))));
        }
        object.get("$value").ok_or_else(|| self.error("holds text, and its $value is missing"))
    }

    fn text_content(&mut self, tag: &str, simple: &'a Simple, value: &Value, fixed: Option<&str>) -> Done {
        let text = self.text(simple, value)?;
        if let Some(fixed) = fixed.filter(|fixed| *fixed != text) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&text, 60))));
        }
        self.out.push('>');
        escape_text(&mut self.out, &text);
        self.close(tag);
        Ok(())
    }

    /// A value as checked text.
    fn text<'t>(&mut self, simple: &'a Simple, value: &'t Value) -> Done<Cow<'t, str>> {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Number(number) => Cow::Owned(digits(simple, number.to_string())),
            Value::Array(items) if matches!(simple.variety, Variety::List(_)) => Cow::Owned(self.list(items)?),
            Value::Array(_) => return Err(self.error("is a list, but it comes once and holds one value")),
            Value::Null => return Err(self.error("is required and its value is none")),
            Value::Object(_) => return Err(self.error("holds text, but is given an object")),
        };
        self.check_characters(&text)?;
        let checked = match &text {
            Cow::Borrowed(text) => simple::check(self.schemas, simple, text),
            Cow::Owned(text) => simple::check(self.schemas, simple, text).map(|text| Cow::Owned(text.into_owned())),
        };
        let checked = checked.map_err(|reason| self.error(format!("= {reason}")))?;
        if matches!(simple.variety, Variety::Atomic(Builtin::QName)) {
            return Ok(Cow::Owned(self.qname(&checked)));
        }
        Ok(checked)
    }

    fn list(&self, items: &[Value]) -> Done<String> {
        let mut words = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::String(text) => words.push(text.clone()),
                Value::Number(number) => words.push(number.to_string()),
                Value::Bool(truth) => words.push(truth.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(self.error("is a list of texts, but one of its items is none, a list or an object"));
                }
            }
        }
        Ok(words.join(" "))
    }

    fn qname(&mut self, text: &str) -> String {
        match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((namespace, local)) => self.tag(&Name::new(namespace, local)),
            None => text.to_owned(),
        }
    }

    /// `xs:anyType`: a text, or a fragment.
    fn any_content(&mut self, tag: &str, value: &'a Value) -> Done {
        self.out.push('>');
        match value {
            Value::String(text) => self.free_text(text)?,
            Value::Number(number) => self.out.push_str(&number.to_string()),
            Value::Bool(truth) => self.out.push_str(&truth.to_string()),
            Value::Object(object) => match (object.get("$xml"), object.get("$value")) {
                (Some(xml), None) => self.fragments(xml)?,
                (None, Some(Value::String(text))) if object.len() == 1 => self.free_text(text)?,
                _ if object.keys().all(|key| key == "$type") => {}
                _ => return Err(self.error("is of any type: give it a text, a $type, or its content as $xml")),
            },
            Value::Null | Value::Array(_) => return Err(self.error("is of any type: give it a text or $xml")),
        }
        self.close(tag);
        Ok(())
    }

    /// Text without a type: any characters that XML can carry.
    fn free_text(&mut self, text: &str) -> Done {
        self.check_characters(text)?;
        escape_text(&mut self.out, text);
        Ok(())
    }

    fn check_characters(&self, text: &str) -> Done {
        match text.chars().find(|c| !is_xml_char(*c)) {
            Some(illegal) => {
                let code = u32::from(illegal);
                Err(self.error(format!("holds the character U+{code:04X}, which XML cannot carry")))
            }
            None => Ok(()),
        }
    }

    /// Writes `$xml`: one fragment or a list of them.
    fn fragments(&mut self, value: &Value) -> Done {
        let one = std::slice::from_ref(value);
        let list = value.as_array().map_or(one, Vec::as_slice);
        for item in list {
            let Some(text) = item.as_str() else { return Err(self.error("has an $xml that is no text")) };
            let checked = fragment::check(text).map_err(|reason| self.error(format!("has an $xml that {reason}")))?;
            self.out.push_str(checked);
        }
        Ok(())
    }

    fn complex_content(&mut self, tag: &str, complex: &'a Complex, value: &'a Value, fixed: Option<&str>) -> Done {
        let object = value.as_object();
        self.attributes(complex, object)?;
        match complex.content {
            Content::Simple(inner) => {
                let Definition::Simple(simple) = &self.schemas.types[inner].definition else {
                    return Err(self.error("has a simple content whose type is not simple"));
                };
                let inner = match object {
                    Some(object) => object.get("$value").unwrap_or(&Value::Null),
                    None => value,
                };
                if let Some(key) = object.and_then(|object| object.keys().find(|key| !key.starts_with(['@', '$']))) {
                    return Err(self.error(format!("holds text and has no {}", clip(key, 60))));
                }
                self.text_content(tag, simple, inner, fixed)
            }
            Content::Empty | Content::Particle(_) => {
                let object = match (object, value) {
                    (Some(object), _) => object,
                    (None, Value::String(text)) if text.trim().is_empty() => {
                        static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
                        &NONE
                    }
                    (None, Value::Array(_)) => return Err(self.error("comes once, but is given a list")),
                    (None, _) => return Err(self.error("holds elements, but is given a text")),
                };
                self.elements_content(tag, complex, object)
            }
        }
    }

    fn elements_content(&mut self, tag: &str, complex: &'a Complex, object: &'a Map<String, Value>) -> Done {
        let mut slots = Slots::of(object);
        let start = self.out.len();
        self.out.push('>');
        if let Some(text) = object.get("$value") {
            let Some(text) = text.as_str().filter(|_| complex.mixed) else {
                return Err(self.error("holds elements only and has no $value"));
            };
            self.free_text(text)?;
        }
        let raw = object.get("$xml").filter(|_| slots.entries.is_empty());
        match (complex.content, raw) {
            (Content::Particle(particle), Some(raw)) if !self.has_wildcard(particle) => {
                self.fragments(raw)?;
                slots.xml_taken = true;
            }
            (Content::Particle(particle), _) => {
                self.particle(particle, &mut slots)?;
                // A wildcard that occurs more than once takes all fragments at its first place.
            }
            (Content::Empty | Content::Simple(_), _) => {}
        }
        self.leftovers(complex, &slots)?;
        if object.contains_key("$xml") && !slots.xml_taken {
            return Err(self.error("has an $xml beside elements, but no place for any element"));
        }
        if self.out.len() == start + 1 {
            self.out.truncate(start);
            self.out.push_str("/>");
        } else {
            self.close(tag);
        }
        Ok(())
    }

    /// What was given and found no place.
    fn leftovers(&mut self, complex: &'a Complex, slots: &Slots<'a>) -> Done {
        let children = self.schemas.children(complex);
        for slot in &slots.entries {
            let known = match slot.namespace {
                Some(namespace) => children.by_name.contains_key(&Name::new(namespace, slot.local)),
                None => children.by_local.contains_key(slot.local),
            };
            if !known {
                let names = children.by_local.keys().map(|local| &**local);
                let reason = format!("has no {}{}", clip(slot.key, 60), hint(slot.local, names));
                return Err(self.error(reason));
            }
            if slot.taken < slot.len() && !slot.rest_is_void() {
                self.path.push(Step::Name(slot.local));
                let reason = match slot.taken {
                    0 => "has no place beside the other elements given".to_owned(),
                    taken => format!("comes {} times; at most {taken} fit", slot.len()),
                };
                return Err(self.error(reason));
            }
        }
        Ok(())
    }

    fn attributes(&mut self, complex: &'a Complex, object: Option<&'a Map<String, Value>>) -> Done {
        let mut used = 0;
        let given = object.map_or(0, |object| object.keys().filter(|key| key.starts_with('@')).count());
        for attribute in &complex.attributes {
            let value = object.and_then(|object| attribute_value(object, attribute));
            used += usize::from(value.is_some());
            self.path.push(Step::Attribute(&attribute.name.local));
            self.attribute(attribute, value.filter(|value| !value.is_null()))?;
            self.path.pop();
        }
        if used < given {
            self.other_attributes(complex, object)?;
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &'a AttributeUse, value: Option<&'a Value>) -> Done {
        let implied = attribute.fixed.as_ref().or(attribute.default.as_ref()).filter(|_| attribute.required);
        let text = match (value, implied) {
            (Some(value), _) => match self.schemas.simple(attribute.type_id) {
                Some(simple) => self.text(simple, value)?,
                None => return Err(self.error("is an attribute without a simple type")),
            },
            (None, Some(implied)) => Cow::Borrowed(implied.as_str()),
            (None, None) if attribute.required => return Err(self.error("is required and nobody fills it")),
            (None, None) => return Ok(()),
        };
        if let Some(fixed) = attribute.fixed.as_ref().filter(|fixed| **fixed != text) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&text, 60))));
        }
        let name = self.tag(&attribute.name);
        self.write_attribute(&name, &text);
        Ok(())
    }

    fn write_attribute(&mut self, name: &str, text: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape_attribute(&mut self.out, text);
        self.out.push('"');
    }

    /// Attributes that the type does not declare: refused, or taken where any attribute may stand.
    fn other_attributes(&mut self, complex: &'a Complex, object: Option<&'a Map<String, Value>>) -> Done {
        let declared: HashSet<&str> = complex.attributes.iter().map(|attribute| &*attribute.name.local).collect();
        for (key, value) in object.into_iter().flatten() {
            let Some(name) = key.strip_prefix('@') else { continue };
            let local = name.rsplit(['}', ':']).next().unwrap_or(name);
            if declared.contains(local) || value.is_null() {
                continue;
            }
            let Some(text) = value.as_str().filter(|_| complex.any_attribute) else {
                let reason = format!("has no attribute {}{}", clip(name, 60), hint(local, declared.into_iter()));
                return Err(self.error(reason));
            };
            let name = match name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((namespace, local)) => Name::new(namespace, local),
                None => Name::new("", name),
            };
            if !is_name(&name.local, false) || text.chars().any(|c| !is_xml_char(c)) {
                return Err(
                    self.error(format!("has the attribute {:?}, which XML cannot carry", clip(&name.local, 60)))
                );
            }
            let tag = self.tag(&name);
            self.write_attribute(&tag, text);
        }
        Ok(())
    }

    // The particle tree.

    fn particle(&mut self, id: ParticleId, slots: &mut Slots<'a>) -> Done {
        if self.nesting >= NESTING_MAX {
            return Err(self.error("stands in groups within groups too deep to be written"));
        }
        self.nesting += 1;
        let particle = &self.schemas.particles[id];
        match &particle.term {
            Term::Element(element) => self.element_particle(particle, *element, slots),
            Term::Sequence(parts) | Term::All(parts) => self.repeat(particle, parts, slots, Self::sequence),
            Term::Choice(parts) => self.repeat(particle, parts, slots, Self::choice),
            Term::Any => self.wildcard(particle, slots),
        }?;
        self.nesting -= 1;
        Ok(())
    }

    /// Goes through a group as often as it must and as there is something for it.
    fn repeat(
        &mut self,
        particle: &'a Particle,
        parts: &'a [ParticleId],
        slots: &mut Slots<'a>,
        once: fn(&mut Self, &'a Particle, &'a [ParticleId], &mut Slots<'a>) -> Done,
    ) -> Done {
        let mut count = 0;
        while particle.max.is_none_or(|max| count < max) {
            if count >= particle.min && !parts.iter().any(|part| self.has_items(*part, slots)) {
                return Ok(());
            }
            let (before, length) = ((slots.taken, slots.xml_taken), self.out.len());
            once(self, particle, parts, slots)?;
            count += 1;
            let idle = before == (slots.taken, slots.xml_taken);
            if idle && length == self.out.len() {
                // An empty pass stands for every further one.
                return Ok(());
            }
            if idle && count > IDLE_MAX {
                return Err(self.error(format!("needs a group of elements at least {} times", particle.min)));
            }
        }
        Ok(())
    }

    fn sequence(&mut self, _: &'a Particle, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        parts.iter().try_for_each(|part| self.particle(*part, slots))
    }

    fn choice(&mut self, particle: &'a Particle, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        let given: Vec<ParticleId> = parts.iter().copied().filter(|part| self.has_items(*part, slots)).collect();
        match given.as_slice() {
            [] => self.empty_choice(parts, slots),
            [only] => self.particle(*only, slots),
            several if particle.max == Some(1) => {
                let branch = self.branch(several, slots)?;
                self.particle(branch, slots)
            }
            several => {
                let first = several.iter().copied().min_by_key(|part| self.first_item(*part, slots));
                first.map_or(Ok(()), |part| self.particle(part, slots))
            }
        }
    }

    /// A choice for which nothing is given.
    fn empty_choice(&mut self, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        if parts.is_empty() || parts.iter().any(|part| self.is_emptiable(*part)) {
            return Ok(());
        }
        let nil = parts.iter().copied().find(|part| match self.schemas.particles[*part].term {
            Term::Element(element) => {
                self.schemas.elements[element].nillable && slots.has(&self.schemas.elements[element].name)
            }
            Term::Sequence(_) | Term::Choice(_) | Term::All(_) | Term::Any => false,
        });
        match nil {
            Some(part) => self.particle(part, slots),
            None => Err(self.error(format!("needs exactly one of {}", self.alternatives(parts).join(", ")))),
        }
    }

    /// The one branch that holds everything given.
    fn branch(&self, several: &[ParticleId], slots: &Slots<'a>) -> Done<ParticleId> {
        let mut present = Vec::new();
        for part in several {
            self.given_names(*part, slots, &mut present);
        }
        let holds_all = |part: &ParticleId| {
            let mut names = Vec::new();
            self.given_names(*part, slots, &mut names);
            present.iter().all(|name| names.contains(name))
        };
        let fitting: Vec<ParticleId> = several.iter().copied().filter(holds_all).collect();
        let complete = fitting.iter().copied().find(|part| self.is_filled(*part, slots));
        match complete.or(fitting.first().copied()) {
            Some(part) => Ok(part),
            None => {
                let present: Vec<String> = present.iter().map(ToString::to_string).collect();
                let all = self.alternatives(several).join(", ");
                Err(self.error(format!("is given {}, but needs exactly one of {all}", present.join(" and "))))
            }
        }
    }

    fn element_particle(&mut self, particle: &'a Particle, id: ElementId, slots: &mut Slots<'a>) -> Done {
        let mut count = 0;
        let alternatives: Vec<ElementId> = self.schemas.alternatives(id).collect();
        for alternative in alternatives {
            let element = &self.schemas.elements[alternative];
            let Some(slot) = slots.find(&element.name) else { continue };
            while particle.max.is_none_or(|max| count < max) {
                let Some((index, item)) = slots.take(slot) else { break };
                if particle.min == 0 && is_void(item) {
                    continue;
                }
                self.path.push(Step::Name(&element.name.local));
                self.path.extend(slots.is_list(slot).then_some(Step::Index(index)));
                self.element(alternative, item)?;
                self.path.truncate(self.path.len() - 1 - usize::from(slots.is_list(slot)));
                count += 1;
            }
        }
        if count < particle.min { self.absent(particle, id, count) } else { Ok(()) }
    }

    /// An element that must be there and is not given.
    fn absent(&mut self, particle: &'a Particle, id: ElementId, count: u32) -> Done {
        let element = &self.schemas.elements[id];
        self.path.push(Step::Name(&element.name.local));
        if count > 0 || (particle.min > 1 && !element.is_abstract) {
            return Err(self.error(format!("comes {count} times; at least {} are required", particle.min)));
        }
        let implied = element.fixed.as_ref().or(element.default.as_ref());
        if let Some(implied) = implied.filter(|_| !element.is_abstract) {
            let tag = self.tag(&element.name);
            self.open(&tag);
            self.out.push('>');
            escape_text(&mut self.out, implied);
            self.close(&tag);
        } else if element.nillable && !element.is_abstract {
            self.element(id, &Value::Null)?;
        } else {
            let mut deepest = self.path.clone();
            self.required_below(element.type_id, &mut deepest, 0);
            self.path = deepest;
            return Err(self.error("is required and nobody fills it"));
        }
        self.path.pop();
        Ok(())
    }

    /// Follows the first required elements down, so that the path names what is really missing.
    fn required_below(&self, type_id: TypeId, path: &mut Vec<Step<'a>>, depth: usize) {
        let Definition::Complex(Complex { content: Content::Particle(particle), .. }) =
            &self.schemas.types[type_id].definition
        else {
            return;
        };
        if let Some(element) = self.first_required(*particle, 0).filter(|_| depth < 16) {
            let element = &self.schemas.elements[element];
            path.push(Step::Name(&element.name.local));
            self.required_below(element.type_id, path, depth + 1);
        }
    }

    fn first_required(&self, id: ParticleId, depth: usize) -> Option<ElementId> {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 || depth > 200 {
            return None;
        }
        match &particle.term {
            Term::Element(element) => Some(*element),
            Term::Sequence(parts) | Term::All(parts) => {
                parts.iter().find_map(|part| self.first_required(*part, depth + 1))
            }
            Term::Choice(_) | Term::Any => None,
        }
    }

    fn wildcard(&mut self, particle: &'a Particle, slots: &mut Slots<'a>) -> Done {
        match slots.xml {
            Some(raw) if !slots.xml_taken => {
                slots.xml_taken = true;
                self.fragments(raw)
            }
            None if particle.min > 0 => Err(self.error("needs an element of any name: give it as $xml")),
            Some(_) | None => Ok(()),
        }
    }

    fn has_items(&self, id: ParticleId, slots: &Slots<'a>) -> bool {
        let particle = &self.schemas.particles[id];
        match &particle.term {
            Term::Element(element) => {
                particle.max != Some(0)
                    && self.schemas.alternatives(*element).any(|id| slots.has_items(&self.schemas.elements[id].name))
            }
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().any(|part| self.has_items(*part, slots))
            }
            Term::Any => slots.xml.is_some() && !slots.xml_taken,
        }
    }

    /// Where in the value the first item for a particle stands.
    fn first_item(&self, id: ParticleId, slots: &Slots<'a>) -> usize {
        match &self.schemas.particles[id].term {
            Term::Element(element) => self
                .schemas
                .alternatives(*element)
                .filter_map(|id| slots.find(&self.schemas.elements[id].name).filter(|slot| slots.remains(*slot)))
                .min()
                .unwrap_or(usize::MAX),
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().map(|part| self.first_item(*part, slots)).min().unwrap_or(usize::MAX)
            }
            Term::Any => usize::MAX,
        }
    }

    fn given_names(&self, id: ParticleId, slots: &Slots<'a>, names: &mut Vec<&'a str>) {
        match &self.schemas.particles[id].term {
            Term::Element(element) => {
                for id in self.schemas.alternatives(*element) {
                    let name = &self.schemas.elements[id].name;
                    if slots.has_items(name) && !names.contains(&&*name.local) {
                        names.push(&name.local);
                    }
                }
            }
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().for_each(|part| self.given_names(*part, slots, names));
            }
            Term::Any => {}
        }
    }

    /// Whether everything a particle must have is given.
    fn is_filled(&self, id: ParticleId, slots: &Slots<'a>) -> bool {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 {
            return true;
        }
        match &particle.term {
            Term::Element(element) => {
                self.schemas.alternatives(*element).any(|id| slots.has(&self.schemas.elements[id].name))
            }
            Term::Sequence(parts) | Term::All(parts) => parts.iter().all(|part| self.is_filled(*part, slots)),
            Term::Choice(parts) => parts.iter().any(|part| self.is_filled(*part, slots)),
            Term::Any => slots.xml.is_some(),
        }
    }

    fn is_emptiable(&self, id: ParticleId) -> bool {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 {
            return true;
        }
        match &particle.term {
            Term::Element(_) | Term::Any => false,
            Term::Sequence(parts) | Term::All(parts) => parts.iter().all(|part| self.is_emptiable(*part)),
            Term::Choice(parts) => parts.is_empty() || parts.iter().any(|part| self.is_emptiable(*part)),
        }
    }

    fn has_wildcard(&self, id: ParticleId) -> bool {
        match &self.schemas.particles[id].term {
            Term::Any => true,
            Term::Element(_) => false,
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().any(|part| self.has_wildcard(*part))
            }
        }
    }

    /// The branches of a choice in words.
    fn alternatives(&self, parts: &[ParticleId]) -> Vec<String> {
        parts.iter().take(20).map(|part| self.words(*part, 0)).collect()
    }

    fn words(&self, id: ParticleId, depth: usize) -> String {
        match &self.schemas.particles[id].term {
            Term::Element(element) => self.schemas.elements[*element].name.local.to_string(),
            Term::Any => "any element".to_owned(),
            Term::Sequence(parts) | Term::All(parts) | Term::Choice(parts) => {
                if depth > 3 {
                    return "…".to_owned();
                }
                let inner: Vec<String> = parts.iter().take(10).map(|part| self.words(*part, depth + 1)).collect();
                format!("({})", inner.join(" "))
            }
        }
    }
}

/// What an object gives, by element name, and how much of it was written.
struct Slots<'v> {
    entries: Vec<Slot<'v>>,
    by_local: HashMap<&'v str, usize>,
    qualified: bool,
    taken: usize,
    xml: Option<&'v Value>,
    xml_taken: bool,
}

struct Slot<'v> {
    key: &'v str,
    namespace: Option<&'v str>,
    local: &'v str,
    value: &'v Value,
    taken: usize,
}

impl<'v> Slots<'v> {
    fn of(object: &'v Map<String, Value>) -> Self {
        let mut slots = Self {
            entries: Vec::with_capacity(object.len()),
            by_local: HashMap::with_capacity(object.len()),
            qualified: false,
            taken: 0,
            xml: object.get("$xml"),
            xml_taken: false,
        };
        for (key, value) in object.iter().filter(|(key, _)| !key.starts_with(['@', '$'])) {
            let (namespace, local) = match key.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((namespace, local)) => (Some(namespace), local),
                None => (None, key.as_str()),
            };
            slots.qualified |= namespace.is_some();
            slots.by_local.insert(local, slots.entries.len());
            slots.entries.push(Slot { key, namespace, local, value, taken: 0 });
        }
        slots
    }

    fn find(&self, name: &Name) -> Option<usize> {
        let index = *self.by_local.get(&*name.local)?;
        if !self.qualified {
            return Some(index);
        }
        let exact = self.entries.iter().position(|slot| slot.namespace.is_some() && slot.names(name));
        exact.or_else(|| self.entries.iter().position(|slot| slot.names(name)))
    }

    fn take(&mut self, index: usize) -> Option<(usize, &'v Value)> {
        let slot = self.entries.get_mut(index)?;
        let item = slot.item(slot.taken)?;
        slot.taken += 1;
        self.taken += 1;
        Some((slot.taken - 1, item))
    }

    fn is_list(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|slot| slot.value.is_array())
    }

    fn remains(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|slot| slot.taken < slot.len() && !slot.rest_is_void())
    }

    fn has(&self, name: &Name) -> bool {
        self.find(name).and_then(|index| self.entries.get(index)).is_some_and(|slot| slot.taken < slot.len())
    }

    fn has_items(&self, name: &Name) -> bool {
        self.find(name).is_some_and(|index| self.remains(index))
    }
}

impl<'v> Slot<'v> {
    fn names(&self, name: &Name) -> bool {
        *self.local == *name.local && self.namespace.is_none_or(|namespace| namespace == &*name.namespace)
    }

    fn len(&self) -> usize {
        self.value.as_array().map_or(1, Vec::len)
    }

    fn item(&self, index: usize) -> Option<&'v Value> {
        match self.value.as_array() {
            Some(items) => items.get(index),
            None => (index == 0).then_some(self.value),
        }
    }

    fn rest_is_void(&self) -> bool {
        (self.taken..self.len()).all(|index| self.item(index).is_none_or(is_void))
    }
}

/// Null, or an object that holds nothing but nulls: there is nothing to say.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => !object.is_empty() && object.values().all(is_void_part),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn is_void_part(value: &Value) -> bool {
    is_void(value) || value.as_array().is_some_and(|items| items.iter().all(is_void))
}

fn is_nil(value: &Value) -> bool {
    value.as_object().and_then(|object| object.get("$nil")) == Some(&Value::Bool(true))
}

fn attribute_value<'v>(object: &'v Map<String, Value>, attribute: &AttributeUse) -> Option<&'v Value> {
    let name = &attribute.name;
    let plain = object.get(&format!("@{}", name.local));
    if name.namespace.is_empty() {
        return plain;
    }
    let qualified = object.get(&format!("@{name}"));
    let xml = (&*name.namespace == XML_NAMESPACE).then(|| object.get(&format!("@xml:{}", name.local))).flatten();
    qualified.or(xml).or(plain)
}

/// A JSON number as its type writes it: an exponent is written out where the type has none.
fn digits(simple: &Simple, text: String) -> String {
    let Variety::Atomic(builtin) = simple.variety else { return text };
    if !builtin.is_decimal() || !text.contains(['e', 'E']) {
        return text;
    }
    let exponent = text.split(['e', 'E']).nth(1).and_then(|exponent| exponent.parse::<i64>().ok());
    match exponent.filter(|exponent| exponent.abs() <= 400).and_then(|_| BigDecimal::from_str(&text).ok()) {
        Some(number) => number.to_plain_string(),
        None => text,
    }
}

fn hint<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}

/// XML 1.0 production 2.
pub(crate) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// Character data: a carriage return survives only as a reference (XML 1.0 2.11).
pub(crate) fn escape_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// An attribute's value, in double quotes: blanks survive only as references (XML 1.0 3.3.3).
pub(crate) fn escape_attribute(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}
