//! A whole message ↔ the model: what a template made is checked before it is sent, and what a server answered is said
//! to be as the WSDL has it, or not.

use std::collections::HashSet;

use roxmltree::{Attribute, Node, NodeId};

use super::encode::{EncodeError, hint};
use super::encoded::{ENC11, ENC12, XSD};
use super::matching::{self, Event};
use super::references::{self, References};
use super::shapes::{SOAP11, SOAP12, SOAP12_RPC};
use super::text::same_value;
use super::trail::{Step, Trail};
use crate::outcome::Response;
use crate::wsdl::document::{self, XSI, clip, elements, split_qname, text_of};
use crate::wsdl::encoding::ArrayType;
use crate::wsdl::model::{
    AttributeUse, Complex, Content, Definition, ElementId, Name, ParticleId, Schemas, Simple, TypeId, Variety,
};
use crate::wsdl::{Body, Header, Holds, Operation, Part, Usage, Version, simple};

/// How many things are said to be wrong with one answer.
const FOUND_MAX: usize = 100;
/// How deep values may nest, references followed.
const DEPTH_MAX: usize = 256;

/// Checks a request against its operation: the envelope, the header blocks that the WSDL binds, the body's elements,
/// and every value in them, encoded ones too.
///
/// # Errors
/// The first path that is missing, unknown or of a wrong value.
pub fn validate(operation: &Operation, envelope: &str) -> Result<(), EncodeError> {
    let input = &operation.bound.input;
    let path = Trail::of(operation, input, &operation.bound.name);
    let document = match document::parse(envelope.trim_start()) {
        Ok(document) => document,
        Err(defect) => {
            let reason = format!("is no XML: line {}, column {}: {}", defect.line, defect.column, defect.reason);
            return Err(path.error(reason));
        }
    };
    let (header, body) = inside(operation, &path, document.root_element())?;
    let mut check = Check::of(operation, input, path, body);
    check.headers(&input.headers, header)?;
    check.parts(input, body)
}

/// Says how an answer differs from what the WSDL declares of it: each a path, a value and a rule. It is read all the
/// same.
///
/// # Errors
/// The body holds another element than the operation's.
pub fn misfits(operation: &Operation, response: &Response) -> Result<Vec<EncodeError>, EncodeError> {
    let (Some(output), Ok(text)) = (&operation.bound.output, super::decode::text(response)) else {
        return Ok(Vec::new());
    };
    let Ok(document) = document::parse(text.trim_start()) else { return Ok(Vec::new()) };
    let body = elements(document.root_element()).find(|child| child.tag_name().name() == "Body");
    let Some(body) = body else { return Ok(Vec::new()) };
    let schemas = &operation.model.schemas;
    let name = match (&output.wrapper, output.parts.as_slice()) {
        (Some(wrapper), _) => &*wrapper.local,
        (None, [Part { holds: Holds::Element(id), .. }]) => &*schemas.elements[*id].name.local,
        (None, _) => &*operation.bound.name,
    };
    let mut check = Check::of(operation, output, Trail::of(operation, output, name), body);
    check.is_own(output, body)?;
    check.found = Some(Vec::new());
    let last = check.parts(output, body).err();
    Ok(check.found.into_iter().flatten().chain(last).collect())
}

/// The header, if there is one, and the body of an envelope of the operation's version.
fn inside<'d, 'i>(
    operation: &Operation,
    path: &Trail<'_>,
    root: Node<'d, 'i>,
) -> Done<(Option<Node<'d, 'i>>, Node<'d, 'i>)> {
    let namespace = match operation.version() {
        Version::Soap11 => SOAP11,
        Version::Soap12 => SOAP12,
    };
    let named = |node: &Node<'_, '_>, name: &str| node.has_tag_name((namespace, name));
    if !named(&root, "Envelope") {
        let version = operation.version();
        let found = name_of(root);
        return Err(path.error(format!("is {found}, and no Envelope of SOAP {version}: {{{namespace}}}Envelope")));
    }
    let child = |name: &str| elements(root).find(|child| named(child, name));
    let body = child("Body").ok_or_else(|| path.error("has an Envelope without a Body"))?;
    Ok((child("Header"), body))
}

struct Check<'a, 'd, 'i> {
    schemas: &'a Schemas,
    path: Trail<'a>,
    encoded: bool,
    references: References<'d, 'i>,
    /// Values that others refer to, and of which type they were checked.
    seen: HashSet<(NodeId, TypeId)>,
    /// What is wrong, where all of it is wanted and not only the first.
    found: Option<Vec<EncodeError>>,
}

type Done<T = ()> = Result<T, EncodeError>;

impl<'a, 'd, 'i> Check<'a, 'd, 'i> {
    fn of(operation: &'a Operation, message: &Body, path: Trail<'a>, body: Node<'d, 'i>) -> Self {
        let encoded = message.usage == Usage::Encoded;
        Self {
            schemas: &operation.model.schemas,
            path,
            encoded,
            references: if encoded { References::of(body) } else { References::default() },
            seen: HashSet::new(),
            found: None,
        }
    }

    fn error(&self, reason: impl Into<String>) -> EncodeError {
        self.path.error(reason)
    }

    fn within<T>(&mut self, step: Step<'a>, inner: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        self.path.push(step);
        let outcome = inner(self);
        self.path.pop();
        outcome
    }

    /// Goes on after what is wrong, where all of it is wanted.
    fn note(&mut self, outcome: Done) -> Done {
        match (outcome, &mut self.found) {
            (Err(error), Some(found)) if found.len() < FOUND_MAX => {
                found.push(error);
                Ok(())
            }
            (outcome, _) => outcome,
        }
    }

    fn headers(&mut self, headers: &'a [Header], header: Option<Node<'d, 'i>>) -> Done {
        let blocks: Vec<Node<'d, 'i>> = header.into_iter().flat_map(elements).collect();
        let body = self.encoded;
        self.path.push(Step::Name("$header"));
        for header in headers {
            let name = match header.part.holds {
                Holds::Element(id) => self.schemas.elements[id].name.clone(),
                Holds::Type(_) => Name::new(&header.namespace, &header.part.name),
            };
            self.encoded = header.usage == Usage::Encoded;
            let block = blocks.iter().find(|block| name_of(**block) == name);
            let twin = blocks.iter().find(|block| block.tag_name().name() == &*name.local);
            self.within(Step::Part(&header.part), |check| match (block, twin) {
                (Some(block), _) => check.held(header.part.holds, *block),
                (None, Some(twin)) => Err(check.error(format!("is {name}, and the header has {}", name_of(*twin)))),
                (None, None) if header.required => Err(check.error("is required and is not there")),
                (None, None) => Ok(()),
            })?;
        }
        self.path.pop();
        self.encoded = body;
        Ok(())
    }

    fn held(&mut self, holds: Holds, node: Node<'d, 'i>) -> Done {
        match holds {
            Holds::Element(id) => self.element(node, id),
            Holds::Type(type_id) => self.typed(node, type_id, None),
        }
    }

    /// Whether a body holds this message, and not another one.
    fn is_own(&self, message: &Body, body: Node<'d, 'i>) -> Done {
        let children: Vec<Node<'d, 'i>> = elements(body).filter(|child| self.is_message(*child)).collect();
        let Some(first) = children.first() else { return Ok(()) };
        let local = first.tag_name().name();
        let named = |part: &Part, node: Node<'_, '_>| self.is_loosely_named(part, node);
        let (own, wanted) = match (&message.wrapper, message.parts.as_slice()) {
            // SOAP 1.1 7.1: the name of an rpc answer means nothing.
            (Some(wrapper), parts) => {
                let has_part = elements(*first).any(|child| parts.iter().any(|part| named(part, child)));
                let only = parts.len() <= 1 && local.ends_with("Response");
                (local == &*wrapper.local || has_part || only, wrapper.to_string())
            }
            (None, parts) => {
                let own = children.iter().any(|child| parts.iter().any(|part| named(part, *child)));
                let element = |part: &Part| match part.holds {
                    Holds::Element(id) => self.schemas.elements[id].name.to_string(),
                    Holds::Type(_) => part.name.clone(),
                };
                let typed = parts.iter().any(|part| matches!(part.holds, Holds::Type(_)));
                (own || typed || parts.is_empty(), parts.iter().map(element).collect::<Vec<_>>().join(", "))
            }
        };
        if own { Ok(()) } else { Err(self.error(format!("wants {wanted} in the body, and has {}", name_of(*first)))) }
    }

    /// Whether an element is the part's, whatever its namespace.
    fn is_loosely_named(&self, part: &Part, node: Node<'_, '_>) -> bool {
        let local = node.tag_name().name();
        match part.holds {
            Holds::Element(id) => {
                let named = |id: ElementId| *self.schemas.elements[id].name.local == *local;
                named(id) || self.schemas.alternatives(id).any(named)
            }
            Holds::Type(_) => part.name == local,
        }
    }

    /// Whether a child of the body is the message, and not a value that it refers to.
    fn is_message(&self, child: Node<'d, 'i>) -> bool {
        !self.encoded || references::is_root(child)
    }

    fn parts(&mut self, message: &'a Body, body: Node<'d, 'i>) -> Done {
        let children: Vec<Node<'d, 'i>> = elements(body).filter(|child| self.is_message(*child)).collect();
        match &message.wrapper {
            Some(wrapper) => self.rpc_parts(wrapper, &message.parts, &children),
            None => self.document_parts(&message.parts, &children),
        }
    }

    fn document_parts(&mut self, parts: &'a [Part], children: &[Node<'d, 'i>]) -> Done {
        let mut children = children.iter().copied();
        for part in parts {
            let Some(child) = children.next() else {
                return Err(self.error(format!("has no element for the part {}", part.name)));
            };
            match parts.len() {
                1 => self.document_part(part, child)?,
                _ => self.within(Step::Part(part), |check| check.document_part(part, child))?,
            }
        }
        match children.next().filter(|_| !self.encoded) {
            Some(more) => Err(self.error(format!("has the element {} in its body, and no part for it", name_of(more)))),
            None => Ok(()),
        }
    }

    fn document_part(&mut self, part: &'a Part, child: Node<'d, 'i>) -> Done {
        let Holds::Element(element) = part.holds else { return self.held(part.holds, child) };
        let name = name_of(child);
        let found = self.schemas.alternatives(element).find(|id| self.schemas.elements[*id].name == name);
        match found {
            Some(element) => self.element(child, element),
            None => {
                let wanted = &self.schemas.elements[element].name;
                let error = self.error(format!("wants {wanted} in its body, and has {name}"));
                self.note(Err(error))?;
                self.element(child, element)
            }
        }
    }

    fn rpc_parts(&mut self, wrapper: &Name, parts: &'a [Part], children: &[Node<'d, 'i>]) -> Done {
        let answered = self.found.is_some();
        let Some(only) = children.iter().find(|child| answered || name_of(**child) == *wrapper) else {
            let found = children.first().map(|child| name_of(*child).to_string()).unwrap_or_default();
            return Err(self.error(format!("wants {wrapper} in its body, and has {found:?}")));
        };
        let mut given: Vec<&str> = Vec::new();
        // SOAP 1.2 part 2, 4.2.1: which part is the result, said beside the parts.
        let says_result = |child: &Node<'_, '_>| child.tag_name().namespace() == Some(SOAP12_RPC);
        for child in elements(*only).filter(|child| !says_result(child)) {
            let named = parts.iter().find(|part| self.is_named(part, child));
            // An rpc answer's one part may have any name (SOAP 1.1 7.1).
            let named = named.or_else(|| parts.first().filter(|_| answered && parts.len() == 1 && given.is_empty()));
            let Some(part) = named else {
                let names = parts.iter().map(|part| part.name.as_str());
                let local = child.tag_name().name();
                let error = self.error(format!("has no part {}{}", clip(local, 60), hint(local, names)));
                self.note(Err(error))?;
                continue;
            };
            self.within(Step::Part(part), |check| {
                if given.contains(&part.name.as_str()) {
                    let error = check.error("stands there twice");
                    check.note(Err(error))?;
                }
                check.held(part.holds, child)
            })?;
            given.push(&part.name);
        }
        for missing in parts.iter().filter(|part| !given.contains(&part.name.as_str())) {
            self.within(Step::Part(missing), |check| {
                let error = check.error("is required and is not there");
                check.note(Err(error))
            })?;
        }
        Ok(())
    }

    fn is_named(&self, part: &Part, child: Node<'_, '_>) -> bool {
        match part.holds {
            Holds::Element(element) => {
                let name = name_of(child);
                self.schemas.elements[element].name == name
                    || self.schemas.alternatives(element).any(|id| self.schemas.elements[id].name == name)
            }
            Holds::Type(_) => child.tag_name().name() == part.name,
        }
    }

    fn element(&mut self, node: Node<'d, 'i>, id: ElementId) -> Done {
        let schemas = self.schemas;
        let element = &schemas.elements[id];
        if element.is_abstract {
            let error = self.error("is an abstract element: one of its substitutes must stand here");
            return self.note(Err(error));
        }
        if is_nil(node) {
            // SOAP 1.1 chapter 5: any accessor may be nil.
            let may = element.nillable || self.encoded;
            let empty = node.first_element_child().is_none() && text_of(node).is_empty();
            let outcome = match (may, empty) {
                (true, true) => Ok(()),
                (true, false) => Err(self.error("is xsi:nil and not empty")),
                (false, _) => Err(self.error("is not nillable, so xsi:nil is wrong")),
            };
            return self.note(outcome);
        }
        self.typed(node, element.type_id, element.fixed.as_deref())
    }

    fn typed(&mut self, node: Node<'d, 'i>, declared: TypeId, fixed: Option<&str>) -> Done {
        let outcome = self.value(node, declared, fixed);
        self.note(outcome)
    }

    fn value(&mut self, node: Node<'d, 'i>, declared: TypeId, fixed: Option<&str>) -> Done {
        let mut node = node;
        if self.path.steps.len() > DEPTH_MAX {
            return Err(self.error(format!("is nested deeper than {DEPTH_MAX} elements")));
        }
        if self.encoded {
            let found = self.references.resolve(node).map_err(|reason| self.error(format!("= {reason}")))?;
            // What was checked once is not checked again: values may refer to each other in circles.
            if found != node && !self.seen.insert((found.id(), declared)) {
                return Ok(());
            }
            node = found;
            if is_nil(node) {
                return Ok(());
            }
        }
        let type_id = self.actual_type(node, declared)?;
        if let Some(array) = self.schemas.array(type_id) {
            return self.array(node, &array);
        }
        if self.schemas.is_map(type_id) && self.encoded {
            return Ok(());
        }
        match &self.schemas.types[type_id].definition {
            Definition::Any => match self.own_array(node) {
                Some(array) => self.array(node, &array),
                None => Ok(()),
            },
            Definition::Simple(simple) => self.simple(node, simple, fixed),
            Definition::Complex(complex) if complex.is_abstract => {
                Err(self.error("is of an abstract type: xsi:type must say which"))
            }
            Definition::Complex(complex) => {
                self.attributes(node, complex)?;
                self.content(node, complex, fixed)
            }
        }
    }

    fn simple(&self, node: Node<'d, 'i>, simple: &Simple, fixed: Option<&str>) -> Done {
        if let Some(child) = node.first_element_child() {
            return Err(self.error(format!("holds text, and has the element {}", name_of(child))));
        }
        let other = node.attributes().find(|given| !self.is_envelopes(given.namespace(), given.name()));
        if let Some(given) = other {
            return Err(self.error(format!("has no attribute {}", clip(given.name(), 60))));
        }
        self.text(node, simple, &text_of(node), fixed)
    }

    /// Whether an attribute is XML Schema's, SOAP's, or its encoding's, and none of the value's type.
    fn is_envelopes(&self, namespace: Option<&str>, name: &str) -> bool {
        matches!(namespace, Some(XSI | SOAP11 | SOAP12)) || (self.encoded && references::is_encodings(namespace, name))
    }

    fn actual_type(&self, node: Node<'d, 'i>, declared: TypeId) -> Done<TypeId> {
        let Some(given) = node.attribute((XSI, "type")) else { return Ok(declared) };
        let (prefix, local) = split_qname(given);
        let name = Name::new(node.lookup_namespace_uri(prefix).unwrap_or_default(), local);
        if self.encoded && self.is_own_label(&name) {
            return Ok(declared);
        }
        let open = matches!(self.schemas.types[declared].definition, Definition::Any);
        match self.type_named(&name) {
            Some(actual) if open || self.schemas.derives(actual, declared) => Ok(actual),
            // Arrays of one item type are the same, whatever they are called.
            Some(actual) if self.encoded && self.schemas.array(actual).is_some() => Ok(declared),
            Some(_) => Err(self.error(format!("has the xsi:type {name}, which is not derived from its own type"))),
            None => Err(self.error(format!("has the xsi:type {name}, which no schema declares"))),
        }
    }

    /// Whether a name is what the WSDL calls the type of an encoded value, though it may be the name of no type: that of
    /// SOAP's arrays, of the part's type as it is written, of the element itself.
    fn is_own_label(&self, name: &Name) -> bool {
        let root = matches!(&*name.local, "Array" | "Struct") && is_encoding(name);
        root || match self.path.steps.last() {
            Some(Step::Part(part)) => part.label.as_ref() == Some(name),
            Some(Step::Element(id)) => self.schemas.elements[*id].name == *name,
            Some(Step::Name(_) | Step::Attribute(_) | Step::Index(_)) | None => false,
        }
    }

    /// A type by name; SOAP's encoding has a twin of each built-in one.
    fn type_named(&self, name: &Name) -> Option<TypeId> {
        let known = self.schemas.global_types.get(name).copied();
        let twin = || self.schemas.global_types.get(&Name::new(XSD, &name.local)).copied();
        known.or_else(|| twin().filter(|_| is_encoding(name) || name.namespace.ends_with("/XMLSchema")))
    }

    /// What an array of any type says of itself.
    fn own_array(&self, node: Node<'d, 'i>) -> Option<ArrayType> {
        let said = references::sizes(node).filter(|_| self.encoded)?;
        let item = said.item.filter(|_| !said.nested).and_then(|name| self.type_named(&name));
        Some(ArrayType { item, ..ArrayType::default() })
    }

    fn array(&mut self, node: Node<'d, 'i>, array: &ArrayType) -> Done {
        let said = references::sizes(node).filter(|_| self.encoded).unwrap_or_default();
        let items = elements(node).count();
        let most = said.sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size));
        if let Some(most) = most.filter(|most| !said.sizes.is_empty() && items > *most) {
            return Err(self.error(format!("is an array that says it has {most} items, and has {items}")));
        }
        let element = array.element.map(|element| self.schemas.elements[element].type_id);
        let declared = array.item.or(element).unwrap_or(self.schemas.any_type);
        let own = said.item.filter(|_| !said.nested).and_then(|name| self.type_named(&name));
        let item = own.filter(|own| self.schemas.derives(*own, declared)).unwrap_or(declared);
        let inner = array.ranks.split_first().map(|(_, inner)| inner).filter(|inner| !inner.is_empty());
        for (index, child) in elements(node).enumerate() {
            self.within(Step::Index(index), |check| match inner {
                _ if is_nil(child) => Ok(()),
                Some(inner) => check.array(child, &ArrayType { ranks: inner.to_vec(), ..array.clone() }),
                None => check.typed(child, item, None),
            })?;
        }
        Ok(())
    }

    fn text(&self, node: Node<'d, 'i>, simple: &Simple, text: &str, fixed: Option<&str>) -> Done {
        let checked = simple::check(self.schemas, simple, text).map_err(|reason| self.error(format!("= {reason}")))?;
        if let Some(fixed) = fixed.filter(|fixed| !checked.is_empty() && !same_value(simple, fixed, &checked)) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&checked, 60))));
        }
        if matches!(simple.variety, Variety::Atomic(simple::Builtin::QName)) {
            let (prefix, _) = split_qname(&checked);
            if checked.starts_with('{')
                || prefix.is_some_and(|prefix| node.lookup_namespace_uri(Some(prefix)).is_none())
            {
                return Err(self.error(format!("= {:?} has a prefix that is not declared", clip(&checked, 60))));
            }
        }
        Ok(())
    }

    fn attributes(&mut self, node: Node<'d, 'i>, complex: &'a Complex) -> Done {
        let encoded = self.encoded;
        for given in node.attributes() {
            let known = complex.attributes.iter().find(|known| is_same(known, &given, encoded));
            let outcome = match known {
                Some(known) => {
                    let Some(simple) = self.schemas.simple(known.type_id) else { continue };
                    self.within(Step::Attribute(&known.name.local), |check| {
                        check.text(node, simple, given.value(), known.fixed.as_deref())
                    })
                }
                None if complex.any_attribute || self.is_envelopes(given.namespace(), given.name()) => Ok(()),
                None => {
                    let names = complex.attributes.iter().map(|known| &*known.name.local);
                    let near = hint(given.name(), names);
                    Err(self.error(format!("has no attribute {}{near}", clip(given.name(), 60))))
                }
            };
            self.note(outcome)?;
        }
        let is_given = |known: &AttributeUse| node.attributes().any(|given| is_same(known, &given, encoded));
        match complex.attributes.iter().find(|known| known.required && !is_given(known)) {
            Some(missing) => {
                let step = Step::Attribute(&missing.name.local);
                let outcome = self.within(step, |check| Err(check.error("is required and is not there")));
                self.note(outcome)
            }
            None => Ok(()),
        }
    }

    fn content(&mut self, node: Node<'d, 'i>, complex: &'a Complex, fixed: Option<&str>) -> Done {
        let text = text_of(node);
        match complex.content {
            Content::Simple(inner) => match (&self.schemas.types[inner].definition, node.first_element_child()) {
                (_, Some(child)) => Err(self.error(format!("holds text, and has the element {}", name_of(child)))),
                (Definition::Simple(simple), None) => self.text(node, simple, &text, fixed),
                (Definition::Any | Definition::Complex(_), None) => Ok(()),
            },
            Content::Empty | Content::Particle(_) if !complex.mixed && !text.trim().is_empty() => {
                Err(self.error(format!("holds elements only, and has the text {:?}", clip(text.trim(), 60))))
            }
            Content::Empty => match node.first_element_child() {
                Some(child) => Err(self.error(format!("is empty, and has the element {}", name_of(child)))),
                None => Ok(()),
            },
            Content::Particle(particle) if self.encoded && !matching::has_wildcard(self.schemas, particle) => {
                self.members(node, complex)
            }
            Content::Particle(particle) => self.children(node, particle, complex),
        }
    }

    /// Members of a struct: by name alone, in any order, without a namespace or with one (SOAP 1.1 5.4.1).
    fn members(&mut self, node: Node<'d, 'i>, complex: &'a Complex) -> Done {
        let schemas = self.schemas;
        let known = schemas.children(complex);
        let mut given: HashSet<&str> = HashSet::new();
        for child in elements(node) {
            let local = child.tag_name().name();
            let Some(member) = known.by_local.get(local) else {
                let names = known.by_local.keys().map(|name| &**name);
                let error = self.error(format!("has no {}{}", clip(local, 60), hint(local, names)));
                self.note(Err(error))?;
                continue;
            };
            self.within(Step::Element(member.element), |check| {
                if !given.insert(local) && !member.repeated {
                    let error = check.error("stands there twice");
                    check.note(Err(error))?;
                }
                check.element(child, member.element)
            })?;
        }
        let mut missing: Vec<_> =
            known.by_local.iter().filter(|(name, member)| member.required && !given.contains(&***name)).collect();
        missing.sort_by_key(|(_, member)| member.order);
        for (_, member) in missing {
            self.within(Step::Element(member.element), |check| {
                let error = check.error("is required and is not there");
                check.note(Err(error))
            })?;
        }
        Ok(())
    }

    fn children(&mut self, node: Node<'d, 'i>, particle: ParticleId, complex: &'a Complex) -> Done {
        let schemas = self.schemas;
        let children: Vec<Node<'d, 'i>> = elements(node).collect();
        let names: Vec<Name> = children.iter().map(|child| name_of(*child)).collect();
        let events = match matching::places(schemas, particle, &names) {
            Ok(events) => events,
            Err(misfit) => {
                let wanted: Vec<String> =
                    misfit.wanted.iter().map(|id| schemas.elements[*id].name.to_string()).collect();
                let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(" or ") };
                let error = match names.get(misfit.child) {
                    Some(name) => self.error(format!("has {name} where {wanted} may stand")),
                    None => self.error(format!("ends where {wanted} must stand")),
                };
                self.note(Err(error))?;
                let by_local = &schemas.children(complex).by_local;
                let known =
                    |(index, name): (usize, &Name)| Some(Event::Child(index, by_local.get(&name.local)?.element));
                names.iter().enumerate().filter_map(known).collect()
            }
        };
        for event in events {
            let (index, element) = match event {
                Event::Child(index, element) => (index, Some(element)),
                Event::Wild(index, _) => {
                    (index, names.get(index).and_then(|name| schemas.global_elements.get(name)).copied())
                }
                Event::Enter | Event::Leave => continue,
            };
            if let (Some(child), Some(element)) = (children.get(index), element) {
                self.within(Step::Element(element), |check| check.element(*child, element))?;
            }
        }
        Ok(())
    }
}

/// Whether an attribute is the declared one. Nobody who reads encoded values looks for the namespace of one that is
/// referred to.
fn is_same(known: &AttributeUse, given: &Attribute<'_, '_>, encoded: bool) -> bool {
    let namespace = given.namespace().unwrap_or_default();
    let bare = encoded && known.is_ref && namespace.is_empty();
    *known.name.local == *given.name() && (bare || *known.name.namespace == *namespace)
}

fn is_encoding(name: &Name) -> bool {
    matches!(&*name.namespace, ENC11 | ENC12)
}

fn name_of(node: Node<'_, '_>) -> Name {
    Name::new(node.tag_name().namespace().unwrap_or_default(), node.tag_name().name())
}

fn is_nil(node: Node<'_, '_>) -> bool {
    matches!(node.attribute((XSI, "nil")).map(str::trim), Some("true" | "1"))
}
