//! What notifications are found by: written with their content, and taken away with it.

use std::collections::BTreeMap;

use super::failure::Failure;
use super::session::{Session, args, read};
use super::text;

/// Writes what the contents of some rows are found by.
pub(super) async fn write(
    session: &mut Session,
    rows: impl Iterator<Item = (i64, &BTreeMap<String, String>)>,
) -> Result<(), Failure> {
    let (mut numbers, mut names, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (row, fields) in rows {
        for (name, value) in fields {
            numbers.push(row);
            names.push(text::written(name));
            values.push(text::written(value));
        }
    }
    if numbers.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO searched (notification, name, value)
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])";
    session.query(sql, args![INT8_ARRAY numbers, TEXT_ARRAY names, TEXT_ARRAY values]).await.map(|_| ())
}

/// What the contents of some rows are found by.
pub(super) async fn of(
    session: &mut Session,
    rows: &[i64],
) -> Result<BTreeMap<i64, BTreeMap<String, String>>, Failure> {
    let mut found: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    if rows.is_empty() {
        return Ok(found);
    }
    let sql = "SELECT notification, name, value FROM searched WHERE notification = ANY($1)";
    let fields = session.query(sql, args![INT8_ARRAY rows]).await?;
    for (row, name, value) in read(&fields, |cells| Ok((cells.number()?, cells.text()?, cells.text()?)))? {
        found.entry(row).or_default().insert(name, value);
    }
    Ok(found)
}

/// The contents of some rows are gone.
pub(super) async fn forget(session: &mut Session, rows: &[i64]) -> Result<(), Failure> {
    session.query("DELETE FROM searched WHERE notification = ANY($1)", args![INT8_ARRAY rows]).await.map(|_| ())
}
