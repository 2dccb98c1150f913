//! What a request may hold, by path: for checking mappings before the first message.

use std::collections::HashSet;

use serde_json::Value;

use super::Operation;
use super::bind::{Header, Holds};
use super::model::{
    Complex, Content, Definition, ElementId, Particle, ParticleId, Schemas, Simple, Term, TypeId, Variety,
};
use super::nearest;
use super::simple;

/// How deep required elements are followed.
const DEPTH_MAX: usize = 32;
/// How many required leaves are named.
const LEAVES_MAX: usize = 2_000;

/// What stands at a path of a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Target {
    /// It must be there when its parent is.
    pub required: bool,
    /// It may be there more than once.
    pub repeated: bool,
    /// It may be `xsi:nil`.
    pub nillable: bool,
    /// It holds text; false: it holds elements.
    pub simple: bool,
    /// The type's name, empty for an anonymous one.
    pub type_name: String,
    /// The built-in type its text is made of (`decimal`); `list` or `union`; empty when it holds elements.
    pub builtin: String,
    /// The values it may have; empty: no enumeration.
    pub enumeration: Vec<String>,
    /// The longest text, in characters.
    pub max_length: Option<u64>,
    /// Decimal places.
    pub fraction_digits: Option<u64>,
    /// Digits altogether.
    pub total_digits: Option<u64>,
    /// The only value it may have.
    pub fixed: Option<String>,
    /// The shortest text, in characters.
    pub min_length: Option<u64>,
    /// It may hold anything at all.
    pub any: bool,
    /// An array of SOAP's encoding: of how many dimensions, those of arrays within it included; 0: it is none.
    pub array: usize,
    #[serde(skip)]
    pub(crate) type_id: Option<TypeId>,
}

/// A path that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PathError {
    /// The part of the path that does exist.
    pub known: String,
    /// The name that does not.
    pub unknown: String,
    /// The nearest name there.
    pub nearest: Option<String>,
    /// In words.
    pub reason: String,
}

impl Operation {
    /// What stands at a path below the operation's argument: element names, a last `@attribute`, or one of
    /// `$value`, `$type`, `$xml`, `$nil`.
    ///
    /// # Errors
    /// The first name that is not there, with the nearest one.
    pub fn resolve(&self, path: &[&str]) -> Result<Target, PathError> {
        self.resolve_as(path, &|_| Chosen::Declared)
    }

    /// As [`Self::resolve`], when `$type` says at some paths which type it is.
    ///
    /// # Errors
    /// As [`Self::resolve`]; and a type that does not derive from the declared one.
    pub fn resolve_as(&self, path: &[&str], chosen: &dyn Fn(&[&str]) -> Chosen) -> Result<Target, PathError> {
        let whole = path;
        let mut path = path;
        let mut here = Here::Parts;
        let mut known = self.name().to_owned();
        if let [part] = self.bound.input.parts.as_slice()
            && self.bound.input.wrapper.is_none()
        {
            here = at(part);
            // A single part may be named, or left out.
            if let [first, rest @ ..] = path
                && self.names_part(part, first)
            {
                path = rest;
            }
        }
        if let ["$header", rest @ ..] = whole {
            (here, path) = (Here::Headers, rest);
            known.push_str(".$header");
        }
        let mut target = self.describe(here, !matches!(here, Here::Headers), false);
        let skipped = whole.len() - path.len();
        for (position, step) in path.iter().enumerate() {
            match chosen(whole.get(..skipped + position).unwrap_or_default()) {
                Chosen::Declared => {}
                Chosen::Unknown => return Ok(plain()),
                Chosen::Named(name) => here = self.derived(here, &known, &name)?,
            }
            if matches!(*step, "$type" | "$xml" | "$nil" | "$value" | "$group") {
                let item = self.item_of(here).filter(|_| *step == "$value");
                return match item {
                    Some(item) => Ok(self.describe(item, target.required, true)),
                    None if *step == "$value" && target.simple => Ok(target),
                    None => Ok(plain()),
                };
            }
            let (next, found) = self.step(here, step).ok_or_else(|| self.unknown(here, &known, step))?;
            target = found;
            known = format!("{known}.{step}");
            match next {
                Some(next) => here = next,
                None => return Ok(target),
            }
        }
        if let Chosen::Named(name) = chosen(whole) {
            let derived = self.derived(here, &known, &name)?;
            target.type_id = self.type_at(derived);
        }
        Ok(target)
    }

    /// The type that stands in for the declared one.
    fn derived(&self, here: Here, known: &str, name: &str) -> Result<Here, PathError> {
        let schemas = &self.model.schemas;
        let Some(declared) = self.type_at(here) else { return Ok(here) };
        let (namespace, local) = match name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((namespace, local)) => (Some(namespace), local),
            None => (None, name.rsplit(':').next().unwrap_or(name)),
        };
        let derived: Vec<_> = schemas.global_types.iter().filter(|(_, id)| schemas.derives(**id, declared)).collect();
        let fits = |known: &super::model::Name| {
            *known.local == *local && namespace.is_none_or(|namespace| *known.namespace == *namespace)
        };
        if let Some((_, id)) = derived.iter().find(|(name, _)| fits(name)) {
            return Ok(Here::Type(**id));
        }
        let is_concrete = |id: TypeId| match &schemas.types[id].definition {
            Definition::Complex(complex) => !complex.is_abstract,
            Definition::Simple(_) | Definition::Any => true,
        };
        let concrete = derived.iter().filter(|(_, id)| is_concrete(**id));
        let mut names: Vec<&str> = concrete.map(|(name, _)| &*name.local).collect();
        names.sort_unstable();
        let near = nearest(local, names.iter().copied()).map(str::to_owned);
        let some: Vec<&str> = names.into_iter().take(10).collect();
        Err(PathError {
            known: known.to_owned(),
            unknown: name.to_owned(),
            nearest: near,
            reason: format!("{known} cannot be of the type {name:?}; $type may be {}", some.join(", ")),
        })
    }

    /// Whether a constant may stand as the text of what was resolved: its lexical form and every facet are checked.
    ///
    /// # Errors
    /// In words, beginning with the value.
    pub fn accepts(&self, target: &Target, value: &Value) -> Result<(), String> {
        let schemas = &self.model.schemas;
        let Some(simple) = target.type_id.and_then(|id| schemas.simple(id)) else { return Ok(()) };
        let text = match value {
            Value::String(text) => text.clone(),
            // The encoder writes an exponent out where the type has none.
            Value::Number(number) if number.to_string().contains(['e', 'E']) => return Ok(()),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return Ok(()),
        };
        let text = simple::check(schemas, simple, &text)?;
        match target.fixed.as_ref().filter(|fixed| **fixed != text) {
            Some(fixed) => Err(format!("{text:?} is not {fixed:?}, the only value that the schema allows")),
            None => Ok(()),
        }
    }

    /// The paths of the simple elements and attributes that every request must hold: reached through required
    /// parents, not nillable, without a default.
    #[must_use]
    pub fn required_leaves(&self) -> Vec<String> {
        let mut leaves = Leaves { schemas: &self.model.schemas, paths: Vec::new(), open: HashSet::new() };
        let single = self.bound.input.parts.len() == 1 && self.bound.input.wrapper.is_none();
        for part in &self.bound.input.parts {
            let path = if single { String::new() } else { part.name.clone() };
            match part.holds {
                Holds::Element(element) => leaves.of_type(self.model.schemas.elements[element].type_id, &path, 0),
                Holds::Type(type_id) => leaves.of_type(type_id, &path, 0),
            }
        }
        for header in self.bound.input.headers.iter().filter(|header| header.required) {
            leaves.paths.push(join("$header", self.block_name(header)));
        }
        leaves.paths
    }

    /// As [`Self::required_leaves`], below what was resolved and when that is there.
    #[must_use]
    pub fn required_below(&self, target: &Target) -> Vec<String> {
        let mut leaves = Leaves { schemas: &self.model.schemas, paths: Vec::new(), open: HashSet::new() };
        if let Some(type_id) = target.type_id {
            match self.item_of(Here::Type(type_id)) {
                Some(Here::Type(item)) => leaves.of_type(item, "", 0),
                Some(_) | None => leaves.of_type(type_id, "", 0),
            }
        }
        leaves.paths
    }

    /// Whether a name is that of the only part, which may be left out of paths.
    #[must_use]
    pub fn is_only_part(&self, name: &str) -> bool {
        match self.bound.input.parts.as_slice() {
            [part] if self.bound.input.wrapper.is_none() => self.names_part(part, name),
            _ => false,
        }
    }

    fn names_part(&self, part: &super::Part, name: &str) -> bool {
        let Holds::Element(element) = part.holds else { return part.name == name };
        let element = &self.model.schemas.elements[element];
        let named = part.name == name || *element.name.local == *name;
        named && self.children_of(Here::Type(element.type_id)).iter().all(|child| child != name)
    }

    fn step(&self, here: Here, step: &str) -> Option<(Option<Here>, Target)> {
        let schemas = &self.model.schemas;
        let of_part = |part: &super::Part, required: bool| {
            let next = at(part);
            Some((Some(next), self.describe(next, required, false)))
        };
        match here {
            Here::Parts => {
                return of_part(self.bound.input.parts.iter().find(|part| part.name == step)?, true);
            }
            Here::Headers => {
                let named = |header: &&Header| header.part.name == step || self.block_name(header) == step;
                let header = self.bound.input.headers.iter().find(named)?;
                return of_part(&header.part, header.required);
            }
            Here::Element(_) | Here::Type(_) => {}
        }
        if let Some(item) = self.item_of(here) {
            return self.step_into_item(here, item, step);
        }
        let Definition::Complex(complex) = &schemas.types[self.type_at(here)?].definition else {
            return is_any(schemas, self.type_at(here)?).then(|| (None, plain()));
        };
        if let Some(attribute) = step.strip_prefix('@') {
            let Some(declared) = complex.attributes.iter().find(|declared| *declared.name.local == *attribute) else {
                return complex.any_attribute.then(|| (None, plain()));
            };
            let required = declared.required && declared.default.is_none() && declared.fixed.is_none();
            let target = self.describe(Here::Type(declared.type_id), required, false);
            return Some((None, Target { fixed: declared.fixed.clone(), ..target }));
        }
        let local = step.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(step, |(_, local)| local);
        let child = schemas.children(complex).by_local.get(local)?;
        let next = Here::Element(child.element);
        Some((Some(next), self.describe(next, child.required, child.repeated)))
    }

    /// An item of an array of one dimension, whose type is known and is no array itself.
    fn item_of(&self, here: Here) -> Option<Here> {
        let schemas = &self.model.schemas;
        let array = schemas.array(self.type_at(here)?)?;
        let item = array.item.or_else(|| array.element.map(|element| schemas.elements[element].type_id))?;
        let flat = array.ranks.iter().sum::<usize>() <= 1 && schemas.array(item).is_none();
        flat.then_some(Here::Type(item))
    }

    /// Below an array stands what an item holds; the items themselves may be named as they are in the message.
    fn step_into_item(&self, here: Here, item: Here, step: &str) -> Option<(Option<Here>, Target)> {
        if let Some(found) = self.step(item, step) {
            return Some(found);
        }
        let schemas = &self.model.schemas;
        let array = schemas.array(self.type_at(here)?)?;
        let named = array.element.map_or("item", |element| &schemas.elements[element].name.local);
        (named == step).then(|| (Some(item), self.describe(item, false, true)))
    }

    /// The name of a header block: its element's, or its part's.
    fn block_name<'h>(&'h self, header: &'h Header) -> &'h str {
        match header.part.holds {
            Holds::Element(element) => &self.model.schemas.elements[element].name.local,
            Holds::Type(_) => &header.part.name,
        }
    }

    fn type_at(&self, here: Here) -> Option<TypeId> {
        match here {
            Here::Parts | Here::Headers => None,
            Here::Element(element) => Some(self.model.schemas.elements[element].type_id),
            Here::Type(type_id) => Some(type_id),
        }
    }

    fn describe(&self, here: Here, required: bool, repeated: bool) -> Target {
        let schemas = &self.model.schemas;
        let Some(type_id) = self.type_at(here) else { return Target { required, any: false, ..plain() } };
        let (nillable, fixed) = match here {
            Here::Element(element) => (schemas.elements[element].nillable, schemas.elements[element].fixed.clone()),
            Here::Parts | Here::Headers | Here::Type(_) => (false, None),
        };
        let type_name = schemas.types[type_id].name.as_ref().map(|name| name.local.to_string()).unwrap_or_default();
        let simple = schemas.simple(type_id);
        let facets = simple.map(|simple| simple.facets.clone()).unwrap_or_default();
        Target {
            required,
            repeated,
            nillable,
            simple: simple.is_some(),
            type_name,
            builtin: simple.map(builtin_name).unwrap_or_default(),
            enumeration: facets.enumeration.to_vec(),
            max_length: facets.length.or(facets.max_length),
            fraction_digits: facets.fraction_digits,
            total_digits: facets.total_digits,
            fixed,
            min_length: facets.length.or(facets.min_length),
            // An array of SOAP's encoding takes a list, and says little of its items.
            any: is_any(schemas, type_id) || schemas.array(type_id).is_some(),
            array: schemas.array(type_id).map_or(0, |array| array.ranks.iter().sum::<usize>().max(1)),
            type_id: Some(type_id),
        }
    }

    fn children_of(&self, here: Here) -> Vec<String> {
        let schemas = &self.model.schemas;
        if matches!(here, Here::Headers) {
            return self.bound.input.headers.iter().map(|header| self.block_name(header).to_owned()).collect();
        }
        if let Some(item) = self.item_of(here) {
            return self.children_of(item);
        }
        let Some(type_id) = self.type_at(here) else {
            return self.bound.input.parts.iter().map(|part| part.name.clone()).collect();
        };
        let Definition::Complex(complex) = &schemas.types[type_id].definition else { return Vec::new() };
        let mut children: Vec<_> = schemas.children(complex).by_name.iter().collect();
        children.sort_by_key(|(_, child)| child.order);
        let attributes = complex.attributes.iter().map(|attribute| format!("@{}", attribute.name.local));
        children.into_iter().map(|(name, _)| name.local.to_string()).chain(attributes).collect()
    }

    fn unknown(&self, here: Here, known: &str, step: &str) -> PathError {
        let names = self.children_of(here);
        let near = nearest(step, names.iter().map(String::as_str)).map(str::to_owned);
        let hint = match &near {
            Some(near) => format!("; did you mean {near}?"),
            None if names.is_empty() && matches!(here, Here::Headers) => "; the WSDL binds no header".to_owned(),
            None if names.is_empty() => "; it holds text, no elements".to_owned(),
            None => format!("; it has {}", names.iter().take(10).cloned().collect::<Vec<_>>().join(", ")),
        };
        PathError {
            known: known.to_owned(),
            unknown: step.to_owned(),
            nearest: near,
            reason: format!("{known} has no {step}{hint}"),
        }
    }
}

/// What `$type` says at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Nothing: it is of its declared type.
    Declared,
    /// The name of a type.
    Named(String),
    /// Something that is known only when a message comes.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum Here {
    Parts,
    Headers,
    Element(ElementId),
    Type(TypeId),
}

fn at(part: &super::Part) -> Here {
    match part.holds {
        Holds::Element(element) => Here::Element(element),
        Holds::Type(type_id) => Here::Type(type_id),
    }
}

fn plain() -> Target {
    Target {
        required: false,
        repeated: false,
        nillable: false,
        simple: false,
        type_name: String::new(),
        builtin: String::new(),
        enumeration: Vec::new(),
        max_length: None,
        fraction_digits: None,
        total_digits: None,
        fixed: None,
        min_length: None,
        any: true,
        array: 0,
        type_id: None,
    }
}

fn is_any(schemas: &Schemas, type_id: TypeId) -> bool {
    matches!(schemas.types[type_id].definition, Definition::Any)
}

fn builtin_name(simple: &Simple) -> String {
    match &simple.variety {
        Variety::Atomic(builtin) => builtin.as_str().to_owned(),
        Variety::List(_) => "list".to_owned(),
        Variety::Union(_) => "union".to_owned(),
    }
}

struct Leaves<'a> {
    schemas: &'a Schemas,
    paths: Vec<String>,
    open: HashSet<TypeId>,
}

impl Leaves<'_> {
    fn of_type(&mut self, type_id: TypeId, path: &str, depth: usize) {
        let full = depth > DEPTH_MAX || self.paths.len() >= LEAVES_MAX;
        // An array may be empty, and its own attributes are the encoder's to write.
        if full || self.schemas.array(type_id).is_some() || !self.open.insert(type_id) {
            return;
        }
        if let Definition::Complex(complex) = &self.schemas.types[type_id].definition {
            self.of_complex(complex, path, depth);
        }
        self.open.remove(&type_id);
    }

    fn of_complex(&mut self, complex: &Complex, path: &str, depth: usize) {
        for attribute in complex.attributes.iter().filter(|attribute| attribute.required) {
            if attribute.default.is_none() && attribute.fixed.is_none() {
                self.paths.push(join(path, &format!("@{}", attribute.name.local)));
            }
        }
        if complex.is_abstract {
            return self.paths.push(join(path, "$type"));
        }
        if let Content::Particle(particle) = complex.content {
            self.of_particle(particle, path, depth);
        }
    }

    fn of_particle(&mut self, id: ParticleId, path: &str, depth: usize) {
        let particle: &Particle = &self.schemas.particles[id];
        if particle.min == 0 || self.paths.len() >= LEAVES_MAX {
            return;
        }
        match &particle.term {
            Term::Element(element) => self.of_element(*element, path, depth),
            Term::Sequence(parts) | Term::All(parts) => {
                parts.iter().for_each(|part| self.of_particle(*part, path, depth));
            }
            Term::Choice(parts) => {
                if let [only] = parts.as_slice() {
                    self.of_particle(*only, path, depth);
                }
            }
            Term::Any => {}
        }
    }

    fn of_element(&mut self, id: ElementId, path: &str, depth: usize) {
        let element = &self.schemas.elements[id];
        let filled = element.nillable || element.default.is_some() || element.fixed.is_some();
        if filled || self.schemas.substitutes.contains_key(&id) {
            return;
        }
        let path = join(path, &element.name.local);
        if self.schemas.simple(element.type_id).is_some() {
            self.paths.push(path.clone());
        }
        let before = self.paths.len();
        self.of_type(element.type_id, &path, depth + 1);
        // What holds nothing that must be there must still be there itself.
        let is_complex = matches!(self.schemas.types[element.type_id].definition, Definition::Complex(_));
        if is_complex && self.paths.len() == before && !self.paths.contains(&path) && self.paths.len() < LEAVES_MAX {
            self.paths.push(path);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
