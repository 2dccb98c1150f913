//! The component model of a schema set: types, elements, attributes, particles, in arenas.
//!
//! Everything refers to everything by number, so recursion in a schema is no recursion here, and shared
//! content (a base type's, a group's) is kept once. Occurrences stay where the schema put them.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::sync::{Arc, OnceLock};

use super::document::Place;
use super::simple::{Builtin, Facets};

/// A namespace (empty: none) and a local name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Empty for no namespace.
    pub namespace: Arc<str>,
    /// Without prefix.
    pub local: Arc<str>,
}

impl Name {
    pub(crate) fn new(namespace: &str, local: &str) -> Self {
        Self { namespace: Arc::from(namespace), local: Arc::from(local) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.local)
        } else {
            write!(f, "{{{}}}{}", self.namespace, self.local)
        }
    }
}

/// The number of an item in its arena.
pub(crate) struct Id<T> {
    number: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl<T> Eq for Id<T> {}
impl<T> std::hash::Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// Items that only ever grow in number.
#[derive(Debug)]
pub(crate) struct Arena<T>(Vec<T>);

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Arena<T> {
    pub(crate) fn add(&mut self, item: T) -> Id<T> {
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(item);
        Id { number, of: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id<T>> + use<T> {
        (0..u32::try_from(self.0.len()).unwrap_or(u32::MAX)).map(|number| Id { number, of: PhantomData })
    }
}

impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    #[expect(clippy::indexing_slicing, reason = "an id is only made by the arena it indexes, which never shrinks")]
    fn index(&self, id: Id<T>) -> &T {
        &self.0[id.number as usize]
    }
}

impl<T> IndexMut<Id<T>> for Arena<T> {
    #[expect(clippy::indexing_slicing, reason = "an id is only made by the arena it indexes, which never shrinks")]
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        &mut self.0[id.number as usize]
    }
}

pub(crate) type TypeId = Id<Type>;
pub(crate) type ElementId = Id<Element>;
pub(crate) type ParticleId = Id<Particle>;

/// All components of a schema set.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub types: Arena<Type>,
    pub elements: Arena<Element>,
    pub particles: Arena<Particle>,
    pub global_types: HashMap<Name, TypeId>,
    pub global_elements: HashMap<Name, ElementId>,
    /// Head → members, transitive, in document order.
    pub substitutes: HashMap<ElementId, Vec<ElementId>>,
    /// `xs:anyType`.
    pub any_type: TypeId,
}

/// An element declaration, global or local.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    pub name: Name,
    pub type_id: TypeId,
    pub nillable: bool,
    pub is_abstract: bool,
    pub default: Option<String>,
    pub fixed: Option<String>,
    /// What the schema says of it in words; cut when it is long.
    pub documentation: Option<Arc<str>>,
}

/// A type definition.
#[derive(Debug)]
pub(crate) struct Type {
    /// None for an anonymous one.
    pub name: Option<Name>,
    pub place: Place,
    pub base: Option<TypeId>,
    pub definition: Definition,
    /// What the schema says of it in words; cut when it is long.
    pub documentation: Option<Arc<str>>,
}

/// What a type is.
#[derive(Debug)]
pub(crate) enum Definition {
    /// `xs:anyType`: anything at all.
    Any,
    /// Text by rules.
    Simple(Simple),
    /// Attributes and content.
    Complex(Complex),
}

/// A simple type with everything it inherits.
#[derive(Clone, Debug)]
pub(crate) struct Simple {
    pub variety: Variety,
    pub facets: Facets,
}

/// Of what a simple type's values are made.
#[derive(Clone, Debug)]
pub(crate) enum Variety {
    Atomic(Builtin),
    List(TypeId),
    Union(Vec<TypeId>),
}

/// A complex type with everything it inherits.
#[derive(Debug)]
pub(crate) struct Complex {
    pub is_abstract: bool,
    pub mixed: bool,
    pub content: Content,
    pub attributes: Vec<AttributeUse>,
    pub any_attribute: bool,
    /// Filled on first use.
    pub children: OnceLock<Children>,
}

/// The content of a complex type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    Simple(TypeId),
    Particle(ParticleId),
}

/// An attribute as a type uses it.
#[derive(Clone, Debug)]
pub(crate) struct AttributeUse {
    pub name: Name,
    /// Always a simple type.
    pub type_id: TypeId,
    pub required: bool,
    pub prohibited: bool,
    pub default: Option<String>,
    pub fixed: Option<String>,
}

/// A part of a content model with its occurrences.
#[derive(Clone, Debug)]
pub(crate) struct Particle {
    pub min: u32,
    /// None: unbounded.
    pub max: Option<u32>,
    pub term: Term,
}

/// What a particle holds.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    Element(ElementId),
    Sequence(Vec<ParticleId>),
    Choice(Vec<ParticleId>),
    All(Vec<ParticleId>),
    /// A wildcard.
    Any,
}

/// The elements of a content model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    pub by_name: HashMap<Name, Child>,
    /// For those who forget or mix up namespaces: one of each local name.
    pub by_local: HashMap<Arc<str>, Child>,
}

/// An element that may stand in some content, wherever its particles are.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub element: ElementId,
    /// It must be there whatever else is.
    pub required: bool,
    /// It may be there more than once.
    pub repeated: bool,
    /// Its place in the schema's order.
    pub order: usize,
}

impl Schemas {
    /// The element and those that may take its place, abstract ones left out.
    pub(crate) fn alternatives(&self, element: ElementId) -> impl Iterator<Item = ElementId> {
        let own = (!self.elements[element].is_abstract).then_some(element);
        let members = self.substitutes.get(&element).map(Vec::as_slice).unwrap_or_default();
        own.into_iter().chain(members.iter().copied().filter(|member| !self.elements[*member].is_abstract))
    }

    /// The simple type that an element's or attribute's text follows, if it has one.
    pub(crate) fn simple(&self, id: TypeId) -> Option<&Simple> {
        match &self.types[id].definition {
            Definition::Simple(simple) => Some(simple),
            Definition::Complex(Complex { content: Content::Simple(inner), .. }) => {
                match &self.types[*inner].definition {
                    Definition::Simple(simple) => Some(simple),
                    Definition::Any | Definition::Complex(_) => None,
                }
            }
            Definition::Complex(_) | Definition::Any => None,
        }
    }

    /// Whether `derived` is `base` or made of it, however far.
    pub(crate) fn derives(&self, derived: TypeId, base: TypeId) -> bool {
        let mut current = Some(derived);
        let mut steps = 0;
        while let Some(id) = current {
            if id == base || base == self.any_type {
                return true;
            }
            steps += 1;
            current = if steps > self.types.len() { None } else { self.types[id].base };
        }
        false
    }

    /// The elements of a type's content by name.
    pub(crate) fn children<'a>(&'a self, complex: &'a Complex) -> &'a Children {
        complex.children.get_or_init(|| {
            let mut by_name = HashMap::new();
            if let Content::Particle(particle) = complex.content {
                self.collect(particle, Occurs { required: true, repeated: false }, &mut by_name);
            }
            let mut by_local: HashMap<Arc<str>, Child> = HashMap::with_capacity(by_name.len());
            for (name, child) in &by_name {
                let first = by_local.entry(Arc::clone(&name.local)).or_insert_with(|| child.clone());
                if child.order < first.order {
                    *first = child.clone();
                }
            }
            Children { by_name, by_local }
        })
    }

    fn collect(&self, id: ParticleId, outer: Occurs, into: &mut HashMap<Name, Child>) {
        let particle = &self.particles[id];
        let here = Occurs {
            required: outer.required && particle.min > 0,
            repeated: outer.repeated || particle.max.is_none_or(|max| max > 1),
        };
        if particle.max == Some(0) {
            return;
        }
        match &particle.term {
            Term::Element(element) => {
                let alone = self.alternatives(*element).count() == 1;
                for element in self.alternatives(*element) {
                    self.note(element, Occurs { required: here.required && alone, ..here }, into);
                }
            }
            Term::Sequence(parts) | Term::All(parts) => {
                parts.iter().for_each(|part| self.collect(*part, here, into));
            }
            Term::Choice(parts) => {
                let here = Occurs { required: here.required && parts.len() == 1, ..here };
                self.collect_branches(parts, here, into);
            }
            Term::Any => {}
        }
    }

    /// A name in two branches stands in one of them at a time: that alone does not repeat it.
    fn collect_branches(&self, parts: &[ParticleId], here: Occurs, into: &mut HashMap<Name, Child>) {
        let mut together: HashMap<Name, Child> = HashMap::new();
        for part in parts {
            let mut branch = HashMap::new();
            self.collect(*part, here, &mut branch);
            for (name, child) in branch {
                together.entry(name).and_modify(|known| known.repeated |= child.repeated).or_insert(child);
            }
        }
        let mut together: Vec<(Name, Child)> = together.into_iter().collect();
        together.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (name, child) in together {
            let order = into.len();
            into.entry(name).and_modify(|known| known.repeated = true).or_insert(Child { order, ..child });
        }
    }

    fn note(&self, element: ElementId, here: Occurs, into: &mut HashMap<Name, Child>) {
        let order = into.len();
        into.entry(self.elements[element].name.clone())
            .and_modify(|child| {
                child.repeated = true;
                child.required |= here.required;
            })
            .or_insert(Child { element, required: here.required, repeated: here.repeated, order });
    }
}

#[derive(Clone, Copy)]
struct Occurs {
    required: bool,
    repeated: bool,
}
