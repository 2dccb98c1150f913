//! What an object gives for a content model, by element name, and how much of it was written.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::encode::Nulls;
use crate::wsdl::model::{Children, Element, ElementId, Name, Schemas};

/// How many names are looked through one by one.
const LOOK_MAX: usize = 32;

/// What an object gives, by element name, and how much of it was written.
pub(super) struct Slots<'v> {
    pub(super) entries: Vec<Slot<'v>>,
    /// For wide objects only: a few names are found faster by looking.
    by_local: Option<HashMap<&'v str, usize>>,
    qualified: bool,
    pub(super) taken: usize,
    pub(super) xml: Option<&'v Value>,
    pub(super) xml_taken: bool,
    /// The passes through a repeated group, each an object.
    pub(super) group: &'v [Value],
    pub(super) group_taken: usize,
    /// What the type knows by name.
    pub(super) children: &'v Children,
    nulls: Nulls,
    /// Within how many repeated groups the walk is: there a null in a list keeps its row.
    pub(super) rows: usize,
}

/// One key of the object.
pub(super) struct Slot<'v> {
    pub(super) key: &'v str,
    pub(super) namespace: Option<&'v str>,
    pub(super) local: &'v str,
    value: &'v Value,
    pub(super) taken: usize,
}

impl<'v> Slots<'v> {
    pub(super) fn of(object: &'v Map<String, Value>, children: &'v Children, nulls: Nulls) -> Self {
        let mut slots = Self {
            entries: Vec::with_capacity(object.len()),
            by_local: (object.len() > LOOK_MAX).then(|| HashMap::with_capacity(object.len())),
            qualified: false,
            taken: 0,
            xml: object.get("$xml"),
            xml_taken: false,
            group: object
                .get("$group")
                .map_or(&[], |group| group.as_array().map_or(std::slice::from_ref(group), Vec::as_slice)),
            group_taken: 0,
            children,
            nulls,
            rows: 0,
        };
        for (key, value) in object.iter().filter(|(key, _)| !key.starts_with(['@', '$'])) {
            let (namespace, local) = match key.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((namespace, local)) => (Some(namespace), local),
                None => (None, key.as_str()),
            };
            slots.qualified |= namespace.is_some();
            if let Some(by_local) = &mut slots.by_local {
                by_local.insert(local, slots.entries.len());
            }
            slots.entries.push(Slot { key, namespace, local, value, taken: 0 });
        }
        slots
    }

    pub(super) fn find(&self, name: &Name) -> Option<usize> {
        let index = match &self.by_local {
            Some(by_local) => *by_local.get(&*name.local)?,
            None => self.entries.iter().rposition(|slot| *slot.local == *name.local)?,
        };
        if !self.qualified {
            return Some(index);
        }
        let exact = self.entries.iter().position(|slot| slot.namespace.is_some() && slot.names(name));
        exact.or_else(|| self.entries.iter().position(|slot| slot.names(name)))
    }

    /// What was given in a pass through a group and not written.
    pub(super) fn left(&self, schemas: &Schemas) -> Option<&Slot<'v>> {
        let is_nillable = |slot: &Slot<'v>| self.declared(slot).is_some_and(|id| schemas.elements[id].nillable);
        self.entries.iter().find(|slot| slot.rest_says(self.nulls, is_nillable(slot)))
    }

    /// The element that a key names among those of the type.
    pub(super) fn declared(&self, slot: &Slot<'v>) -> Option<ElementId> {
        let known = match slot.namespace {
            Some(namespace) => self.children.by_name.get(&Name::new(namespace, slot.local)),
            None => self.children.by_local.get(slot.local),
        };
        known.map(|known| known.element)
    }

    pub(super) fn take(&mut self, index: usize) -> Option<(usize, &'v Value)> {
        let slot = self.entries.get_mut(index)?;
        let item = slot.item(slot.taken)?;
        slot.taken += 1;
        self.taken += 1;
        Some((slot.taken - 1, item))
    }

    /// A list as one value, unless it is one of lists.
    pub(super) fn take_whole(&mut self, index: usize) -> Option<&'v Value> {
        let slot = self.entries.get_mut(index).filter(|slot| slot.taken == 0)?;
        slot.taken = slot.len().max(1);
        self.taken += 1;
        Some(slot.value)
    }

    pub(super) fn is_list(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|slot| slot.value.is_array())
    }

    /// Whether a slot still has something to say for an element.
    pub(super) fn remains(&self, index: usize, element: &Element) -> bool {
        self.entries.get(index).is_some_and(|slot| slot.rest_says(self.nulls, element.nillable))
    }

    /// How many items are given for an element and not written yet; none where they say nothing.
    pub(super) fn remaining(&self, element: &Element) -> usize {
        let slot = self.find(&element.name).filter(|index| self.remains(*index, element));
        slot.and_then(|index| self.entries.get(index)).map_or(0, |slot| slot.len().saturating_sub(slot.taken))
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        self.find(name).and_then(|index| self.entries.get(index)).is_some_and(|slot| slot.taken < slot.len())
    }

    pub(super) fn has_items(&self, element: &Element) -> bool {
        self.find(&element.name).is_some_and(|index| self.remains(index, element))
    }
}

impl<'v> Slot<'v> {
    pub(super) fn names(&self, name: &Name) -> bool {
        *self.local == *name.local && self.namespace.is_none_or(|namespace| namespace == &*name.namespace)
    }

    pub(super) fn len(&self) -> usize {
        self.value.as_array().map_or(1, Vec::len)
    }

    pub(super) fn item(&self, index: usize) -> Option<&'v Value> {
        match self.value.as_array() {
            Some(items) => items.get(index),
            None => (index == 0).then_some(self.value),
        }
    }

    pub(super) fn is_void(&self, nulls: Nulls) -> bool {
        (0..self.len()).all(|index| self.item(index).is_none_or(|item| nulls.is_void(item)))
    }

    /// Whether anything that was not written yet says something: a null does where it is a nil.
    pub(super) fn rest_says(&self, nulls: Nulls, nillable: bool) -> bool {
        let says = |item: &Value| !nulls.is_void(item) || nulls.is_nil(item, nillable);
        (self.taken..self.len()).any(|index| self.item(index).is_some_and(says))
    }
}

impl Nulls {
    /// Whether there is nothing to say: where nulls are nils, what holds one is written with it.
    pub(super) fn is_void(self, value: &Value) -> bool {
        match self {
            Self::Absent => is_void(value),
            Self::Nil => value.is_null(),
        }
    }

    /// Whether a null makes an element nil.
    pub(super) fn is_nil(self, value: &Value, nillable: bool) -> bool {
        self == Self::Nil && nillable && value.is_null()
    }
}

/// Null, or an object that holds nothing but nulls: there is nothing to say.
fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => !object.is_empty() && object.values().all(is_void_part),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn is_void_part(value: &Value) -> bool {
    is_void(value) || value.as_array().is_some_and(|items| items.iter().all(is_void))
}

pub(super) fn is_nil(value: &Value) -> bool {
    value.as_object().and_then(|object| object.get("$nil")) == Some(&Value::Bool(true))
}
