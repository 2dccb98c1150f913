//! Arguments made up for an operation: everything it may hold, or the least it must, all of it valid.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::members::{add, push, with_type};
use super::{matching, specimen};
use crate::wsdl::model::{
    Complex, Content, Definition, ElementId, Namespaces, Particle, ParticleId, Schemas, Term, Type, TypeId,
};
use crate::wsdl::{Body, Header, Holds, Operation, Usage};

/// How deep what need not be there is followed, and what must.
const DEPTH_MAX: usize = 10;
const MUST_DEPTH_MAX: usize = 60;
/// How many elements a sample holds before only what must be there follows.
const ELEMENTS_MAX: usize = 1_500;
const TRIES_MAX: usize = 5_000;
/// How many particles may be open at once.
const NESTING_MAX: usize = 450;

/// How much a sample holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every element and attribute, lists twice, each choice's first branch.
    Full,
    /// What must be there.
    Minimal,
}

/// Makes an argument for [`super::encode()`]. None: no valid one can be made, as when a type must hold itself.
#[must_use]
pub fn sample(operation: &Operation, extent: Extent) -> Option<Value> {
    sample_of(operation, &operation.bound.input, extent)
}

pub(super) fn sample_of(operation: &Operation, body: &Body, extent: Extent) -> Option<Value> {
    let schemas = &operation.model.schemas;
    let encoded = body.usage == Usage::Encoded;
    let mut sampler = Sampler {
        schemas,
        extent,
        encoded,
        open: HashMap::new(),
        depth: 0,
        nesting: 0,
        elements: 0,
        ids: 0,
        tries: 0,
        groups: HashMap::new(),
    };
    let mut value = match body.parts.as_slice() {
        [part] if body.wrapper.is_none() => sampler.holds(part.holds)?,
        [] if body.wrapper.is_none() => Value::Null,
        parts => {
            let mut object = Map::new();
            for part in parts {
                object.insert(part.name.clone(), sampler.holds(part.holds)?);
            }
            Value::Object(object)
        }
    };
    let wanted = |header: &&Header| header.required || extent == Extent::Full;
    let mut headers = Map::new();
    for header in body.headers.iter().filter(wanted) {
        sampler.encoded = header.usage == Usage::Encoded;
        match sampler.holds(header.part.holds) {
            Some(block) => {
                headers.insert(header.part.name.clone(), block);
            }
            None if header.required => return None,
            None => {}
        }
    }
    if !headers.is_empty() {
        let mut object = match value {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Map::from_iter([("$value".to_owned(), scalar)])
            }
        };
        object.insert("$header".to_owned(), Value::Object(headers));
        value = Value::Object(object);
    }
    Some(value)
}

struct Sampler<'a> {
    schemas: &'a Schemas,
    extent: Extent,
    encoded: bool,
    /// Types within themselves, by how often.
    open: HashMap<TypeId, usize>,
    depth: usize,
    nesting: usize,
    elements: usize,
    ids: usize,
    /// How many types were tried: what cannot be made must not be tried for ever.
    tries: usize,
    /// Whether a content model has repeated groups.
    groups: HashMap<ParticleId, bool>,
}

impl<'a> Sampler<'a> {
    fn is_full(&self) -> bool {
        self.extent == Extent::Full && self.depth < DEPTH_MAX && self.elements < ELEMENTS_MAX && self.tries < TRIES_MAX
    }

    fn holds(&mut self, holds: Holds) -> Option<Value> {
        match holds {
            Holds::Element(element) => self.element(element),
            Holds::Type(type_id) => self.of_type(type_id),
        }
    }

    fn element(&mut self, id: ElementId) -> Option<Value> {
        let element = &self.schemas.elements[id];
        self.elements += 1;
        if let (Some(fixed), Some(simple)) = (&element.fixed, self.schemas.simple(element.type_id)) {
            let fixed = super::decode::scalar(self.schemas, simple, fixed);
            if matches!(self.schemas.types[element.type_id].definition, Definition::Simple(_)) {
                return Some(fixed);
            }
        }
        let open = self.open.get(&element.type_id).copied().unwrap_or(0);
        if self.encoded && open > 0 {
            return Some(json!({"$nil": true}));
        }
        match self.of_type(element.type_id) {
            Some(Value::Object(mut object)) if element.fixed.is_some() && object.contains_key("$value") => {
                object.insert("$value".to_owned(), json!(element.fixed));
                Some(Value::Object(object))
            }
            None if element.nillable => Some(json!({"$nil": true})),
            value => value,
        }
    }

    fn of_type(&mut self, id: TypeId) -> Option<Value> {
        self.tries += 1;
        if self.depth > MUST_DEPTH_MAX || self.nesting > NESTING_MAX || self.tries > TRIES_MAX * 4 {
            return None;
        }
        let count = self.open.entry(id).or_default();
        *count += 1;
        self.depth += 1;
        let value = self.value(id);
        self.depth -= 1;
        if let Some(count) = self.open.get_mut(&id) {
            *count -= 1;
        }
        value
    }

    fn value(&mut self, id: TypeId) -> Option<Value> {
        if let Some(array) = self.schemas.array(id) {
            return self.array(&array);
        }
        if self.schemas.is_map(id) && self.encoded {
            return Some(if self.is_full() { json!({"key": "text"}) } else { json!({}) });
        }
        match &self.schemas.types[id].definition {
            Definition::Any => Some(json!("any")),
            Definition::Simple(simple) => specimen::of(self.schemas, simple, &mut self.ids),
            Definition::Complex(complex) if complex.is_abstract => self.concrete(id),
            Definition::Complex(complex) => self.complex(complex),
        }
    }

    /// A derived type for an abstract one: the first by name that can be made.
    fn concrete(&mut self, id: TypeId) -> Option<Value> {
        let fits = |known: &Type| matches!(&known.definition, Definition::Complex(complex) if !complex.is_abstract);
        let mut derived: Vec<TypeId> = self
            .schemas
            .global_types
            .values()
            .copied()
            .filter(|other| *other != id && fits(&self.schemas.types[*other]) && self.schemas.derives(*other, id))
            .collect();
        derived.sort_by_cached_key(|id| self.schemas.types[*id].name.clone());
        derived.sort_by_key(|id| self.open.get(id).copied().unwrap_or(0));
        for type_id in derived.into_iter().take(20) {
            let Some(value) = self.of_type(type_id) else { continue };
            return Some(with_type(self.schemas, value, type_id));
        }
        None
    }

    fn array(&mut self, array: &crate::wsdl::encoding::ArrayType) -> Option<Value> {
        if !self.is_full() {
            return Some(json!([]));
        }
        let element = array.element.map(|element| self.schemas.elements[element].type_id);
        let item = array.item.or(element).unwrap_or(self.schemas.any_type);
        if self.open.get(&item).is_some_and(|count| *count > 0) {
            return Some(json!([]));
        }
        let item = self.of_type(item)?;
        let dimensions: usize = if array.ranks.is_empty() { 1 } else { array.ranks.iter().sum() };
        Some((0..dimensions.min(8)).fold(item, |inner, _| json!([inner.clone(), inner])))
    }

    fn complex(&mut self, complex: &'a Complex) -> Option<Value> {
        let mut object = Map::new();
        let full = self.is_full();
        for attribute in complex.attributes.iter().filter(|attribute| attribute.required || full) {
            let Some(simple) = self.schemas.simple(attribute.type_id) else { continue };
            let value = match &attribute.fixed {
                Some(fixed) => Some(super::decode::scalar(self.schemas, simple, fixed)),
                None => specimen::of(self.schemas, simple, &mut self.ids),
            };
            let twins = complex.attributes.iter().filter(|other| other.name.local == attribute.name.local).count();
            let name = if twins > 1 { attribute.name.to_string() } else { attribute.name.local.to_string() };
            match value {
                Some(value) => {
                    object.insert(format!("@{name}"), value);
                }
                None if attribute.required => return None,
                None => {}
            }
        }
        match complex.content {
            Content::Empty => Some(Value::Object(object)),
            Content::Simple(inner) => {
                let value =
                    self.schemas.simple(inner).and_then(|simple| specimen::of(self.schemas, simple, &mut self.ids))?;
                if complex.attributes.is_empty() {
                    return Some(value);
                }
                object.insert("$value".to_owned(), value);
                Some(Value::Object(object))
            }
            Content::Particle(particle) => {
                self.particle(particle, complex, &mut object, 0)?;
                Some(Value::Object(object))
            }
        }
    }

    /// Fills in what a particle holds; none when it must hold what cannot be made.
    fn particle(
        &mut self,
        id: ParticleId,
        complex: &'a Complex,
        object: &mut Map<String, Value>,
        turn: usize,
    ) -> Option<()> {
        let particle = &self.schemas.particles[id];
        if self.nesting > NESTING_MAX {
            return (particle.min == 0).then_some(());
        }
        self.nesting += 1;
        let done = match &particle.term {
            Term::Element(element) => self.elements(particle, *element, complex, object),
            Term::Any => self.wildcard(id, particle, object),
            Term::Sequence(_) | Term::All(_) | Term::Choice(_) => self.group(particle, complex, object, turn),
        };
        self.nesting -= 1;
        done
    }

    fn group(
        &mut self,
        particle: &'a Particle,
        complex: &'a Complex,
        object: &mut Map<String, Value>,
        turn: usize,
    ) -> Option<()> {
        let passes = self.times(particle);
        if matching::is_repeated_group(self.schemas, particle) {
            for turn in 0..passes.max(particle.min.min(100)) {
                let mut pass = Map::new();
                match self.pass(particle, complex, &mut pass, turn as usize) {
                    Some(()) if pass.is_empty() => {}
                    Some(()) => push(object, "$group", Value::Object(pass)),
                    None if turn >= particle.min => {}
                    None => return None,
                }
            }
            return Some(());
        }
        for pass in 0..passes {
            let mut whole = Map::new();
            if self.pass(particle, complex, &mut whole, turn + pass as usize).is_none() {
                return (pass >= particle.min).then_some(());
            }
            merge(object, whole);
        }
        Some(())
    }

    fn pass(
        &mut self,
        particle: &'a Particle,
        complex: &'a Complex,
        object: &mut Map<String, Value>,
        turn: usize,
    ) -> Option<()> {
        match &particle.term {
            Term::Sequence(parts) | Term::All(parts) => {
                parts.iter().try_for_each(|part| self.particle(*part, complex, object, 0))
            }
            Term::Choice(parts) => self.choice(parts, complex, object, turn),
            Term::Element(_) | Term::Any => Some(()),
        }
    }

    /// The first branch that can be made, beginning with another one each turn; one that stays empty comes last.
    fn choice(
        &mut self,
        parts: &[ParticleId],
        complex: &'a Complex,
        object: &mut Map<String, Value>,
        turn: usize,
    ) -> Option<()> {
        let mut empty = parts.is_empty();
        let deep = self.depth * 3 > MUST_DEPTH_MAX;
        let leaves = |part: &ParticleId| match &self.schemas.particles[*part].term {
            Term::Element(id) => self.schemas.simple(self.schemas.elements[*id].type_id).is_some(),
            Term::Sequence(_) | Term::Choice(_) | Term::All(_) | Term::Any => false,
        };
        let mut order: Vec<ParticleId> = parts.to_vec();
        order.rotate_left(turn % parts.len().max(1));
        if self.extent == Extent::Minimal || deep {
            order.sort_by_key(|part| !leaves(part));
        }
        for part in order {
            let mut branch = Map::new();
            if self.particle(part, complex, &mut branch, 0).is_some() {
                if branch.is_empty() {
                    empty = true;
                    continue;
                }
                merge(object, branch);
                return Some(());
            }
        }
        empty.then_some(())
    }

    /// How often a particle comes.
    fn times(&self, particle: &Particle) -> u32 {
        let most = particle.max.unwrap_or(u32::MAX);
        let wanted = match (self.extent, self.is_full()) {
            (Extent::Full, true) if most > 1 => 2,
            (Extent::Full, true) => 1,
            (Extent::Full | Extent::Minimal, _) => 0,
        };
        particle.min.max(wanted).min(most)
    }

    fn elements(
        &mut self,
        particle: &Particle,
        id: ElementId,
        complex: &'a Complex,
        object: &mut Map<String, Value>,
    ) -> Option<()> {
        let within = |id: &ElementId| self.open.get(&self.schemas.elements[*id].type_id).copied().unwrap_or(0);
        let mut alternatives: Vec<ElementId> = self.schemas.alternatives(id).take(50).collect();
        alternatives.sort_by_key(within);
        let recursive = alternatives.first().is_none_or(|first| within(first) > 0);
        let times = if recursive { particle.min } else { self.times(particle) };
        for time in 0..times.min(1_000) {
            let made = alternatives.iter().find_map(|id| Some((*id, self.element(*id)?)));
            let Some((id, value)) = made else { return (time >= particle.min).then_some(()) };
            let known = self.schemas.children(complex);
            let name = &self.schemas.elements[id].name;
            let twins = known.by_name.len() != known.by_local.len()
                && known.by_name.keys().filter(|other| other.local == name.local).count() > 1;
            let key = if twins && !name.namespace.is_empty() { name.to_string() } else { name.local.to_string() };
            let repeated = known.by_name.get(name).is_some_and(|child| child.repeated);
            if repeated && !self.in_group(complex) {
                push(object, &key, value);
            } else {
                add(object, &key, value);
            }
        }
        Some(())
    }

    fn in_group(&mut self, complex: &Complex) -> bool {
        let Content::Particle(id) = complex.content else { return false };
        let schemas = self.schemas;
        *self.groups.entry(id).or_insert_with(|| matching::has_repeated_group(schemas, id, 0))
    }

    /// What must stand at a wildcard: a declared element, or one that nobody knows.
    fn wildcard(&mut self, id: ParticleId, particle: &Particle, object: &mut Map<String, Value>) -> Option<()> {
        if particle.min == 0 {
            return Some(());
        }
        let wildcard = self.schemas.wildcards.get(&id)?;
        if wildcard.strict {
            let mut fitting: Vec<_> = self
                .schemas
                .global_elements
                .iter()
                .filter(|(name, id)| wildcard.takes(&name.namespace) && !self.schemas.elements[**id].is_abstract)
                .collect();
            let simple = |id: &ElementId| self.schemas.simple(self.schemas.elements[*id].type_id).is_some();
            let nillable = |id: &ElementId| self.schemas.elements[*id].nillable;
            // What may be nil ends here; what holds a wildcard in turn might lead to itself.
            fitting.sort_by_key(|(name, id)| (!simple(id), !nillable(id), *name));
            let made = fitting.into_iter().take(50).find_map(|(name, id)| {
                let nil = nillable(id) && !simple(id);
                let value = if nil { Some(json!({"$nil": true})) } else { self.element(*id) };
                Some((name.to_string(), value?))
            });
            let (key, value) = made?;
            let local = key.rsplit('}').next().unwrap_or_default().to_owned();
            let alone = self.schemas.global_elements.keys().filter(|name| *name.local == *local).count() == 1;
            let key = match (alone, key.starts_with('{')) {
                (true, _) => local,
                (false, true) => key,
                (false, false) => format!("{{}}{key}"),
            };
            object.insert(key, if particle.min > 1 { json!(vec![value; particle.min as usize]) } else { value });
            return Some(());
        }
        let namespace = match &wildcard.namespaces {
            Namespaces::Any | Namespaces::Other(_) => "urn:any".to_owned(),
            Namespaces::Of(some) => some.first().map(ToString::to_string)?,
        };
        let declaration = if namespace.is_empty() { String::new() } else { format!(" xmlns=\"{namespace}\"") };
        object.insert("$xml".to_owned(), json!(format!("<any{declaration}/>").repeat(particle.min.min(100) as usize)));
        Some(())
    }
}

/// Adds all of a branch.
fn merge(object: &mut Map<String, Value>, branch: Map<String, Value>) {
    for (key, value) in branch {
        match (object.get_mut(&key), value) {
            (Some(Value::Array(items)), Value::Array(more)) => items.extend(more),
            (Some(_), Value::Array(more)) => more.into_iter().for_each(|value| add(object, &key, value)),
            (Some(_), value) => add(object, &key, value),
            (None, value) => {
                object.insert(key, value);
            }
        }
    }
}
