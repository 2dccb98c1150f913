//! A message as a tree that people read: names, types, occurrences, in the schema's order. Bounded.

use serde::Serialize;

use super::bind::{Body, Header, Holds, Part};
use super::encoding::ArrayType;
use super::model::{
    AttributeUse, Complex, Content, Definition, ElementId, Particle, ParticleId, Schemas, Simple, Term, TypeId, Variety,
};
use super::{Operation, Style};

/// How deep a tree is shown.
const DEPTH_MAX: usize = 24;
/// How many nodes are shown.
const NODES_MAX: usize = 5_000;
/// How many values of an enumeration are kept.
const ENUMERATION_MAX: usize = 500;

/// What stands at a place of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// What it is.
    pub kind: Kind,
    /// Its local name; empty for a group.
    pub name: String,
    /// Of several parts: the part's name, by which a mapping knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Its namespace; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The type's name, empty for an anonymous one.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub type_name: String,
    /// The built-in type of its text (`decimal`), `list`, `union`; empty when it holds no text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub builtin: String,
    /// How often it must come.
    pub min: u32,
    /// How often it may come; none: without bound.
    pub max: Option<u32>,
    /// It may be `xsi:nil`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nillable: bool,
    /// It is of an abstract type: `$type` must name one of `types`.
    #[serde(rename = "abstract", skip_serializing_if = "std::ops::Not::not")]
    pub is_abstract: bool,
    /// The types that may stand in for its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// What stands in when it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The only value it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The values it may have; empty: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enumeration: Vec<String>,
    /// The other facets, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<(String, String)>,
    /// What the schema says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
    /// An array of SOAP's encoding: how many dimensions it has, and then how many each array within it has. What
    /// stands below it is an item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub array: Vec<usize>,
    /// Why nothing is shown below it, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What stands below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Self>,
}

/// What an [`Outline`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An element.
    #[default]
    Element,
    /// An attribute.
    Attribute,
    /// Elements of a group, in this order.
    Sequence,
    /// One of these.
    Choice,
    /// Elements of a group, in any order.
    All,
    /// Any element.
    Any,
}

/// Why a tree ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// Its type stands above it already.
    Recursion,
    /// It is too deep, or the tree too large.
    Bounds,
}

impl Outline {
    /// Its name in a path: `@name` for an attribute.
    #[must_use]
    pub fn step(&self) -> String {
        match (&self.part, self.kind) {
            (Some(part), _) => part.clone(),
            (None, Kind::Attribute) => format!("@{}", self.name),
            (None, Kind::Element | Kind::Sequence | Kind::Choice | Kind::All | Kind::Any) => self.name.clone(),
        }
    }

    /// It must be there.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.min > 0 && self.default.is_none() && self.fixed.is_none()
    }

    /// It may come more than once.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.max.is_none_or(|max| max > 1)
    }

    /// A group of elements, which has no name.
    #[must_use]
    pub fn is_group(&self) -> bool {
        matches!(self.kind, Kind::Sequence | Kind::Choice | Kind::All)
    }
}

impl Operation {
    /// The request's parts: what stands in the body, less an rpc wrapper.
    #[must_use]
    pub fn request(&self) -> Vec<Outline> {
        self.outlines(&self.bound.input)
    }

    /// The answer's parts; none for a one-way operation.
    #[must_use]
    pub fn response(&self) -> Option<Vec<Outline>> {
        self.bound.output.as_ref().map(|output| self.outlines(output))
    }

    /// Whether the content of the body's only element is the argument, so that its name is left out of paths.
    #[must_use]
    pub fn has_single_part(&self) -> bool {
        self.bound.input.wrapper.is_none() && self.bound.input.parts.len() == 1
    }

    /// The header blocks that the WSDL binds to the request.
    #[must_use]
    pub fn request_headers(&self) -> Vec<Outline> {
        self.blocks(&self.bound.input)
    }

    /// The header blocks that the WSDL binds to the answer.
    #[must_use]
    pub fn response_headers(&self) -> Vec<Outline> {
        self.bound.output.as_ref().map(|output| self.blocks(output)).unwrap_or_default()
    }

    fn blocks(&self, body: &Body) -> Vec<Outline> {
        let mut walk = Walk { schemas: &self.model.schemas, open: Vec::new(), nodes: 0 };
        let block = |header: &Header| {
            let outline = walk.part(&header.part);
            let namespace = match header.part.holds {
                Holds::Element(_) => outline.namespace,
                Holds::Type(_) => header.namespace.to_string(),
            };
            Outline { namespace, min: u32::from(header.required), ..outline }
        };
        body.headers.iter().map(block).collect()
    }

    fn outlines(&self, body: &Body) -> Vec<Outline> {
        let mut walk = Walk { schemas: &self.model.schemas, open: Vec::new(), nodes: 0 };
        let several = body.wrapper.is_some() || body.parts.len() > 1;
        let named = |part: &Part| several.then(|| part.name.clone());
        body.parts.iter().map(|part| Outline { part: named(part), ..walk.part(part) }).collect()
    }
}

impl Style {
    /// In the words of WSDL.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::DocumentWrapped => "document/literal wrapped",
            Self::DocumentBare => "document/literal bare",
            Self::RpcLiteral => "rpc/literal",
            Self::RpcEncoded => "rpc/encoded",
        }
    }
}

struct Walk<'a> {
    schemas: &'a Schemas,
    open: Vec<TypeId>,
    nodes: usize,
}

impl Walk<'_> {
    fn part(&mut self, part: &Part) -> Outline {
        match part.holds {
            Holds::Element(element) => self.element(element, 1, Some(1)),
            Holds::Type(type_id) => {
                let mut outline = Outline { name: part.name.clone(), min: 1, max: Some(1), ..Outline::default() };
                self.typed(&mut outline, type_id);
                outline
            }
        }
    }

    fn element(&mut self, id: ElementId, min: u32, max: Option<u32>) -> Outline {
        let element = &self.schemas.elements[id];
        let mut outline = Outline {
            name: element.name.local.to_string(),
            namespace: element.name.namespace.to_string(),
            min,
            max,
            nillable: element.nillable,
            default: element.default.clone(),
            fixed: element.fixed.clone(),
            documentation: element.documentation.as_deref().map(str::to_owned),
            ..Outline::default()
        };
        self.typed(&mut outline, element.type_id);
        outline
    }

    fn typed(&mut self, outline: &mut Outline, type_id: TypeId) {
        self.nodes += 1;
        let known = &self.schemas.types[type_id];
        outline.type_name = known.name.as_ref().map(|name| name.local.to_string()).unwrap_or_default();
        if outline.documentation.is_none() {
            outline.documentation = known.documentation.as_deref().map(str::to_owned);
        }
        if let Some(array) = self.schemas.array(type_id) {
            return self.array(outline, type_id, array);
        }
        if let Some(simple) = self.schemas.simple(type_id) {
            describe(outline, simple);
        }
        let Definition::Complex(complex) = &known.definition else { return };
        outline.is_abstract = complex.is_abstract;
        outline.types = self.derived(type_id);
        if self.open.contains(&type_id) {
            outline.cut = Some(Cut::Recursion);
        } else if self.open.len() >= DEPTH_MAX || self.nodes >= NODES_MAX {
            outline.cut = Some(Cut::Bounds);
        } else {
            self.open.push(type_id);
            outline.children = self.content(complex);
            self.open.pop();
        }
    }

    /// An array of SOAP's encoding holds items; its own attributes are the encoder's to write.
    fn array(&mut self, outline: &mut Outline, type_id: TypeId, array: ArrayType) {
        let element = array.element.map(|element| &self.schemas.elements[element]);
        let item = array.item.or(element.map(|element| element.type_id));
        let name = element.map_or("item", |element| &element.name.local).to_owned();
        let mut inner = Outline { name, min: 0, max: None, ..Outline::default() };
        outline.array = if array.ranks.is_empty() { vec![1] } else { array.ranks };
        if self.open.contains(&type_id) {
            outline.cut = Some(Cut::Recursion);
            return;
        }
        if self.open.len() >= DEPTH_MAX || self.nodes >= NODES_MAX {
            outline.cut = Some(Cut::Bounds);
            return;
        }
        if let Some(item) = item {
            self.open.push(type_id);
            self.typed(&mut inner, item);
            self.open.pop();
        }
        outline.children.push(inner);
    }

    /// The names of the concrete types that are made of one.
    fn derived(&self, base: TypeId) -> Vec<String> {
        if base == self.schemas.any_type {
            return Vec::new();
        }
        let is_concrete = |id: TypeId| match &self.schemas.types[id].definition {
            Definition::Complex(complex) => !complex.is_abstract,
            Definition::Simple(_) | Definition::Any => false,
        };
        let known = self.schemas.global_types.iter();
        let mut names: Vec<String> = known
            .filter(|(_, id)| **id != base && is_concrete(**id) && self.schemas.derives(**id, base))
            .map(|(name, _)| name.local.to_string())
            .collect();
        names.sort_unstable();
        names
    }

    fn content(&mut self, complex: &Complex) -> Vec<Outline> {
        let attributes = complex.attributes.iter().filter(|attribute| !attribute.prohibited);
        let mut children: Vec<Outline> = attributes.map(|attribute| self.attribute(attribute)).collect();
        if let Content::Particle(particle) = complex.content {
            self.particle(particle, Kind::Sequence, &mut children);
        }
        children
    }

    fn attribute(&mut self, attribute: &AttributeUse) -> Outline {
        self.nodes += 1;
        let mut outline = Outline {
            kind: Kind::Attribute,
            name: attribute.name.local.to_string(),
            namespace: attribute.name.namespace.to_string(),
            min: u32::from(attribute.required),
            max: Some(1),
            default: attribute.default.clone(),
            fixed: attribute.fixed.clone(),
            ..Outline::default()
        };
        let known = &self.schemas.types[attribute.type_id];
        outline.type_name = known.name.as_ref().map(|name| name.local.to_string()).unwrap_or_default();
        if let Some(simple) = self.schemas.simple(attribute.type_id) {
            describe(&mut outline, simple);
        }
        outline
    }

    /// Adds what a particle holds; a sequence that comes once is no group of its own, but where it is one of a choice.
    fn particle(&mut self, id: ParticleId, above: Kind, into: &mut Vec<Outline>) {
        let particle: &Particle = &self.schemas.particles[id];
        if particle.max == Some(0) || self.nodes >= NODES_MAX {
            return;
        }
        let (kind, parts) = match &particle.term {
            Term::Element(element) => return self.alternatives(*element, particle, into),
            Term::Any => {
                self.nodes += 1;
                let any = Outline { kind: Kind::Any, min: particle.min, max: particle.max, ..Outline::default() };
                return into.push(any);
            }
            Term::Sequence(parts) => (Kind::Sequence, parts),
            Term::Choice(parts) => (Kind::Choice, parts),
            Term::All(parts) => (Kind::All, parts),
        };
        let once = (particle.min, particle.max) == (1, Some(1));
        if once && (parts.len() == 1 || (kind != Kind::Choice && above != Kind::Choice)) {
            return parts.iter().for_each(|part| self.particle(*part, above, into));
        }
        let mut group = Outline { kind, min: particle.min, max: particle.max, ..Outline::default() };
        parts.iter().for_each(|part| self.particle(*part, kind, &mut group.children));
        if !group.children.is_empty() {
            into.push(group);
        }
    }

    /// An element, or a choice of those that may take its place.
    fn alternatives(&mut self, element: ElementId, particle: &Particle, into: &mut Vec<Outline>) {
        let alternatives: Vec<ElementId> = self.schemas.alternatives(element).collect();
        if let [only] = alternatives.as_slice() {
            let outline = self.element(*only, particle.min, particle.max);
            return into.push(outline);
        }
        let (kind, min, max) = (Kind::Choice, particle.min, particle.max);
        let children: Vec<Outline> =
            alternatives.into_iter().map(|alternative| self.element(alternative, 1, Some(1))).collect();
        if !children.is_empty() {
            into.push(Outline { kind, min, max, children, ..Outline::default() });
        }
    }
}

/// What a simple type takes.
fn describe(outline: &mut Outline, simple: &Simple) {
    outline.builtin = match &simple.variety {
        Variety::Atomic(builtin) => builtin.as_str().to_owned(),
        Variety::List(_) => "list".to_owned(),
        Variety::Union(_) => "union".to_owned(),
    };
    let facets = &simple.facets;
    outline.enumeration = facets.enumeration.iter().take(ENUMERATION_MAX).cloned().collect();
    let mut add = |name: &str, value: Option<String>| {
        outline.facets.extend(value.map(|value| (name.to_owned(), value)));
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    add("length", number(facets.length));
    add("minLength", number(facets.min_length));
    add("maxLength", number(facets.max_length));
    add("totalDigits", number(facets.total_digits));
    add("fractionDigits", number(facets.fraction_digits));
    for (bound, inclusive, exclusive) in
        [(&facets.low, "minInclusive", "minExclusive"), (&facets.high, "maxInclusive", "maxExclusive")]
    {
        if let Some(bound) = bound {
            add(if bound.inclusive { inclusive } else { exclusive }, Some(bound.value.clone()));
        }
    }
    for pattern in &facets.patterns {
        add("pattern", Some(pattern.source.to_string()));
    }
}
