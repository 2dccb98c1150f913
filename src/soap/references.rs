//! What only encoded answers have: values that stand elsewhere (`href`, `ref`), and arrays that say their size.

use std::collections::HashMap;

use roxmltree::Node;
use serde_json::Value;

use super::encoded::{ENC11, ENC12};
use crate::wsdl::document::{clip, split_qname};
use crate::wsdl::model::Name;

/// How many references may lead to one another.
const CHAIN_MAX: usize = 16;
/// How many places a sparse array may have.
const PLACES_MAX: usize = 100_000;
/// How many dimensions an array may have.
const RANK_MAX: usize = 32;

/// What an answer may hold, references followed, whatever its size …
const EXPANSION_MIN: usize = 20_000;
/// … and as many times what it holds itself.
const EXPANSION_TIMES: usize = 32;
/// How many bytes of text count as one value more.
const TEXT_WEIGHT: usize = 64;

/// The elements of an answer that others refer to.
#[derive(Debug, Default)]
pub(super) struct References<'a, 'i> {
    by_id: HashMap<&'a str, Node<'a, 'i>>,
    /// What the answer holds itself.
    weight: usize,
}

impl<'a, 'i> References<'a, 'i> {
    /// Those of an encoded body (SOAP 1.1 5.4.1; SOAP 1.2 part 2, 3.1.5).
    pub(super) fn of(body: Node<'a, 'i>) -> Self {
        let mut by_id = HashMap::new();
        let mut all = 0;
        for node in body.descendants().filter(Node::is_element) {
            if let Some(id) = node.attribute("id").or_else(|| node.attribute((ENC12, "id"))) {
                by_id.entry(id).or_insert(node);
            }
            all += weight(node);
        }
        Self { by_id, weight: all }
    }

    /// How much the answer may hold, references followed.
    pub(super) fn expansion_max(&self) -> usize {
        self.weight.saturating_mul(EXPANSION_TIMES).saturating_add(EXPANSION_MIN)
    }

    /// The element that holds the value: itself, or what it refers to.
    ///
    /// # Errors
    /// It refers to nothing, or round in a circle.
    pub(super) fn resolve(&self, node: Node<'a, 'i>) -> Result<Node<'a, 'i>, String> {
        let mut here = node;
        let name = node.tag_name().name();
        for _ in 0..CHAIN_MAX {
            if here.first_element_child().is_some() {
                return Ok(here);
            }
            // What lies outside of the answer, such as an attachment (`cid:`), is no matter of ours.
            let older = here.attribute("href").and_then(|href| href.strip_prefix('#'));
            let sure = older.or_else(|| here.attribute((ENC12, "ref")).map(|id| id.trim_start_matches('#')));
            let Some(id) = sure.or_else(|| here.attribute("ref")) else { return Ok(here) };
            match self.by_id.get(id) {
                Some(next) => here = *next,
                None if sure.is_none() => return Ok(here),
                None => {
                    let (name, id) = (clip(name, 60), clip(id, 60));
                    return Err(format!("<{name}> refers to {id:?}, and nothing in the answer has that id"));
                }
            }
        }
        Err(format!("<{}> refers to what refers on and on, more than {CHAIN_MAX} times", clip(name, 60)))
    }
}

/// What reading an element costs, without the elements in it: 1, and more where it holds much text.
pub(super) fn weight(node: Node<'_, '_>) -> usize {
    let text: usize = match node.first_element_child() {
        Some(_) => node.attributes().map(|given| given.value().len()).sum(),
        None => node.range().len(),
    };
    1 + text / TEXT_WEIGHT
}

/// Whether a child of an encoded body is the message itself, and not a value that it refers to.
pub(super) fn is_root(node: Node<'_, '_>) -> bool {
    node.attribute((ENC11, "root")) != Some("0")
}

/// Whether an attribute belongs to the encoding and not to the value.
pub(super) fn is_encodings(namespace: Option<&str>, name: &str) -> bool {
    match namespace {
        Some(namespace) => {
            matches!(namespace, ENC11 | ENC12 | super::shapes::SOAP11 | super::shapes::SOAP12)
        }
        None => matches!(name, "id" | "href" | "ref"),
    }
}

/// What an array says of itself: its items' type, whether they are arrays, and its sizes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) item: Option<Name>,
    pub(super) nested: bool,
    pub(super) sizes: Vec<usize>,
}

/// Reads `arrayType`, or `itemType` and `arraySize`; none when the element is no array.
pub(super) fn sizes(node: Node<'_, '_>) -> Option<Sizes> {
    let name = |text: &str| {
        let (prefix, local) = split_qname(text.trim());
        Name::new(node.lookup_namespace_uri(prefix).unwrap_or_default(), local)
    };
    if let Some(text) = node.attribute((ENC11, "arrayType")) {
        let (of, ranks) = text.split_once('[')?;
        let (inner, last) = ranks.rsplit_once('[').map_or(("", ranks), |(inner, last)| (inner, last));
        let sizes = last.trim_end().trim_end_matches(']').split(',');
        let sizes: Option<Vec<usize>> = sizes.map(|size| size.trim().parse().ok()).collect();
        return Some(Sizes { item: Some(name(of)), nested: !inner.is_empty(), sizes: sizes.unwrap_or_default() });
    }
    let (item, size) = (node.attribute((ENC12, "itemType")), node.attribute((ENC12, "arraySize")));
    if item.is_none() && size.is_none() {
        return None;
    }
    let sizes: Option<Vec<usize>> = size.unwrap_or_default().split_whitespace().map(|size| size.parse().ok()).collect();
    Some(Sizes { item: item.map(name), nested: false, sizes: sizes.unwrap_or_default() })
}

/// Where the items of an array stand: SOAP 1.1 lets an answer send a part of them (5.4.2.1), or some (5.4.2.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Where those begin that say nothing.
    pub(super) offset: usize,
    /// What each item says.
    pub(super) positions: Vec<Option<usize>>,
    /// How many places there are, those of rows that were not sent included.
    pub(super) count: usize,
}

impl Places {
    /// How many of them are empty, about.
    pub(super) fn empty(&self) -> usize {
        self.count.saturating_sub(self.positions.len())
    }
}

/// Reads `offset` and `position`.
///
/// # Errors
/// They name no place of the array.
pub(super) fn places(array: Node<'_, '_>, sizes: &[usize]) -> Result<Places, String> {
    if sizes.len() > RANK_MAX {
        return Err(format!("has {} dimensions, and {RANK_MAX} are read at most", sizes.len()));
    }
    let offset = place(array, "offset", sizes)?;
    let items = array.children().filter(Node::is_element);
    let positions: Vec<Option<usize>> = items.map(|item| place(item, "position", sizes)).collect::<Result<_, _>>()?;
    let first = offset.unwrap_or(0);
    let sent = positions.iter().fold(first, |end: usize, place| match place {
        Some(place) => end.max(place.saturating_add(1)),
        None => end.saturating_add(1),
    });
    let whole = sizes.iter().fold(1usize, |whole, size| whole.saturating_mul(*size));
    let said = offset.is_some() || !positions.is_empty();
    let count = if sizes.len() > 1 && said && whole > sent { whole } else { sent };
    match count > PLACES_MAX.max(positions.len()) {
        true => {
            Err(format!("has {count} places, of which {} are sent; {PLACES_MAX} are read at most", positions.len()))
        }
        false => Ok(Places { offset: first, positions, count }),
    }
}

/// `[1]`, or `[1,2]` in an array of several dimensions: counted in the order of the last one.
fn place(node: Node<'_, '_>, kind: &str, sizes: &[usize]) -> Result<Option<usize>, String> {
    let Some(text) = node.attribute((ENC11, kind)) else { return Ok(None) };
    let place = || {
        let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
        let numbers: Option<Vec<usize>> = inner.split(',').map(|number| number.trim().parse().ok()).collect();
        match numbers?.as_slice() {
            [only] if sizes.len() < 2 => Some(*only),
            several if several.len() == sizes.len() => {
                several.iter().zip(sizes).try_fold(0usize, |at, (number, size)| {
                    (number < size).then(|| at.checked_mul(*size)?.checked_add(*number)).flatten()
                })
            }
            _ => None,
        }
    };
    place().map(Some).ok_or_else(|| {
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        format!("has the {kind} {:?}, which is no place in an array of [{}]", clip(text, 60), sizes.join(","))
    })
}

/// One row of items → lists within lists, when the sizes fit.
pub(super) fn shaped(flat: Vec<Value>, sizes: &[usize]) -> Value {
    let Some((_, inner)) = sizes.split_first() else { return Value::Array(flat) };
    let whole = sizes.iter().try_fold(1usize, |whole, size| whole.checked_mul(*size));
    if inner.is_empty() || flat.is_empty() || whole != Some(flat.len()) {
        return Value::Array(flat);
    }
    let row: usize = inner.iter().product();
    let mut rows = Vec::new();
    let mut items = flat.into_iter().peekable();
    while items.peek().is_some() {
        rows.push(shaped(items.by_ref().take(row).collect(), inner));
    }
    Value::Array(rows)
}
