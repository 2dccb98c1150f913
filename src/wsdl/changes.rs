//! What one version of a WSDL changes against another, for those who send by it.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::outbound::{DeclaredField, DeclaredRecord};
use super::outline::{Kind, Outline};
use super::{Model, Operation, OperationChoice};

/// A difference between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether what was right before may be wrong now.
    pub breaks: bool,
    /// The operation, or the type of record.
    pub within: String,
    /// The element, attribute or field, as a path; empty for the whole.
    pub path: String,
    /// In words.
    pub what: String,
    /// It concerns the answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub answer: bool,
}

impl Change {
    fn new(breaks: bool, within: &str, path: &str, what: impl Into<String>) -> Self {
        Self { breaks, within: within.to_owned(), path: path.to_owned(), what: what.into(), answer: false }
    }
}

/// What a new version of a target's WSDL changes.
#[must_use]
pub fn of_models(old: &Model, new: &Model) -> Vec<Change> {
    let (before, after) = (operations(old), operations(new));
    let mut names: Vec<&str> = Vec::new();
    for (name, ..) in before.iter().chain(&after) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.into_iter().flat_map(|name| of_operation(name, &before, &after)).collect()
}

/// An operation that can be called: its name, its port, and itself.
type Offered = (String, String, Operation);

fn operations(model: &Model) -> Vec<Offered> {
    let mut found: Vec<Offered> = Vec::new();
    for service in model.services() {
        for port in &service.ports {
            for name in &port.operations {
                let choice = OperationChoice { service: Some(&service.name), port: Some(&port.name), operation: name };
                if let Ok(operation) = model.operation(&choice) {
                    found.push((name.clone(), port.name.clone(), operation));
                }
            }
        }
    }
    found
}

/// What changes at an operation: said once when it is the same at every port, else for each port.
fn of_operation(name: &str, before: &[Offered], after: &[Offered]) -> Vec<Change> {
    let named = |offered: &&Offered| offered.0 == name;
    let (before, after): (Vec<_>, Vec<_>) =
        (before.iter().filter(named).collect(), after.iter().filter(named).collect());
    if before.is_empty() {
        return vec![Change::new(false, name, "", "a new operation")];
    }
    if after.is_empty() {
        return vec![Change::new(true, name, "", "the operation is gone")];
    }
    let mut all: Vec<Vec<Change>> = Vec::new();
    for (_, port, operation) in &before {
        let other = after.iter().find(|(_, known, _)| known == port);
        // A port that was given another name still has the operation.
        let alone = match (before.len(), after.as_slice()) {
            (1, [only]) => Some(only),
            _ => None,
        };
        let mut changes = Vec::new();
        match other.or(alone) {
            Some((_, _, other)) => of_operations(name, operation, other, &mut changes),
            None => changes.push(Change::new(true, name, "", format!("port {port} has it no more"))),
        }
        all.push(changes);
    }
    if all.windows(2).all(|pair| pair.first() == pair.last()) {
        return all.pop().unwrap_or_default();
    }
    let label = |port: &str| format!("{name} of port {port}");
    let labelled = all.into_iter().zip(&before).flat_map(|(changes, (_, port, _))| {
        changes.into_iter().map(move |change| Change { within: label(port), ..change })
    });
    labelled.collect()
}

fn of_operations(name: &str, old: &Operation, new: &Operation, changes: &mut Vec<Change>) {
    let mut differs = |what: &str, before: &str, after: &str| {
        if before != after {
            changes.push(Change::new(false, name, "", format!("{what}: {before:?} → {after:?}")));
        }
    };
    differs("the SOAP version", &old.version().to_string(), &new.version().to_string());
    differs("the style", old.style().in_words(), new.style().in_words());
    differs("the action", old.soap_action(), new.soap_action());
    differs("the address", old.endpoint(), new.endpoint());
    let (before, after) = (old.request(), new.request());
    of_messages(name, &flat(&before, old.has_single_part()), &flat(&after, new.has_single_part()), changes);
    let (before, after) = (old.request_headers(), new.request_headers());
    of_messages(name, &below_header(&before), &below_header(&after), changes);
    let mut answers = Vec::new();
    match (old.response(), new.response()) {
        (Some(before), Some(after)) => {
            of_messages(name, &flat(&before, before.len() == 1), &flat(&after, after.len() == 1), &mut answers);
        }
        (Some(_), None) => answers.push(Change::new(false, name, "", "nothing is answered any more")),
        (None, Some(_)) => answers.push(Change::new(false, name, "", "something is answered now")),
        (None, None) => {}
    }
    // What is answered is read as it comes: it makes no request wrong.
    changes.extend(answers.into_iter().map(|change| Change { breaks: false, answer: true, ..change }));
}

/// A node with how often it comes, whatever the groups around it say.
struct Flat<'o> {
    path: String,
    outline: &'o Outline,
    required: bool,
    repeated: bool,
}

/// All elements and attributes in order; of a path that comes twice, the first.
fn flat(outlines: &[Outline], single: bool) -> Vec<Flat<'_>> {
    let mut all = Vec::new();
    for outline in outlines {
        if single {
            outline.children.iter().for_each(|child| flatten(child, "", (true, false), &mut all));
        } else {
            flatten(outline, "", (true, false), &mut all);
        }
    }
    let mut seen = HashSet::new();
    all.retain(|known: &Flat<'_>| seen.insert(known.path.clone()));
    all
}

/// Header blocks, as a mapping names them.
fn below_header(blocks: &[Outline]) -> Vec<Flat<'_>> {
    let mut blocks = flat(blocks, false);
    blocks.iter_mut().for_each(|flat| flat.path.insert_str(0, "$header."));
    blocks
}

fn flatten<'o>(outline: &'o Outline, above: &str, group: (bool, bool), into: &mut Vec<Flat<'o>>) {
    let required = group.0 && outline.min > 0;
    let repeated = group.1 || outline.is_repeated();
    if outline.is_group() {
        let one_of = outline.kind == Kind::Choice && outline.children.len() > 1;
        return outline.children.iter().for_each(|child| flatten(child, above, (required && !one_of, repeated), into));
    }
    let name = match outline.kind {
        Kind::Any => "(any element)".to_owned(),
        Kind::Attribute | Kind::Element | Kind::Sequence | Kind::Choice | Kind::All => outline.step(),
    };
    let path = if above.is_empty() { name } else { format!("{above}.{name}") };
    into.push(Flat { path: path.clone(), outline, required, repeated });
    if !outline.array.is_empty() {
        // A mapping names what an item holds right below the array.
        return outline.children.iter().for_each(|item| flatten_item(item, &path, into));
    }
    outline.children.iter().for_each(|child| flatten(child, &path, (true, false), into));
}

fn flatten_item<'o>(item: &'o Outline, array: &str, into: &mut Vec<Flat<'o>>) {
    if !item.builtin.is_empty() {
        into.push(Flat { path: format!("{array}.$value"), outline: item, required: false, repeated: true });
    }
    item.children.iter().for_each(|child| flatten(child, array, (true, false), into));
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

fn of_messages(name: &str, before: &[Flat<'_>], after: &[Flat<'_>], changes: &mut Vec<Change>) {
    let old: HashMap<&str, &Flat<'_>> = before.iter().map(|flat| (flat.path.as_str(), flat)).collect();
    let new: HashMap<&str, &Flat<'_>> = after.iter().map(|flat| (flat.path.as_str(), flat)).collect();
    let mut gone: Vec<&str> = Vec::new();
    for flat in before.iter().filter(|flat| !new.contains_key(flat.path.as_str())) {
        if !gone.iter().any(|above| is_below(&flat.path, above)) {
            changes.push(Change::new(true, name, &flat.path, "is gone"));
            gone.push(&flat.path);
        }
    }
    for flat in before {
        if let Some(other) = new.get(flat.path.as_str()) {
            of_nodes(name, flat, other, changes);
        }
    }
    let mut added: Vec<&str> = Vec::new();
    for flat in after.iter().filter(|flat| !old.contains_key(flat.path.as_str())) {
        if added.iter().any(|above| is_below(&flat.path, above)) {
            continue;
        }
        let must = flat.required && flat.outline.default.is_none() && flat.outline.fixed.is_none();
        let what = if must { "is new, and must be there" } else { "is new" };
        changes.push(Change::new(must && !flat.outline.nillable, name, &flat.path, what));
        added.push(&flat.path);
    }
}

fn of_nodes(name: &str, old: &Flat<'_>, new: &Flat<'_>, changes: &mut Vec<Change>) {
    let mut add = |breaks: bool, what: String| changes.push(Change::new(breaks, name, &old.path, what));
    match (old.required, new.required) {
        (false, true) => add(!new.outline.nillable, "must be there now".to_owned()),
        (true, false) => add(false, "may be left out now".to_owned()),
        (true, true) | (false, false) => {}
    }
    match (old.repeated, new.repeated) {
        (true, false) => add(true, "comes once now".to_owned()),
        (false, true) => add(false, "may come more than once now".to_owned()),
        (true, true) | (false, false) => {}
    }
    let (old, new) = (old.outline, new.outline);
    match (old.nillable, new.nillable) {
        (true, false) => add(true, "may not be nil any more".to_owned()),
        (false, true) => add(false, "may be nil now".to_owned()),
        (true, true) | (false, false) => {}
    }
    if old.namespace != new.namespace {
        let what = format!("changes its namespace: {:?} → {:?}", old.namespace, new.namespace);
        add(false, what);
    }
    if old.array != new.array {
        let words = |array: &[usize]| match array.iter().sum::<usize>() {
            0 => "no array".to_owned(),
            1 => "an array".to_owned(),
            dimensions => format!("an array of {dimensions} dimensions"),
        };
        add(true, format!("was {}, and is {}", words(&old.array), words(&new.array)));
    }
    if old.builtin != new.builtin {
        let words = |builtin: &str| if builtin.is_empty() { "elements" } else { builtin }.to_owned();
        let what = format!("changes its type: {} → {}", words(&old.builtin), words(&new.builtin));
        add(!widens(&old.builtin, &new.builtin), what);
    }
    if old.fixed != new.fixed {
        let words =
            |value: &Option<String>| value.as_ref().map_or_else(|| "any".to_owned(), |value| format!("{value:?}"));
        add(new.fixed.is_some(), format!("changes its only value: {} → {}", words(&old.fixed), words(&new.fixed)));
    }
    of_enumerations(old, new, &mut add);
    of_facets(old, new, &mut add);
}

/// Whether every value of one built-in type is one of the other.
fn widens(old: &str, new: &str) -> bool {
    const INTEGERS: [&str; 5] = ["byte", "short", "int", "long", "integer"];
    let rank = |name: &str| INTEGERS.iter().position(|known| *known == name);
    match (rank(old), rank(new)) {
        (Some(old), Some(new)) => old <= new,
        (Some(_), None) => matches!(new, "decimal" | "float" | "double" | "string" | "anySimpleType"),
        _ => match new {
            "anySimpleType" | "string" => !matches!(old, "" | "list" | "union"),
            "double" | "float" => matches!(old, "decimal" | "float" | "double"),
            "token" | "normalizedString" => matches!(old, "token" | "normalizedString" | "string"),
            _ => false,
        },
    }
}

fn of_enumerations(old: &Outline, new: &Outline, add: &mut impl FnMut(bool, String)) {
    let list = |values: Vec<&String>| values.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if new.enumeration.is_empty() {
        if !old.enumeration.is_empty() {
            add(false, "takes any value now, not only those of a list".to_owned());
        }
        return;
    }
    if old.enumeration.is_empty() {
        return add(true, format!("takes only {} now", list(new.enumeration.iter().collect())));
    }
    let gone: Vec<&String> = old.enumeration.iter().filter(|value| !new.enumeration.contains(value)).collect();
    let added: Vec<&String> = new.enumeration.iter().filter(|value| !old.enumeration.contains(value)).collect();
    if !gone.is_empty() {
        add(true, format!("does not take {} any more", list(gone)));
    }
    if !added.is_empty() {
        add(false, format!("takes {} too", list(added)));
    }
}

fn of_facets(old: &Outline, new: &Outline, add: &mut impl FnMut(bool, String)) {
    let value = |outline: &Outline, wanted: &str| {
        let found: Vec<&str> =
            outline.facets.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect();
        (!found.is_empty()).then(|| found.join(" and "))
    };
    let mut names: Vec<&String> = old.facets.iter().chain(&new.facets).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (before, after) = (value(old, name), value(new, name));
        if before == after {
            continue;
        }
        let numbers = || Some((before.as_ref()?.parse::<f64>().ok()?, after.as_ref()?.parse::<f64>().ok()?));
        let narrower = match (&after, numbers()) {
            (None, _) => false,
            (Some(_), Some((before, after))) if name.starts_with("min") => after > before,
            (Some(_), Some((before, after))) if name != "length" => after < before,
            (Some(_), _) => true,
        };
        let words = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        add(narrower, format!("has another {name}: {} → {}", words(before), words(after)));
    }
}

/// What a new version of an outbound message's WSDL changes.
#[must_use]
pub fn of_records(old: &[DeclaredRecord], new: &[DeclaredRecord]) -> Vec<Change> {
    let mut changes = Vec::new();
    for record in old {
        match new.iter().find(|other| other.name == record.name) {
            None => changes.push(Change::new(true, &record.name, "", "the type of record is gone")),
            Some(other) => of_fields(record, other, &mut changes),
        }
    }
    for record in new.iter().filter(|record| !old.iter().any(|other| other.name == record.name)) {
        changes.push(Change::new(false, &record.name, "", "a new type of record"));
    }
    changes
}

fn of_fields(old: &DeclaredRecord, new: &DeclaredRecord, changes: &mut Vec<Change>) {
    let mut add = |breaks: bool, path: &str, what: String| changes.push(Change::new(breaks, &old.name, path, what));
    for field in &old.fields {
        let Some(other) = new.fields.iter().find(|other| other.name == field.name) else {
            add(true, &field.name, "is gone".to_owned());
            continue;
        };
        if field.field_type != other.field_type {
            add(true, &field.name, format!("changes its type: {} → {}", field.field_type, other.field_type));
        }
        let length = |field: &DeclaredField| field.length_max.map_or_else(|| "any".to_owned(), |most| most.to_string());
        if field.length_max != other.length_max {
            let longer = match (field.length_max, other.length_max) {
                (Some(before), Some(after)) => after > before,
                (before, after) => before.is_some() && after.is_none(),
            };
            add(longer, &field.name, format!("changes its length: {} → {}", length(field), length(other)));
        }
        if !field.nillable && other.nillable {
            add(true, &field.name, "may be nil now".to_owned());
        }
    }
    for field in new.fields.iter().filter(|field| !old.fields.iter().any(|other| other.name == field.name)) {
        add(false, &field.name, format!("is new: {}", field.field_type));
    }
}
