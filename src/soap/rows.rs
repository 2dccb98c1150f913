//! Lists side by side that fill a repeated group: which items belong to one pass must be plain.

use super::encode::{Done, Encoder};
use super::slots::Slots;
use super::trail::Step;
use crate::wsdl::model::{ElementId, Particle, ParticleId, Term};

const NESTING_MAX: usize = 100;

/// What is given for an element of a repeated group.
struct Column {
    element: ElementId,
    items: usize,
    /// One in every pass.
    required: bool,
    /// One in a pass at most.
    single: bool,
}

impl<'a> Encoder<'a> {
    /// Refuses lists of which nobody can say which items belong together: a shorter one may lack any row.
    pub(super) fn rows_agree(&mut self, particle: &'a Particle, parts: &'a [ParticleId], slots: &Slots<'a>) -> Done {
        if !matches!(particle.term, Term::Choice(_)) {
            return self.columns_agree(parts, slots);
        }
        for part in parts {
            if let Term::Sequence(inner) | Term::All(inner) = &self.schemas.particles[*part].term {
                self.columns_agree(inner, slots)?;
            }
        }
        Ok(())
    }

    fn columns_agree(&mut self, parts: &'a [ParticleId], slots: &Slots<'a>) -> Done {
        let mut columns = Vec::new();
        for part in parts {
            self.columns(*part, (true, true), slots, &mut columns, 0);
        }
        let twice = |(at, column): (usize, &Column)| columns.iter().skip(at + 1).any(|it| it.element == column.element);
        let Some(longest) = columns.iter().filter(|column| column.single).max_by_key(|column| column.items) else {
            return Ok(());
        };
        if longest.items < 2 || columns.iter().enumerate().any(twice) {
            return Ok(());
        }
        let short = |column: &&Column| column.items != longest.items;
        let optional = columns.iter().find(|column| short(column) && !column.required);
        // Where only what every pass needs is short, the pass that lacks it says so, unless that fills it by itself.
        let Some(odd) = optional.or_else(|| columns.iter().find(short).filter(|_| !longest.required)) else {
            return Ok(());
        };
        let longest_name = &self.schemas.elements[longest.element].name.local;
        let reason = format!(
            "holds {} beside {} of {longest_name} in a group that repeats, which leaves open what belongs together: \
             give each pass as an object of \"$group\"",
            odd.items, longest.items
        );
        self.path.push(Step::Element(odd.element));
        Err(self.error(reason))
    }

    fn columns(
        &self,
        id: ParticleId,
        (required, single): (bool, bool),
        slots: &Slots<'a>,
        columns: &mut Vec<Column>,
        depth: usize,
    ) {
        let particle = &self.schemas.particles[id];
        let required = required && particle.min > 0;
        let single = single && particle.max == Some(1);
        match &particle.term {
            Term::Element(head) => {
                for element in self.schemas.alternatives(*head) {
                    let declared = &self.schemas.elements[element];
                    let lists = slots.find(&declared.name).is_some_and(|slot| slots.is_list(slot));
                    let whole = single && lists && self.takes_list_whole(declared.type_id);
                    let items = slots.remaining(declared);
                    let items = if whole { items.min(1) } else { items };
                    if items > 0 {
                        columns.push(Column { element, items, required: required && single, single });
                    }
                }
            }
            Term::Sequence(parts) | Term::All(parts) | Term::Choice(parts) if depth < NESTING_MAX => {
                let required = required && !matches!(particle.term, Term::Choice(_));
                parts.iter().for_each(|part| self.columns(*part, (required, single), slots, columns, depth + 1));
            }
            Term::Sequence(_) | Term::All(_) | Term::Choice(_) | Term::Any => {}
        }
    }
}
