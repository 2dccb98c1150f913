//! A body as fields: the path of each value, so that two bodies can be compared value by value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Path → values at it; lists have places in their paths, so there is one value but for texts beside elements.
pub type Fields = BTreeMap<String, String>;

/// The fields of a body by its content type; none when it cannot be taken apart.
#[must_use]
pub fn of(content_type: &str, body: &str) -> Option<Fields> {
    let mut fields = Fields::new();
    if body.is_empty() {
        return Some(fields);
    }
    if content_type.contains("json") {
        json("", &serde_json::from_str(body).ok()?, &mut fields);
    } else if content_type.contains("xml") {
        let document = roxmltree::Document::parse(body).ok()?;
        xml("", document.root_element(), None, &mut fields);
    } else if content_type.contains("x-www-form-urlencoded") {
        for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
            add(&mut fields, name.into_owned(), &value);
        }
    } else {
        return None;
    }
    Some(fields)
}

fn add(fields: &mut Fields, path: String, value: &str) {
    fields
        .entry(path)
        .and_modify(|values| {
            values.push_str(", ");
            values.push_str(value);
        })
        .or_insert_with(|| value.to_owned());
}

fn json(path: &str, value: &Value, fields: &mut Fields) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                json(&below(path, name), member, fields);
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            for (place, entry) in entries.iter().enumerate() {
                json(&format!("{path}[{place}]"), entry, fields);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            add(fields, path.to_owned(), &value.to_string());
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Elements by their local names; a namespace counts where it is another than that of the element around. The SOAP
/// envelope and body are the same everywhere and are left out of paths.
fn xml(path: &str, element: roxmltree::Node<'_, '_>, around: Option<&str>, fields: &mut Fields) {
    let name = element.tag_name();
    if name.namespace() != around {
        add(fields, format!("{}{{namespace}}", shown(path)), name.namespace().unwrap_or_default());
    }
    for attribute in element.attributes() {
        add(fields, format!("{}@{}", shown(path), attribute.name()), attribute.value());
    }
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let children = || element.children().filter(roxmltree::Node::is_element);
    for child in children() {
        places.entry(child.tag_name().name()).or_default().1 += 1;
    }
    for child in children() {
        let local = child.tag_name().name();
        let place = places.entry(local).or_default();
        let own = if place.1 > 1 { format!("{local}[{}]", place.0) } else { local.to_owned() };
        place.0 += 1;
        xml(&below(path, &own), child, name.namespace(), fields);
    }
    let text: String = element.children().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect();
    if places.is_empty() || !text.trim().is_empty() {
        add(fields, shown(path), &text);
    }
}

/// A path as it is shown: within the SOAP body it begins with the operation.
fn shown(path: &str) -> String {
    match path.strip_prefix("Body.") {
        Some(within) => within.to_owned(),
        None if path.is_empty() => "document".to_owned(),
        None => path.to_owned(),
    }
}

/// How a value of one body differs from that of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: String,
    /// What stood there; none: nothing.
    pub before: Option<String>,
    /// What stands there; none: nothing.
    pub after: Option<String>,
}

/// How two bodies differ, in the order of their paths.
#[must_use]
pub fn differences(before: &Fields, after: &Fields) -> Vec<Difference> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    let each = differing.map(|path| Difference {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(content_type: &str, body: &str, expected: &[(&str, &str)]) {
        let found = of(content_type, body).unwrap();
        let found: Vec<_> = found.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_body_is_taken_apart_by_its_kind() {
        has(
            "application/json",
            r#"{"a":{"b":1.50,"c":[{"d":"x"},{"d":null}]},"e":[],"f":true}"#,
            &[("a.b", "1.50"), ("a.c[0].d", "\"x\""), ("a.c[1].d", "null"), ("e", "[]"), ("f", "true")],
        );
        has("application/x-www-form-urlencoded", "a=1&b=x+y&a=2", &[("a", "1, 2"), ("b", "x y")]);
        has(
            "text/xml; charset=utf-8",
            "<e:Envelope xmlns:e=\"urn:e\"><e:Body><o:Create xmlns:o=\"urn:o\"><o:Id>1</o:Id><o:L k=\"v\">a</o:L><o:L/></o:Create></e:Body></e:Envelope>",
            &[
                ("Create.Id", "1"),
                ("Create.L[0]", "a"),
                ("Create.L[0]@k", "v"),
                ("Create.L[1]", ""),
                ("Create{namespace}", "urn:o"),
                ("document{namespace}", "urn:e"),
            ],
        );
        has("application/json", "", &[]);
        assert_eq!((of("text/plain", "a"), of("application/json", "{"), of("text/xml", "<")), (None, None, None));
    }
}
