//! A whole request ↔ the model: what a template made is checked before it is sent.

use roxmltree::Node;

use super::encode::{EncodeError, hint};
use super::matching::{self, Event};
use super::shapes;
use super::text::same_value;
use crate::wsdl::document::{self, Place, XSI, clip, elements, split_qname, text_of};
use crate::wsdl::model::{Complex, Content, Definition, ElementId, Name, ParticleId, Schemas, Simple, TypeId};
use crate::wsdl::{Holds, Operation, Part, Usage, Version, simple};

/// Checks a request against its operation: the envelope, the body's elements, and every value in them. Of encoded
/// messages it checks the operation and its parts by name, and header blocks are not looked at.
///
/// # Errors
/// The first path that is missing, unknown or of a wrong value.
pub fn validate(operation: &Operation, envelope: &str) -> Result<(), EncodeError> {
    let mut check = Check {
        schemas: &operation.model.schemas,
        files: &operation.model.files,
        path: vec![operation.bound.name.clone()],
        place: Place::default(),
    };
    let document = match document::parse(envelope.trim_start()) {
        Ok(document) => document,
        Err(defect) => {
            return Err(
                check.error(format!("is no XML: line {}, column {}: {}", defect.line, defect.column, defect.reason))
            );
        }
    };
    let body = check.body(operation, document.root_element())?;
    check.parts(operation, body)
}

struct Check<'a> {
    schemas: &'a Schemas,
    files: &'a [String],
    path: Vec<String>,
    place: Place,
}

type Done<T = ()> = Result<T, EncodeError>;

impl<'a> Check<'a> {
    fn error(&self, reason: impl Into<String>) -> EncodeError {
        let place = Some(self.place).filter(|place| place.line > 0);
        let place = place.and_then(|place| Some((self.files.get(place.file)?.clone(), place.line)));
        EncodeError { path: self.path.concat(), reason: reason.into(), place }
    }

    fn body<'d, 'i>(&self, operation: &Operation, root: Node<'d, 'i>) -> Done<Node<'d, 'i>> {
        let namespace = match operation.version() {
            Version::Soap11 => shapes::SOAP11,
            Version::Soap12 => shapes::SOAP12,
        };
        let named = |node: &Node<'_, '_>, name: &str| node.has_tag_name((namespace, name));
        if !named(&root, "Envelope") {
            let version = operation.version();
            let found = name_of(root);
            return Err(self.error(format!("is {found}, and no Envelope of SOAP {version}: {{{namespace}}}Envelope")));
        }
        let found = elements(root).find(|child| named(child, "Body"));
        found.ok_or_else(|| self.error("has an Envelope without a Body"))
    }

    fn parts(&mut self, operation: &'a Operation, body: Node<'_, '_>) -> Done {
        let input = &operation.bound.input;
        let children: Vec<Node<'_, '_>> = elements(body).collect();
        let Some(wrapper) = &input.wrapper else {
            let mut children = children.into_iter();
            for part in &input.parts {
                let Some(child) = children.next() else {
                    return Err(self.error(format!("has no element for the part {}", part.name)));
                };
                self.document_part(part, child)?;
            }
            return match children.next() {
                Some(more) => {
                    Err(self.error(format!("has the element {} in its body, and no part for it", name_of(more))))
                }
                None => Ok(()),
            };
        };
        let only = children.iter().find(|child| name_of(**child) == *wrapper);
        let Some(only) = only else {
            let found = children.first().map(|child| name_of(*child).to_string()).unwrap_or_default();
            return Err(self.error(format!("wants {wrapper} in its body, and has {found:?}")));
        };
        for child in elements(*only) {
            let named = input.parts.iter().find(|part| self.is_named(part, child));
            let Some(part) = named else {
                let names = input.parts.iter().map(|part| part.name.as_str());
                let local = child.tag_name().name();
                return Err(self.error(format!("has no part {}{}", clip(local, 60), hint(local, names))));
            };
            if input.usage == Usage::Literal {
                self.within(format!(".{}", part.name), |check| match part.holds {
                    Holds::Element(element) => check.element(child, element),
                    Holds::Type(type_id) => check.typed(child, type_id, None),
                })?;
            }
        }
        let missing = input.parts.iter().find(|part| !elements(*only).any(|child| self.is_named(part, child)));
        match missing {
            Some(part) => {
                self.within(format!(".{}", part.name), |check| Err(check.error("is required and is not there")))
            }
            None => Ok(()),
        }
    }

    fn is_named(&self, part: &Part, child: Node<'_, '_>) -> bool {
        match part.holds {
            Holds::Element(element) => self.schemas.elements[element].name == name_of(child),
            Holds::Type(_) => child.tag_name().name() == part.name,
        }
    }

    fn document_part(&mut self, part: &Part, child: Node<'_, '_>) -> Done {
        match part.holds {
            Holds::Element(element) => {
                let name = &self.schemas.elements[element].name;
                let fits =
                    self.schemas.alternatives(element).find(|id| self.schemas.elements[*id].name == name_of(child));
                match fits {
                    Some(element) => self.element(child, element),
                    None => Err(self.error(format!("wants {name} in its body, and has {}", name_of(child)))),
                }
            }
            Holds::Type(type_id) => self.typed(child, type_id, None),
        }
    }

    fn within<T>(&mut self, step: String, inner: impl FnOnce(&mut Self) -> Done<T>) -> Done<T> {
        let place = self.place;
        self.path.push(step);
        let outcome = inner(self)?;
        self.path.pop();
        self.place = place;
        Ok(outcome)
    }

    fn element(&mut self, node: Node<'_, '_>, id: ElementId) -> Done {
        let schemas = self.schemas;
        let element = &schemas.elements[id];
        self.place = element.place;
        if element.is_abstract {
            return Err(self.error("is an abstract element: one of its substitutes must stand here"));
        }
        if is_true(node, "nil") {
            let empty = node.first_element_child().is_none() && text_of(node).is_empty();
            return match (element.nillable, empty) {
                (true, true) => Ok(()),
                (true, false) => Err(self.error("is xsi:nil and not empty")),
                (false, _) => Err(self.error("is not nillable, so xsi:nil is wrong")),
            };
        }
        self.typed(node, element.type_id, element.fixed.as_deref())
    }

    fn typed(&mut self, node: Node<'_, '_>, declared: TypeId, fixed: Option<&str>) -> Done {
        let type_id = self.actual_type(node, declared)?;
        if self.schemas.array(type_id).is_some() {
            return Ok(());
        }
        match &self.schemas.types[type_id].definition {
            Definition::Any => Ok(()),
            Definition::Simple(simple) => {
                if let Some(child) = node.first_element_child() {
                    return Err(self.error(format!("holds text, and has the element {}", name_of(child))));
                }
                let other = node.attributes().find(|given| given.namespace() != Some(XSI));
                if let Some(given) = other {
                    return Err(self.error(format!("has no attribute {}", clip(given.name(), 60))));
                }
                self.text(node, simple, &text_of(node), fixed)
            }
            Definition::Complex(complex) if complex.is_abstract => {
                Err(self.error("is of an abstract type: xsi:type must say which"))
            }
            Definition::Complex(complex) => {
                self.attributes(node, complex)?;
                self.content(node, complex, fixed)
            }
        }
    }

    fn actual_type(&self, node: Node<'_, '_>, declared: TypeId) -> Done<TypeId> {
        let Some(given) = node.attribute((XSI, "type")) else { return Ok(declared) };
        let (prefix, local) = split_qname(given);
        let name = Name::new(node.lookup_namespace_uri(prefix).unwrap_or_default(), local);
        match self.schemas.global_types.get(&name) {
            Some(actual) if self.schemas.derives(*actual, declared) => Ok(*actual),
            Some(_) => Err(self.error(format!("has the xsi:type {name}, which is not derived from its own type"))),
            None => Err(self.error(format!("has the xsi:type {name}, which no schema declares"))),
        }
    }

    fn text(&self, node: Node<'_, '_>, simple: &Simple, text: &str, fixed: Option<&str>) -> Done {
        let checked = simple::check(self.schemas, simple, text).map_err(|reason| self.error(format!("= {reason}")))?;
        if let Some(fixed) = fixed.filter(|fixed| !checked.is_empty() && !same_value(simple, fixed, &checked)) {
            return Err(self.error(format!("is {:?}, but the schema fixes it to {fixed:?}", clip(&checked, 60))));
        }
        if is_qname(simple) {
            let (prefix, _) = split_qname(&checked);
            if prefix.is_some_and(|prefix| node.lookup_namespace_uri(Some(prefix)).is_none()) {
                return Err(self.error(format!("= {:?} has a prefix that is not declared", clip(&checked, 60))));
            }
        }
        Ok(())
    }

    fn attributes(&mut self, node: Node<'_, '_>, complex: &Complex) -> Done {
        for given in node.attributes().filter(|given| given.namespace() != Some(XSI)) {
            let namespace = given.namespace().unwrap_or_default();
            let known = complex
                .attributes
                .iter()
                .find(|known| *known.name.local == *given.name() && *known.name.namespace == *namespace);
            match known {
                Some(known) => {
                    let Some(simple) = self.schemas.simple(known.type_id) else { continue };
                    self.within(format!(".@{}", given.name()), |check| {
                        check.text(node, simple, given.value(), known.fixed.as_deref())
                    })?;
                }
                None if complex.any_attribute => {}
                None => {
                    let names = complex.attributes.iter().map(|known| &*known.name.local);
                    let near = hint(given.name(), names);
                    return Err(self.error(format!("has no attribute {}{near}", clip(given.name(), 60))));
                }
            }
        }
        let is_given = |known: &Name| {
            node.attributes().any(|given| {
                *known.local == *given.name() && *known.namespace == *given.namespace().unwrap_or_default()
            })
        };
        match complex.attributes.iter().find(|known| known.required && !is_given(&known.name)) {
            Some(missing) => {
                let step = format!(".@{}", missing.name.local);
                self.within(step, |check| Err(check.error("is required and is not there")))
            }
            None => Ok(()),
        }
    }

    fn content(&mut self, node: Node<'_, '_>, complex: &Complex, fixed: Option<&str>) -> Done {
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
            Content::Particle(particle) => self.children(node, particle),
        }
    }

    fn children(&mut self, node: Node<'_, '_>, particle: ParticleId) -> Done {
        let children: Vec<Node<'_, '_>> = elements(node).collect();
        let names: Vec<Name> = children.iter().map(|child| name_of(*child)).collect();
        let events = matching::places(self.schemas, particle, &names).map_err(|misfit| {
            let wanted: Vec<String> =
                misfit.wanted.iter().map(|id| self.schemas.elements[*id].name.to_string()).collect();
            let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(" or ") };
            match names.get(misfit.child) {
                Some(name) => self.error(format!("has {name} where {wanted} may stand")),
                None => self.error(format!("ends where {wanted} must stand")),
            }
        })?;
        for event in events {
            let (index, element) = match event {
                Event::Child(index, element) => (index, Some(element)),
                Event::Wild(index, _) => {
                    (index, names.get(index).and_then(|name| self.schemas.global_elements.get(name)).copied())
                }
                Event::Enter | Event::Leave => continue,
            };
            if let (Some(child), Some(element)) = (children.get(index), element) {
                let local = &self.schemas.elements[element].name.local;
                self.within(format!(".{local}"), |check| check.element(*child, element))?;
            }
        }
        Ok(())
    }
}

fn name_of(node: Node<'_, '_>) -> Name {
    Name::new(node.tag_name().namespace().unwrap_or_default(), node.tag_name().name())
}

fn is_true(node: Node<'_, '_>, name: &str) -> bool {
    matches!(node.attribute((XSI, name)).map(str::trim), Some("true" | "1"))
}

fn is_qname(simple: &Simple) -> bool {
    use crate::wsdl::model::Variety;
    matches!(simple.variety, Variety::Atomic(simple::Builtin::QName))
}
