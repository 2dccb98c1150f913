//! `[[table]]`: lookup tables from CSV files.

use std::collections::HashMap;
use std::sync::Arc;

use super::file;
use super::read::{Field, Section};
use crate::expression::{OnMissing, Table, Tables};

/// More rows are no lookup table.
const ROWS_MAX: usize = 1_000_000;
/// After this many wrong rows the rest is not looked at.
const PROBLEMS_MAX: usize = 20;

pub(super) fn tables(root: &Section<'_, '_>) -> Tables {
    let mut tables: HashMap<String, Table> = HashMap::new();
    for section in root.sections("table") {
        let name = section.required("name");
        let read = table(&section);
        if let Some(name) = name {
            if tables.contains_key(&name.value) {
                section.desk.error(&name.spot, format!("there are two tables named {:?}", name.value));
            }
            // An unreadable table is still known by name, so that its uses are not reported too.
            tables.entry(name.value).or_insert_with(|| read.unwrap_or_default());
        }
        section.finish();
    }
    Tables(Arc::new(tables))
}

fn table(section: &Section<'_, '_>) -> Option<Table> {
    let path = section.required("file");
    let key = section.required("key");
    let value = section.required("value");
    let on_missing = section.choice("on_missing", &[("dead", OnMissing::Dead), ("none", OnMissing::None)]);
    let path = path?;
    let text = match section.desk.files.text(&path.value) {
        Ok(text) => text,
        Err(error) => {
            section.desk.error(&path.spot, format!("cannot read {:?}: {}", path.value, file::reason(&error)));
            return None;
        }
    };
    let rows = rows(section, &path, &text, &key?, &value?)?;
    Some(Table { rows, on_missing: on_missing.map_or(OnMissing::Dead, |field| field.value) })
}

fn rows(
    section: &Section<'_, '_>,
    path: &Field<String>,
    text: &str,
    key: &Field<String>,
    value: &Field<String>,
) -> Option<HashMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            section.desk.error(&path.spot, format!("{:?} is no CSV: {error}", path.value));
            return None;
        }
    };
    let column = |wanted: &Field<String>| {
        let found = headers.iter().position(|header| header.trim() == wanted.value);
        if found.is_none() {
            let reason = format!("{:?} has no column {:?}", path.value, wanted.value);
            section.desk.unknown(&wanted.spot, reason, &wanted.value, headers.iter());
        }
        found
    };
    let (key_column, value_column) = (column(key), column(value));
    collect(section, path, &mut reader, key_column?, value_column?)
}

fn collect(
    section: &Section<'_, '_>,
    path: &Field<String>,
    reader: &mut csv::Reader<&[u8]>,
    key: usize,
    value: usize,
) -> Option<HashMap<String, String>> {
    let mut rows: HashMap<String, (String, u64)> = HashMap::new();
    let mut problems = 0;
    for record in reader.records() {
        if problems >= PROBLEMS_MAX || rows.len() >= ROWS_MAX {
            section.desk.error(&path.spot, format!("{:?} has too many wrong rows, or over 1,000,000 rows", path.value));
            return None;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                section.desk.error(&path.spot, format!("{:?} is no CSV: {error}", path.value));
                return None;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let (Some(name), Some(value)) = (record.get(key), record.get(value)) else { continue };
        if let Some((_, first)) = rows.get(name) {
            let reason = format!("{:?} has the key {name:?} twice, in lines {first} and {line}", path.value);
            section.desk.error(&path.spot, reason);
            problems += 1;
            continue;
        }
        rows.insert(name.to_owned(), (value.to_owned(), line));
    }
    Some(rows.into_iter().map(|(name, (value, _))| (name, value)).collect())
}
