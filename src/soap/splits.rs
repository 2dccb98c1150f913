//! Child elements ↔ the particles of a content model that leaves open which of them takes what (it breaks XSD's rule of
//! unique attribution): every way is tried, each only once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::matching::{Event, is_repeated_group};
use crate::wsdl::model::{ElementId, Name, Particle, ParticleId, Schemas, Term};

/// How many ends of particles are looked at before the search gives up.
const STEPS_MAX: usize = 300_000;
const NESTING_MAX: usize = 100;

/// Where a particle may end.
type Ends = Rc<BTreeSet<usize>>;

/// Finds a place for each child; none: there is no way, or too many.
pub(super) fn places(schemas: &Schemas, particle: ParticleId, names: &[Name]) -> Option<Vec<Event>> {
    let mut search = Search { schemas, names, known: HashMap::new(), steps: 0, nesting: 0 };
    let fits = search.ends(particle, 0).contains(&names.len());
    let mut events = Vec::new();
    (fits && search.write(particle, 0, names.len(), &mut events).is_some()).then_some(events)
}

struct Search<'a> {
    schemas: &'a Schemas,
    names: &'a [Name],
    known: HashMap<(ParticleId, usize), Ends>,
    steps: usize,
    nesting: usize,
}

/// The ends of the passes through a particle: after how many passes, each with where the last pass began.
type Passes = Vec<BTreeMap<usize, usize>>;

impl<'a> Search<'a> {
    fn particle(&self, id: ParticleId) -> &'a Particle {
        let schemas = self.schemas;
        &schemas.particles[id]
    }

    /// Where a particle that begins at a child may end, with all its occurrences.
    fn ends(&mut self, id: ParticleId, at: usize) -> Ends {
        if let Some(known) = self.known.get(&(id, at)) {
            return Rc::clone(known);
        }
        if self.steps > STEPS_MAX || self.nesting > NESTING_MAX {
            return Ends::default();
        }
        self.nesting += 1;
        let particle = self.particle(id);
        let mut ends = BTreeSet::new();
        let passes = self.passes(id, at, None);
        for (count, pass) in passes.iter().enumerate() {
            // An empty pass stands for every further one.
            let enough = |end: usize| count >= particle.min as usize || pass.get(&end) == Some(&end);
            ends.extend(pass.keys().copied().filter(|end| enough(*end)));
        }
        self.nesting -= 1;
        self.steps += ends.len() + 1;
        let ends = Rc::new(ends);
        self.known.insert((id, at), Rc::clone(&ends));
        ends
    }

    /// Goes through a particle as often as it may be, or until it ends where it is wanted to.
    fn passes(&mut self, id: ParticleId, at: usize, wanted: Option<usize>) -> Passes {
        let particle = self.particle(id);
        // No place: the first pass has not begun.
        let mut passes: Passes = vec![BTreeMap::from([(at, usize::MAX)])];
        let mut beyond: BTreeSet<usize> = BTreeSet::new();
        while particle.max.is_none_or(|max| passes.len() <= max as usize) && self.steps <= STEPS_MAX {
            let count = passes.len();
            let starts: Vec<usize> = passes.last().map(|last| last.keys().copied().collect()).unwrap_or_default();
            let mut next = BTreeMap::new();
            for start in starts {
                for end in self.once(id, start) {
                    // Once it came often enough, a place that was reached before is reached no better.
                    if end == start || count < particle.min as usize || particle.max.is_some() || beyond.insert(end) {
                        next.entry(end).or_insert(start);
                    }
                }
            }
            self.steps += next.len() + 1;
            let progress = next.iter().any(|(end, start)| end > start);
            let there = wanted.is_some_and(|wanted| next.contains_key(&wanted) && count >= particle.min as usize);
            passes.push(next);
            if !progress || there {
                break;
            }
        }
        passes
    }

    /// Where one pass may end.
    fn once(&mut self, id: ParticleId, at: usize) -> BTreeSet<usize> {
        match &self.particle(id).term {
            Term::Element(element) => self.element(*element, at).map(|_| at + 1).into_iter().collect(),
            Term::Any => {
                let wildcard = self.schemas.wildcards.get(&id);
                let takes = |name: &&Name| wildcard.is_none_or(|wildcard| wildcard.takes(&name.namespace));
                self.names.get(at).filter(takes).map(|_| at + 1).into_iter().collect()
            }
            Term::Sequence(parts) => {
                self.sequence(parts, at).pop().map(BTreeMap::into_keys).into_iter().flatten().collect()
            }
            Term::Choice(parts) if parts.is_empty() => BTreeSet::from([at]),
            Term::Choice(parts) => parts.iter().flat_map(|part| (*self.ends(*part, at)).clone()).collect(),
            Term::All(parts) => {
                self.all(parts, at).map(|order| order.last().map_or(at, |last| last.2)).into_iter().collect()
            }
        }
    }

    fn element(&self, id: ElementId, at: usize) -> Option<ElementId> {
        let name = self.names.get(at)?;
        self.schemas.alternatives(id).find(|id| self.schemas.elements[*id].name == *name)
    }

    /// Where each part of a sequence may end, and where it then began.
    fn sequence(&mut self, parts: &[ParticleId], at: usize) -> Passes {
        let mut reached: Passes = vec![BTreeMap::from([(at, usize::MAX)])];
        for part in parts {
            let starts: Vec<usize> = reached.last().map(|last| last.keys().copied().collect()).unwrap_or_default();
            let mut next = BTreeMap::new();
            for start in starts {
                for end in self.ends(*part, start).iter() {
                    next.entry(*end).or_insert(start);
                }
            }
            self.steps += next.len() + 1;
            reached.push(next);
        }
        reached
    }

    /// Every part once, in any order: each part with where it begins and ends. Their names differ, so there is one way.
    fn all(&mut self, parts: &[ParticleId], at: usize) -> Option<Vec<(ParticleId, usize, usize)>> {
        let mut open: Vec<ParticleId> = parts.to_vec();
        let mut order = Vec::new();
        let mut here = at;
        loop {
            let next = open.iter().enumerate().find_map(|(index, part)| {
                let end = self.ends(*part, here).last().copied().filter(|end| *end > here)?;
                Some((index, end))
            });
            let Some((index, end)) = next else { break };
            order.push((open.swap_remove(index), here, end));
            here = end;
        }
        open.into_iter().all(|part| self.ends(part, here).contains(&here)).then_some(order)
    }

    /// Writes down how a particle gets from one child to another.
    fn write(&mut self, id: ParticleId, at: usize, end: usize, events: &mut Vec<Event>) -> Option<()> {
        let particle = self.particle(id);
        if at == end && (particle.min == 0 || self.once(id, at).contains(&at)) {
            return Some(());
        }
        let grouped = is_repeated_group(self.schemas, particle);
        let passes = self.passes(id, at, Some(end));
        let last =
            (0..passes.len()).rev().find(|count| passes.get(*count).is_some_and(|pass| pass.contains_key(&end)))?;
        for (start, end) in way(&passes, last, end)?.into_iter().filter(|(start, end)| start < end) {
            events.extend(grouped.then_some(Event::Enter));
            self.write_pass(id, start, end, events)?;
            events.extend(grouped.then_some(Event::Leave));
        }
        Some(())
    }

    fn write_pass(&mut self, id: ParticleId, at: usize, end: usize, events: &mut Vec<Event>) -> Option<()> {
        match &self.particle(id).term {
            Term::Element(element) => events.push(Event::Child(at, self.element(*element, at)?)),
            Term::Any => events.push(Event::Wild(at, id)),
            Term::Sequence(parts) => {
                let reached = self.sequence(parts, at);
                for (part, (start, end)) in parts.iter().zip(way(&reached, parts.len(), end)?) {
                    self.write(*part, start, end, events)?;
                }
            }
            Term::Choice(parts) => {
                let part = parts.iter().copied().find(|part| self.ends(*part, at).contains(&end))?;
                self.write(part, at, end, events)?;
            }
            Term::All(parts) => {
                for (part, start, end) in self.all(parts, at)? {
                    self.write(part, start, end, events)?;
                }
            }
        }
        Some(())
    }
}

/// The starts and ends of steps that lead to an end, first one first.
fn way(reached: &Passes, steps: usize, end: usize) -> Option<Vec<(usize, usize)>> {
    let mut way = Vec::with_capacity(steps);
    let mut here = end;
    for step in (1..=steps).rev() {
        let start = *reached.get(step)?.get(&here)?;
        way.push((start, here));
        here = start;
    }
    way.reverse();
    Some(way)
}
