//! What the migrations make, held against what a database has: tables, columns, indexes, triggers.
//!
//! The pattern is a database in memory that was migrated: so it cannot differ from the migrations. What a database has
//! besides (an index that an operator made, the triggers of a move) is no fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rusqlite::Connection;

use super::schema;

/// Every part of a schema, by its name in words, with what it is.
type Parts = BTreeMap<String, String>;
/// The statements that a schema was made by, as SQLite keeps them.
type Statements = BTreeSet<(String, String)>;

/// What the migrations make.
struct Pattern {
    statements: Statements,
    parts: Parts,
}

/// What a database lacks of what the migrations make, in words; empty when it is whole.
pub(super) fn missing(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let pattern = pattern()?;
    // As good as always, and a hundred times quicker.
    if pattern.statements.is_subset(&statements(connection)?) {
        return Ok(Vec::new());
    }
    let found = parts(connection)?;
    let lacks = |table: &str| !found.contains_key(&format!("table {table}"));
    let mut missing = Vec::new();
    for (part, what) in &pattern.parts {
        // Of a table that is gone, what belongs to it need not be named.
        let owner = part.rsplit_once(" of ").map(|(_, table)| table);
        match found.get(part) {
            Some(known) if known == what => {}
            _ if owner.is_some_and(lacks) => {}
            Some(_) => missing.push(format!("{part} as it was made")),
            None => missing.push(part.clone()),
        }
    }
    Ok(missing)
}

/// Made once in the life of a process: it takes a few milliseconds.
fn pattern() -> rusqlite::Result<&'static Pattern> {
    static PATTERN: OnceLock<Pattern> = OnceLock::new();
    if let Some(pattern) = PATTERN.get() {
        return Ok(pattern);
    }
    let mut connection = Connection::open_in_memory()?;
    schema::migrate(&mut connection)?;
    let made = Pattern { statements: statements(&connection)?, parts: parts(&connection)? };
    Ok(PATTERN.get_or_init(|| made))
}

fn statements(connection: &Connection) -> rusqlite::Result<Statements> {
    let mut statement = connection.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn parts(connection: &Connection) -> rusqlite::Result<Parts> {
    let mut statement = connection.prepare(
        "SELECT 'table ' || name, '' FROM sqlite_schema WHERE type = 'table'
         UNION ALL SELECT 'trigger ' || name || ' of ' || tbl_name, '' FROM sqlite_schema WHERE type = 'trigger'
         UNION ALL SELECT 'column ' || c.name || ' of ' || t.name, c.type || ' ' || c.\"notnull\" || ' ' || c.pk
             FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'
         UNION ALL SELECT 'index ' || i.name || ' of ' || t.name, i.\"unique\" || ' ' || i.partial || ' ' ||
                 (SELECT group_concat(coalesce(name, '()')) FROM pragma_index_info(i.name))
             FROM sqlite_schema t JOIN pragma_index_list(t.name) i WHERE t.type = 'table'",
    )?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrated() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        connection
    }

    #[test]
    fn whatever_is_taken_away_is_missed() {
        let all: Vec<(String, String)> = {
            let connection = migrated();
            let sql = "SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY rowid";
            let mut statement = connection.prepare(sql).unwrap();
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap()
        };
        assert!(all.len() > 50, "{all:?}");
        assert_eq!(missing(&migrated()).unwrap(), Vec::<String>::new());
        for (kind, name) in all {
            let connection = migrated();
            connection.execute_batch(&format!("DROP {kind} {name}")).unwrap();
            let missing = missing(&connection).unwrap();
            assert_eq!(missing.len(), 1, "{kind} {name}: {missing:?}");
            let words = format!("{kind} {name}");
            assert!(missing[0] == words || missing[0].starts_with(&format!("{words} of ")), "{missing:?}");
        }
    }

    #[test]
    fn a_column_that_is_gone_or_another_and_an_index_on_something_else_are_missed_and_what_is_more_is_none() {
        for (change, expected) in [
            ("ALTER TABLE delivery DROP COLUMN outdated_by", "column outdated_by of delivery"),
            (
                "ALTER TABLE delivery DROP COLUMN outdated_by; ALTER TABLE delivery ADD COLUMN outdated_by TEXT",
                "column outdated_by of delivery as it was made",
            ),
            (
                "DROP INDEX attempt_delivery; CREATE INDEX attempt_delivery ON attempt (delivery, number)",
                "index attempt_delivery of attempt as it was made",
            ),
        ] {
            let connection = migrated();
            connection.execute_batch(change).unwrap();
            assert_eq!(missing(&connection).unwrap(), [expected]);
        }
        let connection = migrated();
        connection.execute_batch("CREATE INDEX mine ON delivery (status); CREATE TABLE note (id INTEGER)").unwrap();
        assert_eq!(missing(&connection).unwrap(), Vec::<String>::new());
    }
}
