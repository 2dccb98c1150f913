//! What the migrations make, held against what a database has: tables, columns, indexes, sequences, triggers, checks.
//!
//! The pattern is a list beside this file. A test holds it against a database that was just migrated, and writes it anew.
//! What a database has besides (an index that an operator made, the triggers of a move) is no fault.

use std::collections::BTreeSet;

use deadpool_postgres::Pool;

use super::failure::Failure;
use super::schema::OpenError;
use super::session::{Cells, Manner, Session, read};

/// Asks for every part of the schema: a line for each.
pub const PARTS: &str = "
    SELECT 'table ' || relname AS part FROM pg_class
        WHERE relnamespace = 'omgate'::regnamespace AND relkind IN ('r', 'p')
    UNION ALL SELECT 'sequence ' || relname FROM pg_class
        WHERE relnamespace = 'omgate'::regnamespace AND relkind = 'S'
    UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'omgate'::regnamespace
    UNION ALL SELECT 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
            || CASE WHEN a.attidentity <> '' THEN ' numbered' ELSE '' END || ' of ' || t.relname
        FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
        WHERE t.relnamespace = 'omgate'::regnamespace AND t.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT CASE WHEN i.indisunique THEN 'unique index ' ELSE 'index ' END || x.relname || ' of ' || t.relname
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        WHERE t.relnamespace = 'omgate'::regnamespace AND t.relkind IN ('r', 'p') AND i.indisvalid
    UNION ALL SELECT 'check ' || c.conname || ' of ' || t.relname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
        WHERE t.relnamespace = 'omgate'::regnamespace AND c.contype = 'c'
    UNION ALL SELECT 'trigger ' || g.tgname || ' of ' || t.relname FROM pg_trigger g JOIN pg_class t ON t.oid = g.tgrelid
        WHERE t.relnamespace = 'omgate'::regnamespace AND NOT g.tgisinternal AND g.tgenabled <> 'D'
    ORDER BY 1";

/// What the migrations make, as [`PARTS`] tells it.
const PATTERN: &str = include_str!("shape.txt");

/// What a database lacks of what the migrations make, in words; empty when it is whole.
pub(super) async fn missing(session: &mut Session) -> Result<Vec<String>, Failure> {
    let rows = session.query(PARTS, &[]).await?;
    let found: BTreeSet<String> = read(&rows, Cells::next)?.into_iter().collect();
    Ok(compare(&found))
}

fn compare(found: &BTreeSet<String>) -> Vec<String> {
    // Of a table that is gone, what belongs to it need not be named.
    let is_there = |part: &str| match part.rsplit_once(" of ") {
        Some((_, table)) => found.contains(&format!("table {table}")),
        None => true,
    };
    PATTERN.lines().filter(|part| !found.contains(*part) && is_there(part)).map(str::to_owned).collect()
}

/// What the database of a pool lacks.
pub(super) async fn missing_in(pool: &Pool) -> Result<Vec<String>, Failure> {
    let mut session = Session::open(pool, Manner::Read).await?;
    let missing = missing(&mut session).await?;
    session.end().await?;
    Ok(missing)
}

/// Why a database that lacks something is not worked with; none when it is whole.
pub(super) fn incomplete(missing: &[String]) -> Option<String> {
    let missing = missing.join(", ");
    (!missing.is_empty())
        .then(|| format!("the schema omgate lacks what omgate made in it: {missing}; restore a backup of the database"))
}

/// Refuses a database that lacks something. `looked`: whether it is moved away or being moved into, which is said first.
pub(super) async fn look_for_gaps(pool: &Pool, address: &str, looked: Result<(), OpenError>) -> Result<(), OpenError> {
    let unfit = |reason: String| OpenError::Unfit { address: address.to_owned(), reason };
    let missing = missing_in(pool).await.map_err(|failure| unfit(failure.into_error().to_string()))?;
    if !missing.iter().any(|part| part == "table moving") {
        looked?;
    }
    incomplete(&missing).map_or(Ok(()), |reason| Err(unfit(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_named_and_with_a_table_only_that() {
        let whole: BTreeSet<String> = PATTERN.lines().map(str::to_owned).collect();
        assert_eq!(compare(&whole), Vec::<String>::new());
        assert!(whole.len() > 200, "{}", whole.len());
        let without = |gone: &dyn Fn(&str) -> bool| whole.iter().filter(|part| !gone(part)).cloned().collect();
        assert_eq!(
            compare(&without(&|part| part.starts_with("trigger audit_lasts"))),
            ["trigger audit_lasts of audit"]
        );
        assert_eq!(compare(&without(&|part| part.ends_with("stale_mark"))), ["table stale_mark"]);
    }
}
