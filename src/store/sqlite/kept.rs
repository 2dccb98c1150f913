//! What was kept of answers: written when delivered, read by people and by the deliveries that come after.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value as Json};

use super::books::{Books, Failure};
use crate::outcome::Kept;
use crate::store::StoreError;
use crate::store::payload::searched;

/// A chain of deliveries that come after one another is never longer.
const CHAIN_MAX: usize = 5;

/// Writes what was kept of a delivery's answer.
pub(super) fn write(books: &Books, delivery: i64, kept: &[Kept]) -> Result<(), Failure> {
    for Kept { name, value, warning } in kept {
        let sql = "INSERT INTO kept (delivery, name, value, text, warning) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET value = excluded.value, text = excluded.text, warning = excluded.warning";
        books.run(sql, (delivery, name, value.to_string(), searched(value), warning))?;
    }
    Ok(())
}

/// What was kept of a delivery's answer, and why some of it could not be.
pub(super) fn of(
    connection: &Connection,
    delivery: i64,
) -> rusqlite::Result<(Map<String, Json>, BTreeMap<String, String>)> {
    let sql = "SELECT name, value, warning FROM kept WHERE delivery = ?1 ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([delivery])?;
    let (mut values, mut warnings) = (Map::new(), BTreeMap::new());
    while let Some(row) = rows.next()? {
        let (name, value) = (row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        if let Some(warning) = row.get(2)? {
            warnings.insert(name.clone(), warning);
        }
        // What is no JSON any more was changed by hand; it is shown as it stands.
        let value = serde_json::from_str(&value).unwrap_or(Json::String(value));
        values.insert(name, value);
    }
    Ok((values, warnings))
}

/// What one delivery and those that it comes after kept: of the nearest first, where names meet.
///
/// # Errors
/// When the delivery is missing.
pub(super) fn of_chain(books: &Books, delivery: i64) -> Result<Map<String, Json>, Failure> {
    let mut all = Map::new();
    let mut next = Some(delivery);
    for _ in 0..CHAIN_MAX {
        let Some(delivery) = next else { break };
        let sql = "SELECT comes_after FROM delivery WHERE id = ?1";
        let found = books.connection.prepare_cached(sql)?.query_row([delivery], |row| row.get(0)).optional()?;
        let Some(before) = found else {
            return Err(Failure::Rule(StoreError::NotFound(format!("delivery {delivery}, which it comes after,"))));
        };
        for (name, value) in of(books.connection, delivery)?.0 {
            all.entry(name).or_insert(value);
        }
        next = before;
    }
    Ok(all)
}
