//! What is added up, as it is handed over.

use rusqlite::{Connection, params_from_iter};

use super::{holes, names, row};
use crate::store::sqlite::days::{DESTINATION, SOURCE};
use crate::store::transfer::{Row, SUMS, Table, Value};

/// Tables whose ids are never given twice.
const NUMBERED: [&str; 4] = ["refused", "config_taken", "audit", "absence"];
/// Numbers of the audit log that were given to no entry in the store that this one was moved from: none is missing.
const SKIPPED: &str = "audit_skipped";

/// Reads all of it, rows in order.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Vec<Row>>> {
    let read = |table: &Table| {
        let mut statement = connection.prepare(&question(table))?;
        let mut rows = statement.query_map([], row)?.collect::<rusqlite::Result<Vec<Row>>>()?;
        rows.sort_unstable();
        Ok(rows)
    };
    SUMS.iter().map(read).collect()
}

fn question(table: &Table) -> String {
    match table.name {
        "counter" => format!(
            "SELECT kind, owner, account, value FROM counter WHERE value <> 0 AND kind <> '{SKIPPED}'
             UNION ALL SELECT 'audit', 0, 'written', seq - coalesce((SELECT value FROM counter WHERE kind = '{SKIPPED}'), 0)
             FROM sqlite_sequence WHERE name = 'audit' AND seq > 0"
        ),
        "account_day" => days(),
        "source_heard" => "SELECT source, day, last_at, silence_ms, silence_until FROM source_day
                           WHERE last_at <> 0 OR silence_ms <> 0"
            .to_owned(),
        "sequence" => sequences(),
        _ => format!("SELECT {} FROM \"{}\"", names(table.columns), table.name),
    }
}

/// The kinds of owners that have days, with their accounts.
fn owners() -> [(&'static str, &'static [&'static str]); 2] {
    [("source", &SOURCE), ("destination", &DESTINATION)]
}

fn days() -> String {
    let one = |kind: &str, account: &str| {
        format!("SELECT day, '{kind}', {kind}, '{account}', \"{account}\" FROM {kind}_day WHERE \"{account}\" <> 0")
    };
    let all = owners().into_iter().flat_map(|(kind, accounts)| accounts.iter().map(move |account| one(kind, account)));
    all.collect::<Vec<_>>().join(" UNION ALL ")
}

fn sequences() -> String {
    let given = |kind: &str, table: &str, column: &str| {
        format!(
            "SELECT '{kind}', max(coalesce((SELECT value FROM sequence WHERE kind = '{kind}'), 0),
                 coalesce((SELECT max({column}) FROM {table}), 0))"
        )
    };
    let highest = |table: &str| format!("SELECT '{table}', coalesce(max(id), 0) FROM \"{table}\"");
    let numbered = |table: &str| {
        format!("SELECT '{table}', coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{table}'), 0)")
    };
    let mut all = vec![given("delivery", "delivery", "id"), given("lease", "attempt", "lease")];
    all.extend(["envelope", "notification", "name", "way", "config_version"].map(highest));
    all.extend(NUMBERED.map(numbered));
    all.join(" UNION ALL ")
}

/// Writes all of it in place of what is there.
pub(super) fn write(connection: &Connection, sums: &[Vec<Row>]) -> rusqlite::Result<()> {
    for (table, rows) in SUMS.iter().zip(sums) {
        match table.name {
            "account_day" => write_days(connection, table, rows)?,
            // Behind the days, whose rows it completes.
            "source_heard" => write_heard(connection, rows)?,
            "sequence" => write_sequences(connection, rows)?,
            "counter" => {
                let written = |row: &Row| row.first().and_then(Value::text) == Some("audit");
                let (audit, others): (Vec<Row>, Vec<Row>) = rows.iter().cloned().partition(written);
                replace(connection, table, &others)?;
                let written = audit.iter().filter_map(|row| row.last()?.integer()).sum::<i64>();
                let given = sums.last().and_then(|sequences| number_of(sequences, "audit")).unwrap_or(0);
                if given > written {
                    let sql = "INSERT INTO counter (kind, owner, account, value) VALUES (?1, 0, 'rows', ?2)";
                    connection.execute(sql, (SKIPPED, given - written))?;
                }
            }
            "alive" => {
                replace(connection, table, rows)?;
                connection.execute("UPDATE alive SET own = 0", [])?;
            }
            _ => replace(connection, table, rows)?,
        }
    }
    Ok(())
}

fn number_of(sequences: &[Row], kind: &str) -> Option<i64> {
    let of_kind = |row: &&Row| row.first().and_then(Value::text) == Some(kind);
    sequences.iter().find(of_kind)?.last()?.integer()
}

fn replace(connection: &Connection, table: &Table, rows: &[Row]) -> rusqlite::Result<()> {
    connection.execute(&format!("DELETE FROM \"{}\"", table.name), [])?;
    let sql =
        format!("INSERT INTO \"{}\" ({}) VALUES ({})", table.name, names(table.columns), holes(table.columns.len()));
    let mut statement = connection.prepare(&sql)?;
    rows.iter().try_for_each(|row| statement.execute(params_from_iter(row)).map(|_| ()))
}

/// One row an account becomes one row a day.
fn write_days(connection: &Connection, table: &Table, rows: &[Row]) -> rusqlite::Result<()> {
    for (kind, accounts) in owners() {
        connection.execute(&format!("DELETE FROM {kind}_day"), [])?;
        for account in accounts {
            let sql = format!(
                "INSERT INTO {kind}_day (day, {kind}, \"{account}\") VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET \"{account}\" = excluded.\"{account}\""
            );
            let mut statement = connection.prepare(&sql)?;
            let of_it = |row: &&Row| {
                table.cell(row, "kind").text() == Some(kind) && table.cell(row, "account").text() == Some(*account)
            };
            for row in rows.iter().filter(of_it) {
                let cells = [table.cell(row, "day"), table.cell(row, "owner"), table.cell(row, "value")];
                statement.execute(params_from_iter(cells))?;
            }
        }
    }
    Ok(())
}

fn write_heard(connection: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO source_day (source, day, last_at, silence_ms, silence_until) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO UPDATE SET last_at = excluded.last_at, silence_ms = excluded.silence_ms,
               silence_until = excluded.silence_until";
    let mut statement = connection.prepare(sql)?;
    rows.iter().try_for_each(|row| statement.execute(params_from_iter(row)).map(|_| ()))
}

fn write_sequences(connection: &Connection, rows: &[Row]) -> rusqlite::Result<()> {
    for kind in ["delivery", "lease"] {
        let sql = "INSERT OR REPLACE INTO sequence (kind, value) VALUES (?1, ?2)";
        connection.execute(sql, (kind, number_of(rows, kind).unwrap_or(0)))?;
    }
    for table in NUMBERED {
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table])?;
        let sql = format!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, max(?2, coalesce((SELECT max(id) FROM {table}), 0))"
        );
        connection.execute(&sql, (table, number_of(rows, table).unwrap_or(0)))?;
    }
    Ok(())
}
