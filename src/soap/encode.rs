//! A value → a request, by walking the operation's model.
//!
//! Order, namespaces and occurrences come from the schema, never from the value; every text is checked against
//! its type before it is written. What comes out is valid, or nothing comes out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::slots::{Slots, is_nil};
use super::text::{escape_attribute, is_xml_char, same_value};
use super::trail::{Step, Trail, shown};
use super::validate::validate;
use super::{encoded, fragment, matching, shapes};
use crate::wsdl::document::{XSI, clip};
use crate::wsdl::model::{AttributeUse, Complex, Content, Definition, ElementId, Name, Schemas, TypeId};
use crate::wsdl::simple::is_name;
use crate::wsdl::{Body, Header, Holds, Operation, Part, Usage, Version, nearest};

/// How deep elements may nest in a request.
const DEPTH_MAX: usize = 100;
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
/// The key under which an argument gives what stands in the SOAP header.
const HEADER: &str = "$header";
/// The keys of objects that name neither elements nor attributes.
const KEYS: [&str; 5] = ["$value", "$type", "$nil", "$xml", "$group"];

/// What belongs to the call and not to its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// WS-Addressing headers, when the destination wants them.
    pub addressing: Option<Addressing>,
    /// What JSON null means.
    pub nulls: Nulls,
}

/// What JSON null means for an element that may be absent as well as nil.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nulls {
    /// Nothing to say: it is left out.
    #[default]
    Absent,
    /// `xsi:nil`, wherever the schema allows it.
    Nil,
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
#[error("{path} {reason}{}", in_words(.place))]
pub struct EncodeError {
    /// The element or attribute, from the operation's name: `CreateOrder.Lines[1].Quantity`.
    pub path: String,
    /// What is wrong with it, to be read behind the path.
    pub reason: String,
    /// Where the WSDL or schema declares it: file and line.
    pub place: Option<(String, u32)>,
}

fn in_words(place: &Option<(String, u32)>) -> String {
    place.as_ref().map(|(file, line)| format!(" ({file}, line {line})")).unwrap_or_default()
}

/// Builds a request.
///
/// `argument` is, for document/literal wrapped and for a single part, the content of the body's element; else an
/// object of the parts by name. Keys are local names (or `{namespace}local`); `@name` is an attribute; `$value` the text
/// of an element with attributes; `$type` the name of a derived type; `$nil` true makes `xsi:nil`; `$xml` is a
/// fragment that is taken as it is when it is well-formed and what the schema wants there, and written as text where the schema wants text; `$group` is a list of objects, one for each pass through a
/// repeated group of elements; `$header` an object of the header blocks that the WSDL binds. Lists repeat, and fill
/// encoded arrays. JSON null leaves an optional element out (see [`Nulls`]), else makes it `xsi:nil`, else is an
/// error; an optional object of nothing but nulls is left out too, unless nulls are nils.
///
/// # Errors
/// The first path that is missing, unknown or of a wrong value.
pub fn encode(operation: &Operation, argument: &Value, options: &EncodeOptions) -> Result<Encoded, EncodeError> {
    let bound = &operation.bound;
    let (given, argument) = without_header(argument);
    let argument: &Value = &argument;
    let mut encoder = Encoder::new(operation, options.nulls);
    let body = encoder.body(&bound.input, argument)?;
    let action = if bound.action.is_empty() { &bound.default_action } else { &bound.action };
    let header = options.addressing.as_ref().map(|addressing| shapes::addressing_headers(addressing, action));
    let mut header = header.transpose().map_err(|reason| encoder.error(reason))?.unwrap_or_default();
    header.push_str(&encoder.headers(&bound.input.headers, given)?);
    let encoded = wrap(operation, &header, &body);
    // What stands in encoded values is by no schema's order or count: PHP's own clients send more than a wildcard takes.
    if encoder.raw && bound.input.usage == Usage::Literal {
        validate(operation, &encoded.body)?;
    }
    Ok(encoded)
}

/// The header blocks of an argument, and the argument without them.
fn without_header(argument: &Value) -> (Option<&Value>, Cow<'_, Value>) {
    match argument.as_object().and_then(|object| object.get(HEADER)) {
        Some(header) => {
            let object = argument.as_object().into_iter().flatten().filter(|(key, _)| *key != HEADER);
            let rest: Map<String, Value> = object.map(|(key, value)| (key.clone(), value.clone())).collect();
            (Some(header), Cow::Owned(if rest.is_empty() { Value::Null } else { Value::Object(rest) }))
        }
        None => (None, Cow::Borrowed(argument)),
    }
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
    // SOAP 1.2 part 1, 5.1.1: there it stands on the body's children.
    let encoded = operation.usage() == Usage::Encoded && operation.version() == Version::Soap11;
    let style = if encoded { format!(" soapenv:encodingStyle=\"{}\"", encoded::ENC11) } else { String::new() };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"{namespace}\">{header}\
         <soapenv:Body{style}>{body}</soapenv:Body></soapenv:Envelope>"
    );
    Encoded { content_type, soap_action, body }
}

/// A single part may be given under its own name, or its element's, when its content has nothing of that name.
fn without_part_name<'v>(schemas: &Schemas, part: &Part, argument: &'v Value) -> &'v Value {
    let (type_id, name) = match part.holds {
        Holds::Element(element) => (schemas.elements[element].type_id, &*schemas.elements[element].name.local),
        Holds::Type(type_id) => (type_id, part.name.as_str()),
    };
    let Some((key, value)) =
        argument.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next())
    else {
        return argument;
    };
    let inner = match &schemas.types[type_id].definition {
        Definition::Complex(complex) => schemas.children(complex).by_local.contains_key(key.as_str()),
        Definition::Simple(_) | Definition::Any => false,
    };
    if !inner && (*key == part.name || **key == *name) { value } else { argument }
}

/// The writer of one message.
pub(super) struct Encoder<'a> {
    pub(super) schemas: &'a Schemas,
    pub(super) version: Version,
    usage: Usage,
    pub(super) nulls: Nulls,
    pub(super) out: String,
    /// Namespaces in the order they were first used: `ns1`, `ns2` …
    prefixes: Vec<(Arc<str>, String)>,
    pub(super) uses_xsi: bool,
    /// A fragment was taken as it is: only the whole says whether it is what the schema wants.
    pub(super) raw: bool,
    pub(super) path: Trail<'a>,
    depth: usize,
    /// Particles within particles, elements' contents included: what the stack holds.
    pub(super) nesting: usize,
}

pub(super) type Done<T = ()> = Result<T, EncodeError>;

impl<'a> Encoder<'a> {
    fn new(operation: &'a Operation, nulls: Nulls) -> Self {
        Self {
            schemas: &operation.model.schemas,
            version: operation.version,
            usage: operation.bound.input.usage,
            nulls,
            out: String::with_capacity(1_024),
            prefixes: Vec::new(),
            uses_xsi: false,
            raw: false,
            path: Trail::of(operation, &operation.bound.input, &operation.bound.name),
            depth: 0,
            nesting: 0,
        }
    }

    pub(super) fn is_encoded(&self) -> bool {
        self.usage == Usage::Encoded
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> EncodeError {
        self.path.error(reason)
    }

    /// What stands in the body.
    fn body(&mut self, input: &'a Body, argument: &'a Value) -> Done<String> {
        if let Some(wrapper) = &input.wrapper {
            return self.rpc(wrapper, &input.parts, argument);
        }
        if let [part] = input.parts.as_slice() {
            return self.part(part, without_part_name(self.schemas, part, argument));
        }
        let object = self.object_of_parts(&input.parts, argument)?;
        let mut body = String::new();
        for part in &input.parts {
            let value = object.and_then(|object| object.get(&part.name)).unwrap_or(&Value::Null);
            self.path.push(Step::Part(part));
            body.push_str(&self.part(part, value)?);
            self.path.pop();
        }
        Ok(body)
    }

    /// The header blocks that the binding declares, by their parts' or elements' names.
    fn headers(&mut self, headers: &'a [Header], given: Option<&'a Value>) -> Done<String> {
        let mut out = String::new();
        self.path.push(Step::Name(HEADER));
        let object = given.and_then(Value::as_object);
        if given.is_some_and(|given| !given.is_object() && !given.is_null()) {
            let given = given.map(shown).unwrap_or_default();
            return Err(self.error(format!("wants an object of the header blocks by name, and is given {given}")));
        }
        let names = |header: &Header| match header.part.holds {
            Holds::Element(element) => self.schemas.elements[element].name.local.to_string(),
            Holds::Type(_) => header.part.name.clone(),
        };
        let known: Vec<String> = headers.iter().map(names).collect();
        let is_known = |key: &String| known.contains(key) || headers.iter().any(|header| header.part.name == *key);
        if let Some(key) = object.and_then(|object| object.keys().find(|key| !is_known(key))) {
            let near = hint(key, known.iter().map(String::as_str));
            return Err(self.error(format!("has no block {}{near}", clip(key, 60))));
        }
        for (header, name) in headers.iter().zip(&known) {
            let value = object.and_then(|object| object.get(&header.part.name).or_else(|| object.get(name)));
            self.path.push(Step::Part(&header.part));
            match value.filter(|value| !value.is_null()) {
                Some(value) => {
                    let body = std::mem::replace(&mut self.usage, header.usage);
                    out.push_str(&self.block(header, value)?);
                    self.usage = body;
                }
                None if header.required => return Err(self.error("is required and nobody fills it")),
                None => {}
            }
            self.path.pop();
        }
        self.path.pop();
        Ok(out)
    }

    fn block(&mut self, header: &'a Header, value: &'a Value) -> Done<String> {
        match header.part.holds {
            Holds::Element(_) => self.part(&header.part, value),
            Holds::Type(type_id) => {
                self.start_child();
                let name = Name { namespace: Arc::clone(&header.namespace), local: header.part.name.as_str().into() };
                let tag = self.tag(&name);
                self.typed(&tag, type_id, None, header.part.label.as_ref(), value)?;
                Ok(self.finish_child())
            }
        }
    }

    /// A child of the body; its element declares all prefixes that it and its content use.
    fn part(&mut self, part: &'a Part, value: &'a Value) -> Done<String> {
        static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
        self.start_child();
        match part.holds {
            Holds::Element(id) => {
                let element = &self.schemas.elements[id];
                let simple = self.schemas.simple(element.type_id).is_some();
                let given = if value.is_null() && !element.nillable && !simple { &*EMPTY } else { value };
                self.element(id, given)?;
            }
            Holds::Type(type_id) => {
                let value = if value.is_null() { &*EMPTY } else { value };
                let tag = self.part_name(part, type_id);
                let tag = self.tag(&tag);
                self.typed(&tag, type_id, None, part.label.as_ref(), value)?;
            }
        }
        Ok(self.finish_child())
    }

    /// The element of a document part that names a type, of which WSDL 1.1 says nothing: the part's name, or the
    /// type's where its schema qualifies names.
    fn part_name(&self, part: &Part, type_id: TypeId) -> Name {
        let own = self.schemas.types[type_id].name.as_ref();
        let qualified = own.filter(|own| match &self.schemas.types[type_id].definition {
            Definition::Complex(complex) => {
                let mut names = self.schemas.children(complex).by_name.keys();
                !own.namespace.is_empty() && names.any(|name| name.namespace == own.namespace)
            }
            Definition::Simple(_) | Definition::Any => false,
        });
        qualified.cloned().unwrap_or_else(|| Name::new("", &part.name))
    }

    fn rpc(&mut self, wrapper: &Name, parts: &'a [Part], argument: &'a Value) -> Done<String> {
        let object = self.object_of_parts(parts, argument)?;
        self.start_child();
        let tag = self.tag(wrapper);
        self.open(&tag);
        if self.is_encoded() && self.version == Version::Soap12 {
            self.out.push_str(&format!(" soapenv:encodingStyle=\"{}\"", encoded::ENC12));
        }
        self.out.push('>');
        for part in parts {
            self.path.push(Step::Part(part));
            let given = object.and_then(|object| object.get(&part.name));
            self.rpc_part(part, given)?;
            self.path.pop();
        }
        self.close(&tag);
        Ok(self.finish_child())
    }

    /// A parameter: under its own name in no namespace, or the element that it names against all advice.
    fn rpc_part(&mut self, part: &'a Part, given: Option<&'a Value>) -> Done {
        let present = given.filter(|value| !value.is_null());
        match (part.holds, present) {
            (Holds::Element(id), _) if self.schemas.elements[id].nillable && given.is_some() => {
                self.element(id, given.unwrap_or(&Value::Null))
            }
            (Holds::Element(id), Some(value)) => self.element(id, value),
            (Holds::Type(type_id), Some(value)) => self.typed(&part.name, type_id, None, part.label.as_ref(), value),
            (Holds::Type(_), None) if self.is_encoded() && given.is_some() && self.nulls == Nulls::Nil => {
                self.uses_xsi = true;
                self.open(&part.name);
                self.out.push_str(" xsi:nil=\"true\"/>");
                Ok(())
            }
            (Holds::Element(_) | Holds::Type(_), None) => Err(self.error("is required and nobody fills it")),
        }
    }

    fn object_of_parts(&self, parts: &[Part], argument: &'a Value) -> Done<Option<&'a Map<String, Value>>> {
        let object = match argument {
            Value::Null => return Ok(None),
            Value::Object(object) => object,
            Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                return Err(
                    self.error(format!("wants an object of its parts by name, and is given {}", shown(argument)))
                );
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
        for (namespace, prefix) in &self.prefixes {
            declarations.push_str(&format!(" xmlns:{prefix}=\""));
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
    pub(super) fn tag(&mut self, name: &Name) -> String {
        if name.namespace.is_empty() {
            return name.local.to_string();
        }
        if &*name.namespace == XML_NAMESPACE {
            return format!("xml:{}", name.local);
        }
        let known = self.prefixes.iter().find(|(namespace, _)| *namespace == name.namespace);
        if let Some((_, prefix)) = known {
            return joined(prefix, &name.local);
        }
        let prefix = prefix(self.prefixes.len(), &name.namespace);
        let tag = joined(&prefix, &name.local);
        self.prefixes.push((Arc::clone(&name.namespace), prefix));
        tag
    }

    pub(super) fn open(&mut self, tag: &str) {
        self.out.push('<');
        self.out.push_str(tag);
    }

    pub(super) fn close(&mut self, tag: &str) {
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    /// One element with its value.
    pub(super) fn element(&mut self, id: ElementId, value: &'a Value) -> Done {
        let element = &self.schemas.elements[id];
        if element.name.local.contains(':') {
            return Err(self.error("has a name with a colon in it, which is no name in XML with namespaces"));
        }
        // Members of encoded structs have no namespace (SOAP 1.1 5.1), and none of those who read them looks for one.
        let tag = match element.is_global && self.is_encoded() && self.depth > 0 {
            true => element.name.local.to_string(),
            false => self.tag(&element.name),
        };
        if value.is_null() || is_nil(value) {
            // SOAP 1.1 chapter 5: any accessor may be nil; none is so by accident.
            let may = element.nillable || (is_nil(value) && self.is_encoded());
            if !may {
                let reason = if value.is_null() {
                    "is required and its value is none"
                } else {
                    "is not nillable, so $nil is wrong"
                };
                return Err(self.error(reason));
            }
            return self.nil(&tag, element.type_id, value);
        }
        self.typed(&tag, element.type_id, Some(id), None, value)
    }

    /// An `xsi:nil` element; its attributes are still written when an object gives them.
    fn nil(&mut self, tag: &str, type_id: TypeId, value: &'a Value) -> Done {
        self.uses_xsi = true;
        self.known_keys(value)?;
        let chosen = self.chosen_type(type_id, value)?;
        self.open(tag);
        if chosen != type_id {
            self.type_attribute(chosen);
        }
        self.out.push_str(" xsi:nil=\"true\"");
        let Some(object) = value.as_object() else {
            self.out.push_str("/>");
            return Ok(());
        };
        let content = |key: &&String| !key.starts_with('@') && !matches!(key.as_str(), "$nil" | "$type");
        if let Some(key) = object.iter().find(|(key, value)| content(key) && !value.is_null()).map(|(key, _)| key) {
            return Err(self.error(format!("is nil, so it has no {}", clip(key, 60))));
        }
        if let Definition::Complex(complex) = &self.schemas.types[chosen].definition {
            self.attributes(complex, Some(object))?;
        }
        self.out.push_str("/>");
        Ok(())
    }

    /// An element of a type, `element` its declaration; `label` is what `xsi:type` says where the WSDL says it.
    pub(super) fn typed(
        &mut self,
        tag: &str,
        type_id: TypeId,
        element: Option<ElementId>,
        label: Option<&'a Name>,
        value: &'a Value,
    ) -> Done {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("is nested deeper than {DEPTH_MAX} elements")));
        }
        self.known_keys(value)?;
        self.depth += 1;
        if is_nil(value) && self.is_encoded() {
            self.nil(tag, type_id, value)?;
            self.depth -= 1;
            return Ok(());
        }
        let chosen = self.chosen_type(type_id, value)?;
        if self.special(tag, type_id, chosen, element, label, value)? {
            self.depth -= 1;
            return Ok(());
        }
        self.open(tag);
        if chosen != type_id {
            self.type_attribute(chosen);
        } else if self.is_encoded() {
            self.label(chosen, element, label);
        }
        let fixed = element.and_then(|element| self.schemas.elements[element].fixed.as_deref());
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

    /// Refuses keys with `$` that mean nothing: they would be dropped in silence.
    pub(super) fn known_keys(&self, value: &Value) -> Done {
        let Some(object) = value.as_object() else { return Ok(()) };
        for (key, value) in object.iter().filter(|(key, _)| key.starts_with('$')) {
            if !KEYS.contains(&key.as_str()) {
                let near = hint(key, KEYS.into_iter());
                return Err(self.error(format!("has the key {}, which means nothing{near}", clip(key, 60))));
            }
            if key == "$nil" && !value.is_boolean() && !value.is_null() {
                return Err(self.error(format!("has a $nil that is neither true nor false: {}", shown(value))));
            }
        }
        Ok(())
    }

    /// The type that `$type` names; the one derived type that has all that is given; or the declared one.
    fn chosen_type(&self, declared: TypeId, value: &Value) -> Done<TypeId> {
        let Some(object) = value.as_object() else { return Ok(declared) };
        match object.get("$type") {
            Some(Value::String(given)) => self.named_type(declared, given),
            Some(other) => Err(self.error(format!("has a $type that is no text: {}", shown(other)))),
            None => Ok(self.implied_type(declared, object).unwrap_or(declared)),
        }
    }

    /// The one derived type that has all that is given, when the declared type has not.
    fn implied_type(&self, declared: TypeId, object: &Map<String, Value>) -> Option<TypeId> {
        let Definition::Complex(own) = &self.schemas.types[declared].definition else { return None };
        if self.has_all(own, object) {
            return None;
        }
        let fits = |id: TypeId| match &self.schemas.types[id].definition {
            Definition::Complex(complex) => !complex.is_abstract && self.has_all(complex, object),
            Definition::Simple(_) | Definition::Any => false,
        };
        let derived = self.schemas.global_types.values().copied().filter(|id| *id != declared);
        let fitting: Vec<TypeId> =
            derived.filter(|id| self.schemas.derives(*id, declared) && fits(*id)).take(200).collect();
        fitting.iter().copied().find(|id| fitting.iter().all(|other| self.schemas.derives(*other, *id)))
    }

    /// Whether a type has a place for each key by name.
    fn has_all(&self, complex: &Complex, object: &Map<String, Value>) -> bool {
        let children = self.schemas.children(complex);
        object.keys().filter(|key| !key.starts_with('$')).all(|key| match key.strip_prefix('@') {
            Some(name) => complex.any_attribute || complex.attributes.iter().any(|known| *known.name.local == *name),
            None => {
                key.starts_with('{') || children.by_local.contains_key(key.as_str()) || is_attribute_key(complex, key)
            }
        })
    }

    fn named_type(&self, declared: TypeId, given: &str) -> Done<TypeId> {
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

    pub(super) fn type_attribute(&mut self, id: TypeId) {
        let Some(name) = &self.schemas.types[id].name else { return };
        self.write_type(name);
    }

    pub(super) fn write_type(&mut self, name: &Name) {
        self.uses_xsi = true;
        let qname = self.tag(name);
        self.out.push_str(" xsi:type=\"");
        self.out.push_str(&qname);
        self.out.push('"');
    }

    /// The value of text: itself, or the `$value` or `$xml` of an object that says nothing else.
    pub(super) fn plain_value(&self, value: &'a Value) -> Done<&'a Value> {
        let Some(object) = value.as_object() else { return Ok(value) };
        // A fragment where text is wanted is a text that looks like one.
        let text = object.get("$value").or_else(|| object.get("$xml"));
        let both = object.contains_key("$value") && object.contains_key("$xml");
        let known = |key: &str| matches!(key, "$value" | "$type" | "$nil") || (key == "$xml" && !both);
        if let Some(key) = object.keys().find(|key| !known(key)) {
            return Err(self.error(format!("holds text and has no {}", clip(key, 60))));
        }
        text.ok_or_else(|| self.error("holds text, and its $value is missing"))
    }

    pub(super) fn complex_content(
        &mut self,
        tag: &str,
        complex: &'a Complex,
        value: &'a Value,
        fixed: Option<&str>,
    ) -> Done {
        let object = value.as_object();
        self.attributes(complex, object)?;
        match complex.content {
            Content::Simple(inner) => {
                let Definition::Simple(simple) = &self.schemas.types[inner].definition else {
                    return Err(self.error("has a simple content whose type is not simple"));
                };
                let inner = match object {
                    Some(object) => object.get("$value").or_else(|| object.get("$xml")).unwrap_or(&Value::Null),
                    None => value,
                };
                if inner.is_null() && self.is_encoded() && object.is_some_and(|object| object.contains_key("$value")) {
                    self.uses_xsi = true;
                    self.out.push_str(" xsi:nil=\"true\"/>");
                    return Ok(());
                }
                let is_content = |key: &&String| match key.strip_prefix('$') {
                    Some(key) => key == "group" || (key == "xml" && object.is_some_and(|it| it.contains_key("$value"))),
                    None => !key.starts_with('@') && !is_attribute_key(complex, key),
                };
                if let Some(key) = object.and_then(|object| object.keys().find(is_content)) {
                    return Err(self.error(format!("holds text and has no {}", clip(key, 60))));
                }
                self.text_content(tag, simple, inner, fixed)
            }
            Content::Empty | Content::Particle(_) => {
                let object = match (object, value) {
                    (Some(object), _) => object,
                    (None, Value::String(text)) if text.trim().is_empty() => {
                        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
                        &NONE
                    }
                    (None, Value::Array(_)) => {
                        return Err(self.error(format!("comes once, but is given a list: {}", shown(value))));
                    }
                    (None, _) => {
                        return Err(self.error(format!("holds elements, but is given a text: {}", shown(value))));
                    }
                };
                self.elements_content(tag, complex, object)
            }
        }
    }

    fn elements_content(&mut self, tag: &str, complex: &'a Complex, object: &'a Map<String, Value>) -> Done {
        let mut slots = Slots::of(object, self.schemas.children(complex), self.nulls);
        let start = self.out.len();
        self.out.push('>');
        if let Some(text) = object.get("$value") {
            let Some(text) = text.as_str().filter(|_| complex.mixed) else {
                return Err(self.error(format!("holds elements only and has no $value: {}", shown(text))));
            };
            self.free_text(text)?;
        }
        if !complex.mixed && object.get("$xml").is_some_and(has_text) {
            return Err(self.error("has an $xml with text in it, but holds elements only"));
        }
        let raw = object.get("$xml").filter(|_| slots.entries.is_empty());
        match (complex.content, raw) {
            (Content::Particle(particle), Some(raw)) if !matching::has_wildcard(self.schemas, particle) => {
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
        if slots.group_taken < slots.group.len() {
            self.path.push(Step::Name("$group"));
            self.path.push(Step::Index(slots.group_taken));
            return Err(self.error("has no place: no repeated group takes all that it holds"));
        }
        for slot in &slots.entries {
            let Some(known) = slots.declared(slot) else {
                if slot.taken > 0 || is_attribute_key(complex, slot.key) {
                    continue;
                }
                let names = children.by_local.keys().map(|local| &**local);
                let reason = format!("has no {}{}", clip(slot.key, 60), hint(slot.local, names));
                return Err(self.error(reason));
            };
            if slot.rest_says(self.nulls, self.schemas.elements[known].nillable) {
                self.path.push(Step::Element(known));
                let reason = match slot.taken {
                    0 => "has no place beside the other elements given".to_owned(),
                    taken => format!("comes {} times; at most {taken} fit", slot.len()),
                };
                return Err(self.error(reason));
            }
        }
        Ok(())
    }

    pub(super) fn attributes(&mut self, complex: &'a Complex, object: Option<&'a Map<String, Value>>) -> Done {
        let mut used = 0;
        let given = object.map_or(0, |object| object.keys().filter(|key| key.starts_with('@')).count());
        for attribute in &complex.attributes {
            let value = object.and_then(|object| attribute_value(object, attribute));
            used += usize::from(value.is_some());
            let value = value.or_else(|| object.and_then(|object| self.attribute_by_key(complex, attribute, object)));
            self.path.push(Step::Attribute(&attribute.name.local));
            self.attribute(attribute, value.filter(|value| !value.is_null()))?;
            self.path.pop();
        }
        if used < given {
            self.other_attributes(complex, object)?;
        }
        Ok(())
    }

    /// An attribute that is given by its name alone, when no element has that name.
    fn attribute_by_key(
        &self,
        complex: &Complex,
        attribute: &AttributeUse,
        object: &'a Map<String, Value>,
    ) -> Option<&'a Value> {
        let value = object.get(&*attribute.name.local)?;
        (!self.schemas.children(complex).by_local.contains_key(&attribute.name.local)).then_some(value)
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
        let differs = |fixed: &&String| match self.schemas.simple(attribute.type_id) {
            Some(simple) => !same_value(simple, fixed, &text),
            None => **fixed != text,
        };
        if let Some(fixed) = attribute.fixed.as_ref().filter(differs) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&text, 60))));
        }
        let name = match attribute.is_ref && self.is_encoded() && &*attribute.name.namespace != XML_NAMESPACE {
            true => attribute.name.local.to_string(),
            false => self.tag(&attribute.name),
        };
        self.write_attribute(&name, &text);
        Ok(())
    }

    pub(super) fn write_attribute(&mut self, name: &str, text: &str) {
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
            if !complex.any_attribute {
                let reason = format!("has no attribute {}{}", clip(name, 60), hint(local, declared.into_iter()));
                return Err(self.error(reason));
            }
            self.free_attribute(name, value)?;
        }
        Ok(())
    }

    /// An attribute that nobody declares.
    pub(super) fn free_attribute(&mut self, name: &'a str, value: &'a Value) -> Done {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Bool(_) | Value::Number(_) => Cow::Owned(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(self.error(format!(
                    "has the attribute {}, whose value is no text: {}",
                    clip(name, 60),
                    shown(value)
                )));
            }
        };
        let name = match name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((namespace, local)) => Name::new(namespace, local),
            None => Name::new("", name),
        };
        if !is_name(&name.local, false) || text.chars().any(|c| !is_xml_char(c)) {
            return Err(self.error(format!("has the attribute {:?}, which XML cannot carry", clip(&name.local, 60))));
        }
        let tag = self.tag(&name);
        self.write_attribute(&tag, &text);
        Ok(())
    }
}

/// Whether a raw fragment, or one of several, holds text beside its elements.
fn has_text(raw: &Value) -> bool {
    let one = std::slice::from_ref(raw);
    let texts = raw.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str);
    texts.into_iter().any(fragment::has_text)
}

/// Whether a key without `@` names an attribute.
fn is_attribute_key(complex: &Complex, key: &str) -> bool {
    complex.attributes.iter().any(|attribute| *attribute.name.local == *key)
}

/// A qualified name; written without the machinery of formats, for every tag comes through here.
fn joined(prefix: &str, local: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + 1 + local.len());
    name.push_str(prefix);
    name.push(':');
    name.push_str(local);
    name
}

/// The prefix of a namespace: well-known ones have their own.
fn prefix(index: usize, namespace: &str) -> String {
    well_known(namespace).map_or_else(|| format!("ns{}", index + 1), str::to_owned)
}

fn well_known(namespace: &str) -> Option<&'static str> {
    match namespace {
        encoded::XSD => Some("xsd"),
        encoded::ENC11 => Some("soapenc"),
        encoded::ENC12 => Some("enc"),
        _ => None,
    }
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

pub(super) fn hint<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default()
}
