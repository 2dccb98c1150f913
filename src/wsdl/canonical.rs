//! A model as text: the same for documents that mean the same, however they are cut into files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Model;
use super::bundle::is_xsd;
use super::model::{
    AttributeUse, Complex, Content, Definition, ElementId, ParticleId, Schemas, Simple, Term, TypeId, Variety,
};
use super::simple::Facets;

/// How deep content models and anonymous types within them are written.
const DEPTH_MAX: usize = 300;

impl Model {
    /// Everything that the schemas and services declare, in an order of its own: to compare models.
    #[must_use]
    pub fn canonical(&self) -> String {
        let schemas = &self.inner.schemas;
        let mut lines = BTreeMap::new();
        for (name, id) in schemas.global_types.iter().filter(|(name, _)| !is_xsd(&name.namespace)) {
            let mut writer = Writer { schemas, out: String::new(), open: vec![*id], depth: 0 };
            writer.definition(*id);
            lines.insert(format!("type {name}"), writer.out);
        }
        for (name, id) in &schemas.global_elements {
            let mut writer = Writer { schemas, out: String::new(), open: Vec::new(), depth: 0 };
            writer.declaration(*id);
            for member in schemas.substitutes.get(id).into_iter().flatten() {
                let _ = write!(writer.out, " or {}", schemas.elements[*member].name);
            }
            lines.insert(format!("element {name}"), writer.out);
        }
        for service in self.services() {
            for port in service.ports {
                let line = format!("{} {} {}", port.version, port.endpoint, port.operations.join(" "));
                lines.insert(format!("port {}.{}", service.name, port.name), line);
            }
        }
        lines.into_iter().fold(String::new(), |whole, (name, line)| whole + &name + ": " + &line + "\n")
    }
}

struct Writer<'s> {
    schemas: &'s Schemas,
    out: String,
    /// The anonymous types that are being written.
    open: Vec<TypeId>,
    depth: usize,
}

impl Writer<'_> {
    fn word(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn type_of(&mut self, id: TypeId) {
        match &self.schemas.types[id].name {
            Some(name) => {
                let name = name.to_string();
                self.word(&name);
            }
            None if self.open.contains(&id) => self.word("…"),
            None => {
                self.open.push(id);
                self.definition(id);
                self.open.pop();
            }
        }
    }

    fn definition(&mut self, id: TypeId) {
        let schemas = self.schemas;
        let base = schemas.types[id].base.and_then(|base| schemas.types[base].name.as_ref());
        if let Some(base) = base {
            let _ = write!(self.out, "of {base} ");
        }
        match &schemas.types[id].definition {
            Definition::Any => self.word("anything"),
            Definition::Simple(simple) => self.simple(simple),
            Definition::Complex(complex) => self.complex(complex),
        }
    }

    fn simple(&mut self, simple: &Simple) {
        match &simple.variety {
            Variety::Atomic(builtin) => self.word(builtin.as_str()),
            Variety::List(item) => {
                self.word("list(");
                self.type_of(*item);
                self.word(")");
            }
            Variety::Union(members) => {
                self.word("union(");
                for member in members {
                    self.type_of(*member);
                    self.word(" ");
                }
                self.word(")");
            }
        }
        let _ = write!(self.out, "{}", facets(&simple.facets));
    }

    fn complex(&mut self, complex: &Complex) {
        if complex.is_abstract {
            self.word("abstract ");
        }
        if complex.mixed {
            self.word("mixed ");
        }
        match complex.content {
            Content::Empty => self.word("empty"),
            Content::Simple(id) => {
                self.word("text ");
                self.type_of(id);
            }
            Content::Particle(id) => self.particle(id),
        }
        let mut attributes: Vec<&AttributeUse> = complex.attributes.iter().collect();
        attributes.sort_by(|left, right| left.name.cmp(&right.name));
        for attribute in attributes {
            let _ = write!(self.out, " @{}{}:", attribute.name, if attribute.required { "!" } else { "" });
            self.type_of(attribute.type_id);
            self.values(attribute.default.as_deref(), attribute.fixed.as_deref());
        }
        if complex.any_attribute {
            self.word(" @*");
        }
    }

    fn values(&mut self, default: Option<&str>, fixed: Option<&str>) {
        for (word, value) in [("default", default), ("fixed", fixed)] {
            if let Some(value) = value {
                let _ = write!(self.out, " {word}={value:?}");
            }
        }
    }

    fn particle(&mut self, id: ParticleId) {
        let schemas = self.schemas;
        let particle = &schemas.particles[id];
        if self.depth > DEPTH_MAX {
            return self.word("…");
        }
        self.depth += 1;
        match &particle.term {
            Term::Element(element) if schemas.elements[*element].is_global => {
                let _ = write!(self.out, "ref {}", schemas.elements[*element].name);
            }
            Term::Element(element) => {
                let _ = write!(self.out, "{}:", schemas.elements[*element].name);
                self.declaration(*element);
            }
            Term::Sequence(parts) => self.group("sequence", parts),
            Term::Choice(parts) => self.group("choice", parts),
            Term::All(parts) => self.group("all", parts),
            Term::Any => match schemas.wildcards.get(&id) {
                Some(wildcard) => {
                    let _ = write!(self.out, "{wildcard:?}");
                }
                None => self.word("any"),
            },
        }
        self.depth -= 1;
        match (particle.min, particle.max) {
            (1, Some(1)) => {}
            (min, None) => {
                let _ = write!(self.out, "[{min}..]");
            }
            (min, Some(max)) => {
                let _ = write!(self.out, "[{min}..{max}]");
            }
        }
    }

    fn group(&mut self, kind: &str, parts: &[ParticleId]) {
        self.word(kind);
        self.word("(");
        for part in parts {
            self.particle(*part);
            self.word(" ");
        }
        self.word(")");
    }

    fn declaration(&mut self, id: ElementId) {
        let element = &self.schemas.elements[id];
        self.type_of(element.type_id);
        if element.nillable {
            self.word(" nillable");
        }
        if element.is_abstract {
            self.word(" abstract");
        }
        self.values(element.default.as_deref(), element.fixed.as_deref());
    }
}

fn facets(facets: &Facets) -> String {
    let patterns: Vec<&str> = facets.patterns.iter().map(|pattern| &*pattern.source).collect();
    let mut out = String::new();
    let numbers = [
        ("length", facets.length),
        ("minLength", facets.min_length),
        ("maxLength", facets.max_length),
        ("totalDigits", facets.total_digits),
        ("fractionDigits", facets.fraction_digits),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            let _ = write!(out, " {name}={value}");
        }
    }
    for (name, bound) in [("low", &facets.low), ("high", &facets.high)] {
        if let Some(bound) = bound {
            let _ = write!(out, " {name}={}{}", if bound.inclusive { "=" } else { "" }, bound.value);
        }
    }
    if let Some(white_space) = facets.white_space {
        let _ = write!(out, " {white_space:?}");
    }
    if !facets.enumeration.is_empty() {
        let _ = write!(out, " of {:?}", facets.enumeration);
    }
    if !patterns.is_empty() {
        let _ = write!(out, " like {patterns:?}");
    }
    out
}
