//! Obvious pairs: the field of a source that fills an element of a target, by name and type.

use super::fit;
use crate::envelope::FieldType;
use crate::expression::{Expression, Tables};
use crate::wsdl::outbound::{DeclaredField, DeclaredRecord};
use crate::wsdl::{Operation, Target};

/// Names that say nothing without what stands above them.
const GENERAL: [&str; 12] =
    ["id", "name", "type", "code", "number", "status", "date", "description", "value", "key", "text", "comment"];

/// The expression that fills a target, when a field has its name and its type can be made to fit. A name is compared
/// whole (`Customer.Id` and `Customer_Id__c`), else by its last part unless that is a general one.
#[must_use]
pub fn pair(operation: &Operation, target: &Target, path: &[&str], records: &[DeclaredRecord]) -> Option<String> {
    if !target.simple {
        return None;
    }
    let last = path.last().copied().unwrap_or_default();
    let whole = plain(&path.concat());
    let last = plain(last);
    let fields = || records.iter().flat_map(|record| &record.fields);
    let by_last = || {
        let tells = path.len() == 1 || !GENERAL.contains(&last.as_str());
        fields().find(|field| tells && plain(&field.name) == last)
    };
    let field = fields().find(|field| plain(&field.name) == whole).or_else(by_last)?;
    expressions(field, target).into_iter().find(|source| fits(operation, target, source, records))
}

/// A name without case, punctuation and the suffix of custom fields.
fn plain(name: &str) -> String {
    let name = name.strip_suffix("__c").or_else(|| name.strip_suffix("__r")).unwrap_or(name);
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The field as it is, and what filters may make of it, the plainest first.
fn expressions(field: &DeclaredField, target: &Target) -> Vec<String> {
    let is_plain = field.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = if is_plain { format!("record.{}", field.name) } else { format!("record['{}']", field.name) };
    let mut found = vec![name.clone()];
    found.extend(target.max_length.map(|most| format!("{name} | truncate({most})")));
    match field.field_type {
        FieldType::Double => {
            found.extend(target.fraction_digits.map(|places| format!("{name} | decimal({places})")));
            found.push(format!("{name} | int"));
        }
        FieldType::DateTime => {
            found.push(format!("{name} | date('%Y-%m-%d')"));
            found.push(format!("{name} | date('%H:%M:%S')"));
        }
        FieldType::Date => found.push(format!("{name} | date('%Y-%m-%dT00:00:00')")),
        FieldType::Boolean => found.push(format!("{name} | int")),
        FieldType::String | FieldType::Id | FieldType::Integer(_) | FieldType::Time | FieldType::Base64 => {}
    }
    found
}

fn fits(operation: &Operation, target: &Target, source: &str, records: &[DeclaredRecord]) -> bool {
    let Ok(expression) = Expression::compile(source, &Tables::default()) else { return false };
    let shapes = expression.shapes(&|path| fit::names(Some(records), path));
    if !shapes.failures.is_empty() || !fit::misfits(operation, target, &shapes.alternatives).is_empty() {
        return false;
    }
    // Every record id looks like this one.
    let is_id = source == "record.Id" || records.iter().any(|record| is_plain_id(record, source));
    !is_id || operation.accepts(target, &"001000000000001AAA".into()).is_ok()
}

fn is_plain_id(record: &DeclaredRecord, source: &str) -> bool {
    let field = source.strip_prefix("record.").and_then(|name| record.fields.iter().find(|field| field.name == name));
    field.is_some_and(|field| field.field_type == FieldType::Id)
}
