//! The mapped tree: target paths and the expressions that fill them.

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

    /// The values: none is left out, and so is an object in which everything is none; `nil` stays `{"$nil": true}`.
    ///
    /// # Errors
    /// The leaf that has no usable value, with its path.
    pub fn arguments(&self, subject: &Subject<'_>) -> Result<Json, MapError> {
        self.object(subject).map(Json::Object)
    }

    fn object(&self, subject: &Subject<'_>) -> Result<Map<String, Json>, MapError> {
        let mut object = Map::new();
        for (name, node) in &self.0 {
            match node {
                Node::Leaf(path, leaf) => match leaf.value(path, subject)? {
                    Json::Null => {}
                    value => drop(object.insert(name.clone(), value)),
                },
                Node::Object(tree) => {
                    let inner = tree.object(subject)?;
                    if !inner.is_empty() {
                        object.insert(name.clone(), Json::Object(inner));
                    }
                }
                Node::List(trees) => {
                    let items: Vec<_> = trees.iter().map(|tree| tree.arguments(subject)).collect::<Result<_, _>>()?;
                    object.insert(name.clone(), Json::Array(items));
                }
            }
        }
        Ok(object)
    }

    /// The values as a JSON document: `nil` is null.
    ///
    /// # Errors
    /// As [`Self::arguments`].
    pub fn json(&self, subject: &Subject<'_>) -> Result<Json, MapError> {
        self.arguments(subject).map(nil_as_null)
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
    let fail = || MapError { reason: format!("{place}: a single value or a flat list is needed, not {value}") };
    let items = match value {
        Json::Array(items) => items.as_slice(),
        Json::Null => return Ok(Vec::new()),
        single => std::slice::from_ref(single),
    };
    items.iter().filter(|item| !item.is_null()).map(|item| scalar(item).ok_or_else(fail)).collect()
}

fn nil_as_null(value: Json) -> Json {
    match value {
        Json::Object(entries) if entries.len() == 1 && entries.contains_key("$nil") => Json::Null,
        Json::Object(entries) => entries.into_iter().map(|(name, value)| (name, nil_as_null(value))).collect(),
        Json::Array(items) => items.into_iter().map(nil_as_null).collect(),
        other => other,
    }
}
