//! Holds a document against the schema that describes it, strictly: what is not described is a fault too.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What is wrong with a document, each fault with its place.
pub(super) fn faults(description: &Value, schema: &Value, document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if !schema.is_object() {
        faults.push("nothing is described".to_owned());
    }
    Holder { description }.hold(schema, document, "", &mut faults);
    faults
}

struct Holder<'a> {
    description: &'a Value,
}

impl Holder<'_> {
    /// A schema less its references and parts: all the properties that it knows, and what it demands.
    fn resolved(&self, schema: &Value) -> Map<String, Value> {
        let mut whole = schema.as_object().cloned().unwrap_or_default();
        if let Some(Value::String(reference)) = whole.remove("$ref") {
            let pointer = reference.strip_prefix('#').unwrap();
            let found = self.description.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"));
            whole.extend(self.resolved(found));
        }
        if let Some(Value::Array(parts)) = whole.remove("allOf") {
            for part in parts {
                let mut part = self.resolved(&part);
                for key in ["properties", "required"] {
                    join(&mut whole, key, part.remove(key));
                }
                for (key, value) in part {
                    whole.entry(key).or_insert(value);
                }
            }
        }
        whole
    }

    fn hold(&self, schema: &Value, document: &Value, place: &str, faults: &mut Vec<String>) {
        let mut schema = self.resolved(schema);
        if let Some(Value::Array(choices)) = schema.remove("oneOf") {
            let with_all = |choice: &Value| {
                let mut parts = schema.clone();
                parts.insert("allOf".to_owned(), Value::Array(vec![choice.clone()]));
                Value::Object(parts)
            };
            let each: Vec<Vec<String>> =
                choices.iter().map(|choice| self.faults_of(&with_all(choice), document, place)).collect();
            let fitting = each.iter().filter(|found| found.is_empty()).count();
            if fitting != 1 {
                faults.push(format!("{place}: {fitting} of {} fit: {each:?}", choices.len()));
            }
            return;
        }
        if !is_of(&schema, document) {
            faults.push(format!("{place}: {document} is no {}", schema["type"]));
        }
        if schema.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(document)) {
            faults.push(format!("{place}: {document} is none of {}", schema["enum"]));
        }
        match document {
            Value::Object(members) => self.members(&schema, members, place, faults),
            Value::Array(entries) => {
                let anything = Value::Object(Map::new());
                for (number, entry) in entries.iter().enumerate() {
                    let own = schema.get("prefixItems").and_then(|own| own.get(number));
                    let of_all = schema.get("items").filter(|items| items.is_object());
                    self.hold(own.or(of_all).unwrap_or(&anything), entry, &format!("{place}[{number}]"), faults);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn faults_of(&self, schema: &Value, document: &Value, place: &str) -> Vec<String> {
        let mut faults = Vec::new();
        self.hold(schema, document, place, &mut faults);
        faults
    }

    fn members(
        &self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        place: &str,
        faults: &mut Vec<String>,
    ) {
        if !schema.contains_key("properties") && !schema.contains_key("additionalProperties") {
            return;
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !members.contains_key(name.as_str().unwrap()) {
                faults.push(format!("{place} lacks {name}"));
            }
        }
        for (name, member) in members {
            let own = schema.get("properties").and_then(|known| known.get(name));
            let of_all = schema.get("additionalProperties").filter(|other| other.is_object());
            match own.or(of_all) {
                Some(schema) => self.hold(schema, member, &format!("{place}.{name}"), faults),
                None => faults.push(format!("{place}.{name} is not described")),
            }
        }
    }
}

/// Adds what a part has of properties or demands.
fn join(whole: &mut Map<String, Value>, key: &str, more: Option<Value>) {
    match (whole.get_mut(key), more) {
        (Some(Value::Object(known)), Some(Value::Object(more))) => known.extend(more),
        (Some(Value::Array(known)), Some(Value::Array(more))) => known.extend(more),
        (None, Some(more)) => drop(whole.insert(key.to_owned(), more)),
        (_, None) => {}
        (known, more) => panic!("{key}: {known:?} and {more:?}"),
    }
}

fn is_of(schema: &Map<String, Value>, document: &Value) -> bool {
    let kinds: BTreeSet<&str> = match schema.get("type") {
        Some(Value::String(kind)) => [kind.as_str()].into(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return true,
    };
    let kind = match document {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    kinds.contains(kind) || (kind == "integer" && kinds.contains("number"))
}

#[test]
fn what_does_not_fit_or_is_not_described_is_found() {
    let description = serde_json::json!({"components": {"schemas": {
        "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
        "Whole": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"type": "object", "properties": {
            "kind": {"type": "string", "enum": ["a", "b"]},
            "other": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Base"}]},
            "pairs": {"type": "array", "items": {"type": "array", "prefixItems": [{"type": "string"}, {"type": ["string", "null"]}]}}
        }}]},
    }}});
    let whole = serde_json::json!({"$ref": "#/components/schemas/Whole"});
    let found = |document: Value| faults(&description, &whole, &document);
    for document in [
        serde_json::json!({"id": 1}),
        serde_json::json!({"id": 1, "kind": "a", "other": null, "pairs": [["a", null]]}),
        serde_json::json!({"id": 1, "other": {"id": 2}}),
    ] {
        assert_eq!(found(document), Vec::<String>::new());
    }
    for (document, words) in [
        (serde_json::json!({}), "lacks \"id\""),
        (serde_json::json!({"id": "1"}), "is no \"integer\""),
        (serde_json::json!({"id": 1, "more": 1}), ".more is not described"),
        (serde_json::json!({"id": 1, "kind": "c"}), "is none of"),
        (serde_json::json!({"id": 1, "other": {"id": 2, "x": 1}}), "0 of 2 fit"),
        (serde_json::json!({"id": 1, "pairs": [[1, null]]}), ".pairs[0][0]: 1 is no"),
        (serde_json::json!([]), "[] is no"),
    ] {
        let found = found(document);
        assert!(found.iter().any(|fault| fault.contains(words)), "{words}: {found:?}");
    }
}
