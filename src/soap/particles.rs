//! The walk through a content model: order and occurrences come from the schema, never from the value.

use serde_json::Value;

use super::encode::{Done, Encoder, Nulls};
use super::matching;
use super::slots::{Slot, Slots};
use super::text::escape_text;
use super::trail::Step;
use crate::wsdl::document::clip;
use crate::wsdl::model::{Complex, Content, Definition, ElementId, Name, Particle, ParticleId, Term, TypeId};

/// How often a group may be written of nils and defaults alone.
const IDLE_MAX: u32 = 1_000;
/// Particles within particles, elements' contents included: what the stack holds.
const NESTING_MAX: usize = 600;

/// One pass through a group.
type Pass<'a> = fn(&mut Encoder<'a>, &'a Particle, &'a [ParticleId], &mut Slots<'a>) -> Done;

impl<'a> Encoder<'a> {
    pub(super) fn particle(&mut self, id: ParticleId, slots: &mut Slots<'a>) -> Done {
        if self.nesting >= NESTING_MAX {
            return Err(self.error("stands in groups within groups too deep to be written"));
        }
        self.nesting += 1;
        let particle = &self.schemas.particles[id];
        match &particle.term {
            Term::Element(element) => self.element_particle(particle, *element, slots),
            Term::Sequence(parts) | Term::All(parts) => self.repeat(particle, parts, slots, Self::sequence),
            Term::Choice(parts) => self.repeat(particle, parts, slots, Self::choice),
            Term::Any => self.wildcard(id, slots),
        }?;
        self.nesting -= 1;
        Ok(())
    }

    /// Goes through a group as often as it must and as there is something for it.
    fn repeat(
        &mut self,
        particle: &'a Particle,
        parts: &'a [ParticleId],
        slots: &mut Slots<'a>,
        once: Pass<'a>,
    ) -> Done {
        let mut count = self.passes(particle, parts, slots, once)?;
        let rows = matching::is_repeated_group(self.schemas, particle);
        if rows {
            self.rows_agree(particle, parts, slots)?;
        }
        slots.rows += usize::from(rows);
        self.further_passes(particle, parts, slots, once, &mut count)?;
        slots.rows -= usize::from(rows);
        Ok(())
    }

    fn further_passes(
        &mut self,
        particle: &'a Particle,
        parts: &'a [ParticleId],
        slots: &mut Slots<'a>,
        once: Pass<'a>,
        count: &mut u32,
    ) -> Done {
        while particle.max.is_none_or(|max| *count < max) {
            if *count >= particle.min && !parts.iter().any(|part| self.has_items(*part, slots)) {
                return Ok(());
            }
            let (before, length) = ((slots.taken, slots.xml_taken), self.out.len());
            once(self, particle, parts, slots)?;
            *count += 1;
            let idle = before == (slots.taken, slots.xml_taken);
            if idle && length == self.out.len() {
                // An empty pass stands for every further one.
                return Ok(());
            }
            if idle && *count > IDLE_MAX {
                return Err(self.error(format!("needs a group of elements at least {} times", particle.min)));
            }
        }
        Ok(())
    }

    /// Goes through a repeated group once for each object of `$group` that holds nothing but what stands in it.
    fn passes(
        &mut self,
        particle: &'a Particle,
        parts: &'a [ParticleId],
        slots: &mut Slots<'a>,
        once: Pass<'a>,
    ) -> Done<u32> {
        let mut count = 0;
        while particle.max != Some(1) && particle.max.is_none_or(|max| count < max) {
            let Some(pass) = slots.group.get(slots.group_taken) else { break };
            let Some(object) = pass.as_object() else {
                return Err(self.error("has a $group that is no list of objects"));
            };
            let mut inner = Slots::of(object, slots.children, self.nulls);
            if !self.fits(parts, &inner) {
                break;
            }
            self.path.steps.extend([Step::Name("$group"), Step::Index(slots.group_taken)]);
            self.known_keys(pass)?;
            if let Some(key) = object.keys().find(|key| key.starts_with('@') || key.as_str() == "$value") {
                return Err(self.error(format!("holds elements only and has no {}", clip(key, 60))));
            }
            slots.group_taken += 1;
            once(self, particle, parts, &mut inner)?;
            if let Some(left) = inner.left(self.schemas) {
                return Err(
                    self.error(format!("has no place for {} beside the other elements given", clip(left.key, 60)))
                );
            }
            self.path.steps.truncate(self.path.steps.len() - 2);
            count += 1;
        }
        Ok(count)
    }

    /// Whether all that is given stands somewhere in a group.
    fn fits(&self, parts: &[ParticleId], slots: &Slots<'a>) -> bool {
        let mut names = Vec::new();
        parts.iter().for_each(|part| self.given_names(*part, slots, &mut names));
        slots.entries.iter().all(|slot| slot.is_void(self.nulls) || names.contains(&slot.local))
    }

    fn sequence(&mut self, _: &'a Particle, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        parts.iter().try_for_each(|part| self.particle(*part, slots))
    }

    fn choice(&mut self, particle: &'a Particle, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        let given: Vec<ParticleId> = parts.iter().copied().filter(|part| self.has_items(*part, slots)).collect();
        match given.as_slice() {
            [] => self.empty_choice(parts, slots),
            [only] => self.particle(*only, slots),
            // SOAP's encoding knows structs, and no choices.
            several if self.is_encoded() => several.iter().try_for_each(|part| self.particle(*part, slots)),
            several if particle.max == Some(1) => {
                let branch = self.branch(several, slots)?;
                self.particle(branch, slots)
            }
            several => {
                let first = several.iter().copied().min_by_key(|part| self.first_item(*part, slots));
                first.map_or(Ok(()), |part| self.particle(part, slots))
            }
        }
    }

    /// A choice for which nothing is given.
    fn empty_choice(&mut self, parts: &'a [ParticleId], slots: &mut Slots<'a>) -> Done {
        if parts.is_empty() || parts.iter().any(|part| self.is_emptiable(*part)) {
            return Ok(());
        }
        let nil = parts.iter().copied().find(|part| match self.schemas.particles[*part].term {
            Term::Element(element) => {
                self.schemas.elements[element].nillable && slots.has(&self.schemas.elements[element].name)
            }
            Term::Sequence(_) | Term::Choice(_) | Term::All(_) | Term::Any => false,
        });
        match nil {
            Some(part) => self.particle(part, slots),
            None => Err(self.error(format!("needs exactly one of {}", self.alternatives(parts).join(", ")))),
        }
    }

    /// The one branch that holds everything given.
    fn branch(&self, several: &[ParticleId], slots: &Slots<'a>) -> Done<ParticleId> {
        let mut present = Vec::new();
        for part in several {
            self.given_names(*part, slots, &mut present);
        }
        let holds_all = |part: &ParticleId| {
            let mut names = Vec::new();
            self.given_names(*part, slots, &mut names);
            present.iter().all(|name| names.contains(name))
        };
        let fitting: Vec<ParticleId> = several.iter().copied().filter(holds_all).collect();
        let complete = fitting.iter().copied().find(|part| self.is_filled(*part, slots));
        match complete.or(fitting.first().copied()) {
            Some(part) => Ok(part),
            None => {
                let present: Vec<String> = present.iter().map(ToString::to_string).collect();
                let all = self.alternatives(several).join(", ");
                Err(self.error(format!("is given {}, but needs exactly one of {all}", present.join(" and "))))
            }
        }
    }

    fn element_particle(&mut self, particle: &'a Particle, id: ElementId, slots: &mut Slots<'a>) -> Done {
        let mut count = 0;
        let alternatives: Vec<ElementId> = self.schemas.alternatives(id).collect();
        for alternative in alternatives {
            let element = &self.schemas.elements[alternative];
            let Some(slot) = slots.find(&element.name) else { continue };
            let whole = particle.max == Some(1) && count == 0 && slots.is_list(slot);
            if whole
                && self.takes_list_whole(element.type_id)
                && let Some(item) = slots.take_whole(slot)
            {
                self.path.push(Step::Element(alternative));
                self.element(alternative, item)?;
                self.path.pop();
                count += 1;
                continue;
            }
            while particle.max.is_none_or(|max| count < max) {
                let Some((index, item)) = slots.take(slot) else { break };
                let nil = self.nulls.is_nil(item, element.nillable);
                let void = particle.min == 0 && self.nulls.is_void(item) && !nil;
                let row = slots.rows > 0 && slots.is_list(slot);
                if void && (row || self.nulls == Nulls::Absent || !slots.is_list(slot)) {
                    // A null in one of the lists of a repeated group says that its row has no such element.
                    count += u32::from(row);
                    continue;
                }
                self.path.push(Step::Element(alternative));
                self.path.steps.extend(slots.is_list(slot).then_some(Step::Index(index)));
                if void {
                    return Err(self.error("is null in a list, but not nillable: leave the item out"));
                }
                self.element(alternative, item)?;
                self.path.steps.truncate(self.path.steps.len() - 1 - usize::from(slots.is_list(slot)));
                count += 1;
            }
        }
        if count < particle.min { self.absent(particle, id, count) } else { Ok(()) }
    }

    /// Whether a list is one value of a type, and not several.
    pub(super) fn takes_list_whole(&self, type_id: TypeId) -> bool {
        let list = self.schemas.simple(type_id).is_some_and(|simple| self.takes_list(simple, 0));
        list || self.schemas.array(type_id).is_some()
    }

    /// An element that must be there and is not given.
    fn absent(&mut self, particle: &'a Particle, id: ElementId, count: u32) -> Done {
        let element = &self.schemas.elements[id];
        self.path.push(Step::Element(id));
        if count > 0 || (particle.min > 1 && !element.is_abstract) {
            return Err(self.error(format!("comes {count} times; at least {} are required", particle.min)));
        }
        let implied = element.fixed.as_ref().or(element.default.as_ref());
        if let Some(implied) = implied.filter(|_| !element.is_abstract) {
            let tag = self.tag(&element.name);
            self.open(&tag);
            self.declared_label(element.type_id, Some(id));
            self.out.push('>');
            escape_text(&mut self.out, implied);
            self.close(&tag);
        } else if element.nillable && !element.is_abstract {
            self.element(id, &Value::Null)?;
        } else {
            let mut deepest = self.path.steps.clone();
            self.required_below(element.type_id, &mut deepest, 0);
            self.path.steps = deepest;
            return Err(self.error("is required and nobody fills it"));
        }
        self.path.pop();
        Ok(())
    }

    /// Follows the first required elements down, so that the path names what is really missing.
    fn required_below(&self, type_id: TypeId, path: &mut Vec<Step<'a>>, depth: usize) {
        let Definition::Complex(Complex { content: Content::Particle(particle), .. }) =
            &self.schemas.types[type_id].definition
        else {
            return;
        };
        if let Some(element) = self.first_required(*particle, 0).filter(|_| depth < 16) {
            path.push(Step::Element(element));
            self.required_below(self.schemas.elements[element].type_id, path, depth + 1);
        }
    }

    fn first_required(&self, id: ParticleId, depth: usize) -> Option<ElementId> {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 || depth > 200 {
            return None;
        }
        match &particle.term {
            Term::Element(element) => Some(*element),
            Term::Sequence(parts) | Term::All(parts) => {
                parts.iter().find_map(|part| self.first_required(*part, depth + 1))
            }
            Term::Choice(_) | Term::Any => None,
        }
    }

    /// A wildcard: raw fragments, and what is given by the name of an element that some schema declares.
    fn wildcard(&mut self, id: ParticleId, slots: &mut Slots<'a>) -> Done {
        let particle = &self.schemas.particles[id];
        let mut count = 0;
        for index in 0..slots.entries.len() {
            let Some(element) = slots.entries.get(index).and_then(|slot| self.global_for(id, slot, slots)) else {
                continue;
            };
            while particle.max.is_none_or(|max| count < max) {
                let Some((number, item)) = slots.take(index) else { break };
                self.path.push(Step::Element(element));
                self.path.steps.extend(slots.is_list(index).then_some(Step::Index(number)));
                self.element(element, item)?;
                self.path.steps.truncate(self.path.steps.len() - 1 - usize::from(slots.is_list(index)));
                count += 1;
            }
        }
        match slots.xml {
            Some(raw) if !slots.xml_taken => {
                slots.xml_taken = true;
                self.fragments(raw)
            }
            None if particle.min > count => Err(self.error("needs an element of any name: give it as $xml")),
            Some(_) | None => Ok(()),
        }
    }

    /// The element that a key names, when it is none of the type's own and may stand at a wildcard.
    fn global_for(&self, id: ParticleId, slot: &Slot<'a>, slots: &Slots<'a>) -> Option<ElementId> {
        let takes =
            |name: &Name| self.schemas.wildcards.get(&id).is_none_or(|wildcard| wildcard.takes(&name.namespace));
        if let Some(namespace) = slot.namespace {
            let name = Name::new(namespace, slot.local);
            let own = slots.children.by_name.contains_key(&name);
            return self.schemas.global_elements.get(&name).copied().filter(|_| !own && takes(&name));
        }
        if slots.children.by_local.contains_key(slot.local) {
            return None;
        }
        let mut fitting =
            self.schemas.global_elements.iter().filter(|(name, _)| *name.local == *slot.local && takes(name));
        match (fitting.next(), fitting.next()) {
            (Some((_, only)), None) => Some(*only),
            _ => None,
        }
    }

    fn has_items(&self, id: ParticleId, slots: &Slots<'a>) -> bool {
        let particle = &self.schemas.particles[id];
        match &particle.term {
            Term::Element(element) => {
                particle.max != Some(0)
                    && self.schemas.alternatives(*element).any(|id| slots.has_items(&self.schemas.elements[id]))
            }
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().any(|part| self.has_items(*part, slots))
            }
            Term::Any => {
                (slots.xml.is_some() && !slots.xml_taken)
                    || slots
                        .entries
                        .iter()
                        .filter_map(|slot| {
                            self.global_for(id, slot, slots).map(|id| (slot, &self.schemas.elements[id]))
                        })
                        .any(|(slot, element)| slot.rest_says(self.nulls, element.nillable))
            }
        }
    }

    /// Where in the value the first item for a particle stands.
    fn first_item(&self, id: ParticleId, slots: &Slots<'a>) -> usize {
        match &self.schemas.particles[id].term {
            Term::Element(element) => self
                .schemas
                .alternatives(*element)
                .filter_map(|id| {
                    let element = &self.schemas.elements[id];
                    slots.find(&element.name).filter(|slot| slots.remains(*slot, element))
                })
                .min()
                .unwrap_or(usize::MAX),
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().map(|part| self.first_item(*part, slots)).min().unwrap_or(usize::MAX)
            }
            Term::Any => usize::MAX,
        }
    }

    fn given_names(&self, id: ParticleId, slots: &Slots<'a>, names: &mut Vec<&'a str>) {
        match &self.schemas.particles[id].term {
            Term::Element(element) => {
                for id in self.schemas.alternatives(*element) {
                    let element = &self.schemas.elements[id];
                    if slots.has_items(element) && !names.contains(&&*element.name.local) {
                        names.push(&element.name.local);
                    }
                }
            }
            Term::Sequence(parts) | Term::Choice(parts) | Term::All(parts) => {
                parts.iter().for_each(|part| self.given_names(*part, slots, names));
            }
            Term::Any => {}
        }
    }

    /// Whether everything a particle must have is given.
    fn is_filled(&self, id: ParticleId, slots: &Slots<'a>) -> bool {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 {
            return true;
        }
        match &particle.term {
            Term::Element(element) => {
                self.schemas.alternatives(*element).any(|id| slots.has(&self.schemas.elements[id].name))
            }
            Term::Sequence(parts) | Term::All(parts) => parts.iter().all(|part| self.is_filled(*part, slots)),
            Term::Choice(parts) => parts.iter().any(|part| self.is_filled(*part, slots)),
            Term::Any => slots.xml.is_some(),
        }
    }

    fn is_emptiable(&self, id: ParticleId) -> bool {
        let particle = &self.schemas.particles[id];
        if particle.min == 0 {
            return true;
        }
        match &particle.term {
            Term::Element(_) | Term::Any => false,
            Term::Sequence(parts) | Term::All(parts) => parts.iter().all(|part| self.is_emptiable(*part)),
            Term::Choice(parts) => parts.is_empty() || parts.iter().any(|part| self.is_emptiable(*part)),
        }
    }

    /// The branches of a choice in words.
    fn alternatives(&self, parts: &[ParticleId]) -> Vec<String> {
        parts.iter().take(20).map(|part| self.words(*part, 0)).collect()
    }

    fn words(&self, id: ParticleId, depth: usize) -> String {
        match &self.schemas.particles[id].term {
            Term::Element(element) => self.schemas.elements[*element].name.local.to_string(),
            Term::Any => "any element".to_owned(),
            Term::Sequence(parts) | Term::All(parts) | Term::Choice(parts) => {
                if depth > 3 {
                    return "…".to_owned();
                }
                let inner: Vec<String> = parts.iter().take(10).map(|part| self.words(*part, depth + 1)).collect();
                format!("({})", inner.join(" "))
            }
        }
    }
}
