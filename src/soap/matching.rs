//! Child elements ↔ the particles of a content model.
//!
//! Greedy, as XSD's rule of unique attribution allows; a choice takes the branch that holds most. Only where that finds no
//! place is every other way tried: there are schemas that break the rule.

use super::splits;
use crate::wsdl::model::{ElementId, Name, Particle, ParticleId, Schemas, Term};

/// How many steps a match may take.
const STEPS_MAX: usize = 5_000_000;
const NESTING_MAX: usize = 400;

/// What stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A child is this element.
    Child(usize, ElementId),
    /// A child stands at a wildcard.
    Wild(usize, ParticleId),
    /// A pass through a repeated group begins.
    Enter,
    /// It ends.
    Leave,
}

/// Why children do not fit: the first child that has no place, and what was wanted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) child: usize,
    pub(super) wanted: Vec<ElementId>,
}

/// Finds the place of each child; all of them must have one.
pub(super) fn places(schemas: &Schemas, particle: ParticleId, names: &[Name]) -> Result<Vec<Event>, Misfit> {
    let mut walk = Walk { schemas, names, at: 0, events: Vec::new(), far: 0, wanted: Vec::new(), steps: 0, nesting: 0 };
    if walk.particle(particle) && walk.at == names.len() {
        return Ok(walk.events);
    }
    let misfit = Misfit { child: walk.far.max(walk.at), wanted: walk.wanted };
    splits::places(schemas, particle, names).ok_or(misfit)
}

/// Whether a particle is a group that may repeat and holds more than one name.
pub(super) fn is_repeated_group(schemas: &Schemas, particle: &Particle) -> bool {
    let mut count = 0;
    particle.max != Some(1) && particle.max != Some(0) && count_names(schemas, &particle.term, &mut count, 0) > 1
}

/// Whether a content model has such a group anywhere.
pub(super) fn has_repeated_group(schemas: &Schemas, id: ParticleId, depth: usize) -> bool {
    let particle = &schemas.particles[id];
    match &particle.term {
        Term::Element(_) | Term::Any => false,
        Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
            is_repeated_group(schemas, particle)
                || (depth < NESTING_MAX && parts.iter().any(|part| has_repeated_group(schemas, *part, depth + 1)))
        }
    }
}

/// Whether a content model has a wildcard anywhere.
pub(super) fn has_wildcard(schemas: &Schemas, id: ParticleId) -> bool {
    match &schemas.particles[id].term {
        Term::Any => true,
        Term::Element(_) => false,
        Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
            parts.iter().any(|part| has_wildcard(schemas, *part))
        }
    }
}

fn count_names(schemas: &Schemas, term: &Term, count: &mut usize, depth: usize) -> usize {
    match term {
        Term::Element(id) => *count += schemas.alternatives(*id).count(),
        Term::Any => *count += 1,
        Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
            for part in parts {
                if *count < 2 && depth < NESTING_MAX {
                    count_names(schemas, &schemas.particles[*part].term, count, depth + 1);
                }
            }
        }
    }
    *count
}

struct Walk<'a> {
    schemas: &'a Schemas,
    names: &'a [Name],
    at: usize,
    events: Vec<Event>,
    far: usize,
    wanted: Vec<ElementId>,
    steps: usize,
    nesting: usize,
}

impl Walk<'_> {
    fn particle(&mut self, id: ParticleId) -> bool {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.nesting > NESTING_MAX {
            return false;
        }
        let schemas = self.schemas;
        let particle = &schemas.particles[id];
        self.nesting += 1;
        let fits = match &particle.term {
            Term::Element(element) => self.element(particle, *element),
            Term::Any => self.wildcard(particle, id),
            Term::Sequence(parts) => self.repeat(particle, |walk| parts.iter().all(|part| walk.particle(*part))),
            Term::Choice(parts) => self.repeat(particle, |walk| walk.choice(parts)),
            Term::All(parts) => self.repeat(particle, |walk| walk.all(parts)),
        };
        self.nesting -= 1;
        fits
    }

    fn element(&mut self, particle: &Particle, id: ElementId) -> bool {
        let mut count = 0;
        while particle.max.is_none_or(|max| count < max) {
            let Some(found) = self
                .names
                .get(self.at)
                .and_then(|name| self.schemas.alternatives(id).find(|id| self.schemas.elements[*id].name == *name))
            else {
                break;
            };
            self.events.push(Event::Child(self.at, found));
            self.at += 1;
            count += 1;
        }
        if count < particle.min || particle.max.is_none_or(|max| count < max) {
            self.want(id);
        }
        count >= particle.min
    }

    fn want(&mut self, id: ElementId) {
        if self.at > self.far {
            self.far = self.at;
            self.wanted.clear();
        }
        if self.at == self.far && self.wanted.len() < 10 && !self.wanted.contains(&id) {
            self.wanted.push(id);
        }
    }

    fn wildcard(&mut self, particle: &Particle, id: ParticleId) -> bool {
        let mut count = 0;
        let wildcard = self.schemas.wildcards.get(&id);
        while particle.max.is_none_or(|max| count < max) {
            let takes = |name: &&Name| wildcard.is_none_or(|wildcard| wildcard.takes(&name.namespace));
            if self.names.get(self.at).filter(takes).is_none() {
                break;
            }
            self.events.push(Event::Wild(self.at, id));
            self.at += 1;
            count += 1;
        }
        self.far = self.far.max(self.at);
        count >= particle.min
    }

    fn repeat(&mut self, particle: &Particle, once: impl Fn(&mut Self) -> bool) -> bool {
        let grouped = is_repeated_group(self.schemas, particle);
        let mut count = 0;
        while particle.max.is_none_or(|max| count < max) {
            let (at, length) = (self.at, self.events.len());
            self.events.extend(grouped.then_some(Event::Enter));
            if !once(self) {
                self.at = at;
                self.events.truncate(length);
                break;
            }
            if self.at == at {
                // An empty pass stands for every further one.
                self.events.truncate(length);
                return true;
            }
            self.events.extend(grouped.then_some(Event::Leave));
            count += 1;
        }
        count >= particle.min
    }

    /// The branch that holds most of what follows.
    fn choice(&mut self, parts: &[ParticleId]) -> bool {
        let (at, length) = (self.at, self.events.len());
        let mut best: Option<(usize, Vec<Event>)> = parts.is_empty().then(|| (at, Vec::new()));
        for part in parts {
            let fits = self.particle(*part);
            let events = self.events.split_off(length);
            if fits && best.as_ref().is_none_or(|(end, _)| self.at > *end) {
                best = Some((self.at, events));
            }
            self.at = at;
        }
        let Some((end, events)) = best else { return false };
        self.at = end;
        self.events.extend(events);
        true
    }

    /// Every part once, in any order.
    fn all(&mut self, parts: &[ParticleId]) -> bool {
        let mut open: Vec<ParticleId> = parts.to_vec();
        loop {
            let at = self.at;
            let next = open.iter().position(|part| {
                let length = self.events.len();
                let fits = self.particle(*part) && self.at > at;
                if !fits {
                    self.at = at;
                    self.events.truncate(length);
                }
                fits
            });
            match next {
                Some(index) => open.swap_remove(index),
                None => return open.into_iter().all(|part| self.particle(part)),
            };
        }
    }
}
