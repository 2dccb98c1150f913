//! Values by the rules of SOAP's encoding (SOAP 1.1 chapter 5, SOAP 1.2 part 2 chapter 3): types, arrays, maps.

use serde_json::{Map, Value};

use super::encode::{Done, Encoder};
use super::trail::{Step, shown};
use crate::wsdl::Version;
use crate::wsdl::document::clip;
use crate::wsdl::encoding::{APACHE, ArrayType};
use crate::wsdl::model::{Definition, ElementId, Name, TypeId};

/// SOAP 1.1's encoding.
pub(super) const ENC11: &str = "http://schemas.xmlsoap.org/soap/encoding/";
/// SOAP 1.2's encoding.
pub(super) const ENC12: &str = "http://www.w3.org/2003/05/soap-encoding";
pub(super) const XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// How many items an array may have.
const ITEMS_MAX: usize = 1_000_000;

impl<'a> Encoder<'a> {
    /// Says the type of an encoded value: what the WSDL calls it, or the nearest name there is.
    pub(super) fn label(&mut self, type_id: TypeId, element: Option<ElementId>, label: Option<&Name>) {
        if let Some(label) = label.filter(|label| !is_any(label)) {
            return self.write_type(label);
        }
        self.declared_label(type_id, element);
    }

    /// Says the declared type of an element, in an encoded message.
    pub(super) fn declared_label(&mut self, type_id: TypeId, element: Option<ElementId>) {
        if !self.is_encoded() || type_id == self.schemas.any_type {
            return;
        }
        match (&self.schemas.types[type_id].name, element.map(|id| &self.schemas.elements[id])) {
            (Some(name), _) => self.write_type(name),
            (None, Some(element)) if element.is_global => self.write_type(&element.name),
            (None, _) => {}
        }
    }

    /// Writes what needs more than its type's content: arrays, maps, and encoded values of any type. False: it is none.
    pub(super) fn special(
        &mut self,
        tag: &str,
        declared: TypeId,
        chosen: TypeId,
        element: Option<ElementId>,
        label: Option<&'a Name>,
        value: &'a Value,
    ) -> Done<bool> {
        if let Some(array) = self.schemas.array(chosen) {
            let label = if chosen == declared { label } else { None };
            self.array(tag, &array, Some((chosen, element, label)), value)?;
            return Ok(true);
        }
        if !self.is_encoded() || !matches!(self.schemas.types[chosen].definition, Definition::Any) {
            if self.schemas.is_map(chosen) && value.is_object() && self.is_encoded() {
                self.map(tag, chosen, value)?;
                return Ok(true);
            }
            return Ok(false);
        }
        if self.schemas.is_map(chosen) {
            self.map(tag, chosen, value)?;
            return Ok(true);
        }
        if label.is_some_and(|label| !is_any(label)) || chosen != declared {
            return Ok(false);
        }
        self.inferred(tag, value)
    }

    /// A value of any type: what it is says its type.
    fn inferred(&mut self, tag: &str, value: &'a Value) -> Done<bool> {
        match value {
            Value::Array(_) => {
                self.array(tag, &ArrayType::default(), None, value)?;
                return Ok(true);
            }
            Value::Object(object) if object.keys().all(|key| !key.starts_with(['$', '@'])) => {
                self.open(tag);
                self.out.push('>');
                for (key, value) in object {
                    self.inferred_member(key, value)?;
                }
                self.close(tag);
                return Ok(true);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {}
        }
        let value = value.as_object().and_then(|object| object.get("$value")).unwrap_or(value);
        let Some(name) = scalar_type(value) else { return Ok(false) };
        self.open(tag);
        self.write_type(&Name::new(XSD, name));
        self.any_content(tag, value)?;
        Ok(true)
    }

    /// A member of a struct without a type.
    fn inferred_member(&mut self, key: &'a str, value: &'a Value) -> Done {
        let local = key.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or(key, |(_, local)| local);
        if !crate::wsdl::simple::is_name(local, false) {
            return Err(self.error(format!("has the member {local:?}, which is no name of XML")));
        }
        self.path.push(Step::Name(key));
        let one = std::slice::from_ref(value);
        for item in value.as_array().map_or(one, Vec::as_slice) {
            if item.is_null() {
                self.uses_xsi = true;
                self.open(local);
                self.out.push_str(" xsi:nil=\"true\"/>");
            } else {
                self.typed(local, self.schemas.any_type, None, None, item)?;
            }
        }
        self.path.pop();
        Ok(())
    }

    /// Apache's map: items of key and value.
    fn map(&mut self, tag: &str, type_id: TypeId, value: &'a Value) -> Done {
        let Some(object) = value.as_object() else {
            return Err(self.error(format!("is a map: give it an object, and not {}", shown(value))));
        };
        self.open(tag);
        match &self.schemas.types[type_id].name {
            Some(name) => self.write_type(name),
            None => self.write_type(&Name::new(APACHE, "Map")),
        }
        self.out.push('>');
        if let Some(key) = object.keys().find(|key| key.starts_with('$') && *key != "$type") {
            return Err(self.error(format!("is a map, and has no place for {key}")));
        }
        for (key, value) in object.iter().filter(|(key, _)| *key != "$type") {
            self.open("item");
            self.out.push('>');
            self.open("key");
            self.write_type(&Name::new(XSD, "string"));
            self.out.push('>');
            self.free_text(key)?;
            self.close("key");
            self.path.push(Step::Name(key));
            self.inferred_map_value(value)?;
            self.path.pop();
            self.close("item");
        }
        self.close(tag);
        Ok(())
    }

    fn inferred_map_value(&mut self, value: &'a Value) -> Done {
        if value.is_null() {
            self.uses_xsi = true;
            self.out.push_str("<value xsi:nil=\"true\"/>");
            return Ok(());
        }
        self.typed("value", self.schemas.any_type, None, None, value)
    }

    /// An array: its type and size as attributes, and its items in the order of its last dimension.
    fn array(
        &mut self,
        tag: &str,
        array: &ArrayType,
        named: Option<(TypeId, Option<ElementId>, Option<&'a Name>)>,
        value: &'a Value,
    ) -> Done {
        let (key, items) = self.array_items(value)?;
        let mut sizes = Vec::new();
        let mut flat = Vec::new();
        self.flatten(items, array.rank(), &mut sizes, &mut flat)?;
        self.open(tag);
        if self.is_encoded() {
            match named {
                Some((type_id, element, label)) => self.label(type_id, element, label),
                None => self.write_type(&Name::new(self.encoding(), "Array")),
            }
            self.array_attributes(array, &flat, &sizes);
        }
        self.out.push('>');
        let item = self.item_type(array);
        let name = self.item_name(array, key, item);
        for (index, value) in flat.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            self.item(&name, array, item, value)?;
            self.path.pop();
        }
        self.close(tag);
        Ok(())
    }

    fn encoding(&self) -> &'static str {
        if self.version == Version::Soap12 { ENC12 } else { ENC11 }
    }

    /// The items of an array: a list, or the one list that an object holds, and under which key.
    fn array_items(&self, value: &'a Value) -> Done<(Option<&'a str>, &'a [Value])> {
        let object = match value {
            Value::Array(items) => return Ok((None, items)),
            Value::Null => return Ok((None, &[])),
            Value::String(text) if text.trim().is_empty() => return Ok((None, &[])),
            Value::Object(object) => object,
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {
                return Ok((None, std::slice::from_ref(value)));
            }
        };
        let lost = |key: &&String| key.starts_with('@') || matches!(key.as_str(), "$xml" | "$group");
        if let Some(key) = object.keys().find(lost) {
            return Err(self.error(format!("is an array, and has no place for {}", clip(key, 60))));
        }
        if let Some(value) = object.get("$value") {
            return Ok((None, value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)));
        }
        let mut members = object.iter().filter(|(key, _)| !key.starts_with(['$', '@']));
        match (members.next(), members.next()) {
            (None, _) => Ok((None, &[])),
            (Some((key, value)), None) => {
                Ok((Some(key), value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)))
            }
            (Some(_), Some(_)) => Err(self.error(format!("is an array: give it a list, and not {}", shown(value)))),
        }
    }

    /// Writes the items of all dimensions in one row; every row of a dimension must be as long as the others.
    fn flatten(&self, items: &'a [Value], rank: usize, sizes: &mut Vec<usize>, flat: &mut Vec<&'a Value>) -> Done {
        let mut rows: Vec<&'a [Value]> = vec![items];
        for dimension in 0..rank {
            let size = rows.first().map_or(0, |row| row.len());
            if rows.iter().any(|row| row.len() != size) {
                return Err(self.error(format!("is an array of {rank} dimensions whose rows are not equally long")));
            }
            sizes.push(size);
            if dimension + 1 == rank {
                break;
            }
            let mut next: Vec<&'a [Value]> = Vec::new();
            for item in rows.into_iter().flatten() {
                match item.as_array() {
                    Some(row) => next.push(row),
                    None => {
                        let reason =
                            format!("is an array of {rank} dimensions: lists within lists, and not {}", shown(item));
                        return Err(self.error(reason));
                    }
                }
            }
            rows = next;
        }
        flat.extend(rows.into_iter().flatten());
        match flat.len() > ITEMS_MAX {
            true => Err(self.error(format!("is an array of more than {ITEMS_MAX} items"))),
            false => Ok(()),
        }
    }

    fn item_type(&self, array: &ArrayType) -> Option<TypeId> {
        array.item.or_else(|| array.element.map(|element| self.schemas.elements[element].type_id))
    }

    /// The name of an array's items; in a literal message they are named by their type when nothing else names them.
    fn item_name(&mut self, array: &ArrayType, key: Option<&str>, item: Option<TypeId>) -> String {
        if let Some(element) = array.element.filter(|_| !self.is_encoded() || array.rank() == 1) {
            let name = self.schemas.elements[element].name.clone();
            return self.tag(&name);
        }
        if let Some(key) = key {
            return key.to_owned();
        }
        match item.and_then(|item| self.schemas.types[item].name.clone()) {
            Some(name) if !self.is_encoded() => self.tag(&name),
            Some(_) | None => "item".to_owned(),
        }
    }

    fn item(&mut self, name: &str, array: &ArrayType, item: Option<TypeId>, value: &'a Value) -> Done {
        if value.is_null() {
            self.uses_xsi = true;
            self.open(name);
            self.out.push_str(" xsi:nil=\"true\"/>");
            return Ok(());
        }
        if let Some((_, inner)) = array.ranks.split_first().filter(|(_, inner)| !inner.is_empty()) {
            let inner = ArrayType { ranks: inner.to_vec(), ..array.clone() };
            return self.array(name, &inner, None, value);
        }
        self.typed(name, item.unwrap_or(self.schemas.any_type), None, None, value)
    }

    /// SOAP 1.1 5.4.2 and SOAP 1.2 part 2, 3.3: the type of the items, and how many there are.
    fn array_attributes(&mut self, array: &ArrayType, flat: &[&Value], sizes: &[usize]) {
        let item = self.item_type(array);
        let name = match item.and_then(|item| self.schemas.types[item].name.clone()) {
            Some(name) => name,
            None => Name::new(XSD, uniform(flat)),
        };
        let name = self.tag(&name);
        let inner: String =
            array.ranks.iter().skip(1).rev().map(|rank| format!("[{}]", ",".repeat(rank.saturating_sub(1)))).collect();
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        if self.version == Version::Soap12 {
            let tag = self.tag(&Name::new(ENC12, "itemType"));
            if inner.is_empty() {
                self.write_attribute(&tag, &name);
            }
            let tag = self.tag(&Name::new(ENC12, "arraySize"));
            self.write_attribute(&tag, &sizes.join(" "));
        } else {
            let tag = self.tag(&Name::new(ENC11, "arrayType"));
            self.write_attribute(&tag, &format!("{name}{inner}[{}]", sizes.join(",")));
        }
    }

    /// `xs:anyType`: a text, or a fragment.
    pub(super) fn any_content(&mut self, tag: &str, value: &'a Value) -> Done {
        for (key, value) in value.as_object().into_iter().flatten() {
            if let Some(name) = key.strip_prefix('@').filter(|_| !value.is_null()) {
                self.free_attribute(name, value)?;
            }
        }
        self.out.push('>');
        match value {
            Value::String(text) => self.free_text(text)?,
            Value::Number(number) => self.out.push_str(&number.to_string()),
            Value::Bool(truth) => self.out.push_str(&truth.to_string()),
            Value::Object(object) => self.any_object(object)?,
            Value::Null | Value::Array(_) => {
                return Err(self.error(format!("is of any type: give it a text or $xml, and not {}", shown(value))));
            }
        }
        self.close(tag);
        Ok(())
    }

    fn any_object(&mut self, object: &'a Map<String, Value>) -> Done {
        let known = |key: &String| key.starts_with('@') || matches!(key.as_str(), "$xml" | "$value" | "$type");
        let known = object.keys().all(known);
        match (object.get("$xml"), object.get("$value")) {
            (Some(xml), None) if known => self.fragments(xml),
            (None, Some(Value::String(text))) if known => self.free_text(text),
            (None, Some(Value::Number(number))) if known => {
                self.out.push_str(&number.to_string());
                Ok(())
            }
            (None, Some(Value::Bool(truth))) if known => {
                self.out.push_str(&truth.to_string());
                Ok(())
            }
            (None, None) if known => Ok(()),
            _ => Err(self.error("is of any type: give it a text, a $type, or its content as $xml")),
        }
    }
}

/// Whether a name says that anything goes.
fn is_any(name: &Name) -> bool {
    matches!(&*name.local, "anyType" | "ur-type") && name.namespace.ends_with("/XMLSchema")
}

/// The type of all values, if they have one.
fn uniform(values: &[&Value]) -> &'static str {
    let mut types = values.iter().map(|value| scalar_type(value));
    match types.next().flatten() {
        Some(first) if types.all(|other| other == Some(first)) => first,
        Some(_) | None => "anyType",
    }
}

/// The XSD type of a JSON value that stands for itself; a float where seven digits say it all, as PHP and Axis do.
fn scalar_type(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) => {
            let text = number.to_string();
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            Some(if text.contains(['.', 'e', 'E']) {
                if text.contains(['e', 'E']) || digits > 15 {
                    "double"
                } else if digits > 7 {
                    "decimal"
                } else {
                    "float"
                }
            } else if text.parse::<i32>().is_ok() {
                "int"
            } else if text.parse::<i64>().is_ok() {
                "long"
            } else {
                "integer"
            })
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
