//! Where in a message something is wrong, and where the WSDL says how it must be: what every error of a message names.

use serde_json::Value;

use super::encode::EncodeError;
use crate::wsdl::document::{Place, clip};
use crate::wsdl::model::{ElementId, Schemas};
use crate::wsdl::{Body, Holds, Operation, Part};

/// A step of the path that errors name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Part(&'a Part),
    Element(ElementId),
    Attribute(&'a str),
    Index(usize),
}

/// The way from the operation down to what is being written or checked. It is put into words only when it must be.
#[derive(Debug)]
pub(super) struct Trail<'a> {
    schemas: &'a Schemas,
    files: &'a [String],
    /// Where the message itself is declared.
    root: Place,
    pub(super) steps: Vec<Step<'a>>,
}

impl<'a> Trail<'a> {
    /// A way that begins at a message, under a name.
    pub(super) fn of(operation: &'a Operation, message: &Body, name: &'a str) -> Self {
        let schemas = &operation.model.schemas;
        let root = message.parts.first().map(|part| place_of(schemas, part)).unwrap_or_default();
        Self { schemas, files: &operation.model.files, root, steps: vec![Step::Name(name)] }
    }

    pub(super) fn push(&mut self, step: Step<'a>) {
        self.steps.push(step);
    }

    pub(super) fn pop(&mut self) {
        self.steps.pop();
    }

    /// What is wrong here, with the nearest place where the WSDL declares something on the way.
    pub(super) fn error(&self, reason: impl Into<String>) -> EncodeError {
        let places = self.steps.iter().rev().filter_map(|step| match step {
            Step::Element(id) => Some(self.schemas.elements[*id].place),
            Step::Part(part) => Some(place_of(self.schemas, part)),
            Step::Name(_) | Step::Attribute(_) | Step::Index(_) => None,
        });
        let place = places.chain([self.root]).find(|place| place.line > 0);
        let place = place.and_then(|place| Some((self.files.get(place.file)?.clone(), place.line)));
        EncodeError { path: self.path(), reason: reason.into(), place }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.steps {
            let (before, name) = match step {
                Step::Name(name) => (".", *name),
                Step::Part(part) => (".", part.name.as_str()),
                Step::Element(id) => (".", &*self.schemas.elements[*id].name.local),
                Step::Attribute(name) => (".@", *name),
                Step::Index(index) => {
                    path.push_str(&format!("[{}]", index + 1));
                    continue;
                }
            };
            path.push_str(if path.is_empty() { "" } else { before });
            path.push_str(name);
        }
        path
    }
}

/// Where a part is declared: its element, or itself where it names a type.
fn place_of(schemas: &Schemas, part: &Part) -> Place {
    match part.holds {
        Holds::Element(id) => schemas.elements[id].place,
        Holds::Type(_) => part.place,
    }
}

/// A value as it is shown in an error: as JSON, and not all of it when it is long.
pub(super) fn shown(value: &Value) -> String {
    clip(&value.to_string(), 60).into_owned()
}
