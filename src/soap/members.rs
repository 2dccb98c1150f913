//! Values put together: members of objects, lists of them, and the name of a derived type.

use serde_json::{Map, Value};

use crate::wsdl::model::{Schemas, TypeId};

/// Adds a value; a second one of the same name makes a list.
pub(super) fn add(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key) {
        // A list is one value of a list type, and the next one is another.
        Some(Value::Array(items)) if !(value.is_array() && items.iter().all(|item| !item.is_array())) => {
            items.push(value)
        }
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            object.insert(key.to_owned(), value);
        }
    }
}

/// Adds a value to a list, however long.
pub(super) fn push(object: &mut Map<String, Value>, key: &str, value: Value) {
    match object.get_mut(key) {
        Some(Value::Array(items)) => items.push(value),
        Some(_) | None => {
            object.insert(key.to_owned(), Value::Array(vec![value]));
        }
    }
}

/// A value that says of which derived type it is; as it is when the type has no name.
pub(super) fn with_type(schemas: &Schemas, value: Value, type_id: TypeId) -> Value {
    let Some(name) = &schemas.types[type_id].name else { return value };
    let same = schemas.global_types.keys().filter(|other| other.local == name.local).count();
    let name = if same > 1 { name.to_string() } else { name.local.to_string() };
    let mut object = Map::from_iter([("$type".to_owned(), Value::String(name))]);
    match value {
        Value::Object(inner) => object.extend(inner),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            object.insert("$value".to_owned(), other);
        }
    }
    Value::Object(object)
}
