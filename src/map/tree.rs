//! The mapped tree: target paths and the expressions that fill them.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::{MapError, scalar};
use crate::expression::{Expression, Subject};

/// What `[route.map]` says, in its order.
#[derive(Clone, Debug, Default)]
pub struct Tree(pub Vec<(String, Node)>);

/// What stands under one name.
#[derive(Clone, Debug)]
pub enum Node {
    /// A value; the whole target path is kept for reasons.
    Leaf(String, Leaf),
    /// Names below.
    Object(Tree),
    /// Several, in order.
    List(Vec<Tree>),
}

/// What fills a leaf.
#[derive(Clone, Debug)]
pub enum Leaf {
    /// An expression.
    Expression(Expression),
    /// A number or boolean of the configuration.
    Constant(Json),
}

impl Tree {
    /// Every leaf with its whole path, in order.
    #[must_use]
    pub fn leaves(&self) -> Vec<(&str, &Leaf)> {
        let mut leaves = Vec::new();
        self.collect(&mut leaves);
        leaves
    }

    fn collect<'t>(&'t self, leaves: &mut Vec<(&'t str, &'t Leaf)>) {
        for (_, node) in &self.0 {
            match node {
                Node::Leaf(path, leaf) => leaves.push((path, leaf)),
                Node::Object(tree) => tree.collect(leaves),
                Node::List(trees) => trees.iter().for_each(|tree| tree.collect(leaves)),
            }
        }
    }

    /// The leaf at a path that begins with a name of its own and may have positions, such as `CreateOrder.Lines[1].Price`.
    #[must_use]
    pub fn behind(&self, path: &str) -> Option<(&str, &Leaf)> {
        let (_, path) = path.split_once('.')?;
        let mut plain = String::new();
        let mut inside = false;
        for c in path.chars() {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ if !inside => plain.push(c),
                _ => {}
            }
        }
        self.leaves().into_iter().find(|(known, _)| *known == plain)
    }

    /// The values as arguments of an operation: none is null, `nil` is `{"$nil": true}`; what becomes of them is the
    /// model's to say.
    ///
    /// # Errors
    /// The leaf that cannot be evaluated, with its path.
    pub fn arguments(&self, subject: &Subject<'_>) -> Result<Json, MapError> {
        let mut object = Map::new();
        for (name, node) in &self.0 {
            let value = match node {
                Node::Leaf(path, leaf) => leaf.value(path, subject)?,
                Node::Object(tree) => tree.arguments(subject)?,
                Node::List(trees) => {
                    trees.iter().map(|tree| tree.arguments(subject)).collect::<Result<_, _>>().map(Json::Array)?
                }
            };
            object.insert(name.clone(), value);
        }
        Ok(Json::Object(object))
    }

    /// The values as a JSON document: none is left out, and so is an object in which everything is none; `nil` is null.
    ///
    /// # Errors
    /// As [`Self::arguments`].
    pub fn json(&self, subject: &Subject<'_>) -> Result<Json, MapError> {
        self.arguments(subject).map(|value| nil_as_null(pruned(value)))
    }

    /// The values as a form: a list gives a pair for each item, `nil` an empty value.
    ///
    /// # Errors
    /// As [`Self::arguments`]; and for a value that is not flat.
    pub fn form(&self, subject: &Subject<'_>) -> Result<String, MapError> {
        let mut serializer = url::form_urlencoded::Serializer::new(String::new());
        for (path, leaf) in self.leaves() {
            for value in scalars(path, &leaf.value(path, subject)?)? {
                serializer.append_pair(path, &value);
            }
        }
        Ok(serializer.finish())
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expression(expression) => write!(f, "`{expression}`"),
            Self::Constant(value) => write!(f, "{value}"),
        }
    }
}

impl Leaf {
    fn value(&self, path: &str, subject: &Subject<'_>) -> Result<Json, MapError> {
        match self {
            Self::Expression(expression) => expression.evaluate(subject).map_err(|error| MapError::at(path, &error)),
            Self::Constant(value) => Ok(value.clone()),
        }
    }
}

/// The texts of a value that may be one or a flat list; none gives no text, `nil` an empty one.
pub(super) fn scalars(place: &str, value: &Json) -> Result<Vec<String>, MapError> {
    let fail = || {
        let reason = format!("{place}: a single value or a flat list is needed, not {value}");
        MapError { place: place.to_owned(), reason }
    };
    let items = match value {
        Json::Array(items) => items.as_slice(),
        Json::Null => return Ok(Vec::new()),
        Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Object(_) => std::slice::from_ref(value),
    };
    items.iter().filter(|item| !item.is_null()).map(|item| scalar(item).ok_or_else(fail)).collect()
}

/// Leaves nulls out of objects, and objects that are empty for that.
fn pruned(value: Json) -> Json {
    let Json::Object(entries) = value else { return value };
    let kept = entries.into_iter().filter_map(|(name, value)| match value {
        Json::Null => None,
        Json::Object(inner) if inner.is_empty() => Some((name, Json::Object(inner))),
        Json::Object(inner) => {
            let inner = pruned(Json::Object(inner));
            let is_empty = inner.as_object().is_some_and(Map::is_empty);
            (!is_empty).then_some((name, inner))
        }
        Json::Array(items) => Some((name, items.into_iter().map(pruned).collect())),
        Json::String(_) | Json::Number(_) | Json::Bool(_) => Some((name, value)),
    });
    Json::Object(kept.collect())
}

fn nil_as_null(value: Json) -> Json {
    match value {
        Json::Object(entries) if entries.len() == 1 && entries.contains_key("$nil") => Json::Null,
        Json::Object(entries) => entries.into_iter().map(|(name, value)| (name, nil_as_null(value))).collect(),
        Json::Array(items) => items.into_iter().map(nil_as_null).collect(),
        Json::String(_) | Json::Number(_) | Json::Bool(_) | Json::Null => value,
    }
}
