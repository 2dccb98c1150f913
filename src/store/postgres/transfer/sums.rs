//! What is added up, as it is handed over: the sums of the shards.

use super::super::failure::Failure;
use super::super::session::{Argument, Session};
use super::{Cast, cells, list, unnested};
use crate::store::transfer::{Kind, Row, SUMS, Table, Value};

/// The numbers that are given: what they are of, and by which sequence.
const SEQUENCES: [(&str, &str); 11] = [
    ("delivery", "delivery_id"),
    ("lease", "lease_id"),
    ("envelope", "envelope_id"),
    ("notification", "notification_row"),
    ("name", "name_id_seq"),
    ("way", "way_id_seq"),
    ("config_version", "config_version_id_seq"),
    ("refused", "refused_id_seq"),
    ("config_taken", "config_taken_id_seq"),
    ("audit", "audit_id_seq"),
    ("absence", "absence_id_seq"),
];

/// Reads all of it, rows in order.
pub(super) async fn read(session: &mut Session) -> Result<Vec<Vec<Row>>, Failure> {
    let mut all = Vec::new();
    for table in &SUMS {
        let mut rows = cells(table.columns, &session.query(&question(table), &[]).await?)?;
        rows.sort_unstable();
        all.push(rows);
    }
    Ok(all)
}

fn question(table: &Table) -> String {
    match table.name {
        "system" => "SELECT n.name, coalesce(a.active_ms, 0), s.paused_reason, s.paused_since, s.paused_until, s.probe_at,
                         s.broken_reason, s.broken_since, s.broken_probe_at, s.broken_trips
                     FROM (SELECT name FROM system UNION SELECT system FROM system_active) n LEFT JOIN system s USING (name)
                     LEFT JOIN (SELECT system, max(active_ms) AS active_ms FROM system_active GROUP BY system) a
                         ON a.system = n.name"
            .to_owned(),
        "counter" => added_up("counter", "kind, owner, account"),
        "account_day" => added_up("account_day", "day, kind, owner, account"),
        // Of silences that begin with one moment the shortest is true; of those of a day the longest is kept.
        "source_heard" => "SELECT h.source, h.day, h.last_at, coalesce(l.ms, 0)::bigint, coalesce(l.until, 0)::bigint
             FROM (SELECT source, day, max(last_at) AS last_at FROM source_heard GROUP BY source, day) h
             LEFT JOIN LATERAL (SELECT min(s.silence_until) - s.since AS ms, min(s.silence_until) AS until
                 FROM (SELECT silence_until - silence_ms AS since, silence_until FROM source_heard
                       WHERE source = h.source AND day = h.day AND silence_ms > 0) s
                 GROUP BY s.since ORDER BY 1 DESC, 2 DESC LIMIT 1) l ON true
             WHERE h.last_at <> 0 OR l.ms IS NOT NULL"
            .to_owned(),
        "sequence" => {
            let last = |(kind, sequence): &(&str, &str)| {
                format!("SELECT '{kind}'::text, CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")
            };
            SEQUENCES.iter().map(last).collect::<Vec<_>>().join(" UNION ALL ")
        }
        _ => format!("SELECT {} FROM \"{}\"", list(table.columns.iter().map(|column| column.name)), table.name),
    }
}

fn added_up(table: &str, by: &str) -> String {
    format!("SELECT {by}, sum(value)::bigint FROM {table} GROUP BY {by} HAVING sum(value) <> 0")
}

/// Writes all of it in place of what is there.
pub(super) async fn write(session: &mut Session, sums: &[Vec<Row>]) -> Result<(), Failure> {
    for (table, rows) in SUMS.iter().zip(sums) {
        match table.name {
            "system" => write_systems(session, table, rows).await?,
            "counter" => replace(session, table, rows, Some(0)).await?,
            // Added up already, as the days that are over are.
            "account_day" | "source_heard" => replace(session, table, rows, Some(-1)).await?,
            "sequence" => write_sequences(session, rows).await?,
            "alive" => {
                replace(session, table, rows, None).await?;
                session.query("UPDATE alive SET own = false", &[]).await?;
            }
            _ => replace(session, table, rows, None).await?,
        }
    }
    Ok(())
}

async fn replace(session: &mut Session, table: &Table, rows: &[Row], shard: Option<i64>) -> Result<(), Failure> {
    session.query(&format!("DELETE FROM \"{}\"", table.name), &[]).await?;
    let columns: Vec<_> = table.columns.iter().enumerate().collect();
    let cast = |(place, column): &(usize, &super::Column)| column_of(rows, *place, column.kind);
    let casts: Vec<Cast> = columns.iter().map(cast).collect();
    let names = list(table.columns.iter().map(|column| column.name));
    let (shard_name, shard) = shard.map_or_else(Default::default, |shard| (", shard".to_owned(), format!(", {shard}")));
    let sql = format!(
        "INSERT INTO \"{}\" ({names}{shard_name}) SELECT r.*{shard} FROM {} AS r",
        table.name,
        unnested(&casts)
    );
    let arguments: Vec<Argument<'_>> = casts.iter().map(Cast::argument).collect();
    session.query(&sql, &arguments).await.map(|_| ())
}

fn column_of(rows: &[Row], place: usize, kind: Kind) -> Cast {
    Cast::of(kind, rows.iter().map(move |row| row.get(place).unwrap_or(&Value::Null)))
}

/// How long a system was open stands apart from the rest.
async fn write_systems(session: &mut Session, table: &Table, rows: &[Row]) -> Result<(), Failure> {
    for of in ["system", "system_active"] {
        session.query(&format!("DELETE FROM {of}"), &[]).await?;
    }
    let casts: Vec<Cast> =
        table.columns.iter().enumerate().map(|(place, column)| column_of(rows, place, column.kind)).collect();
    let (name, active): (&[Cast], &str) = (casts.get(..2).unwrap_or_default(), "system, active_ms");
    let sql = format!("INSERT INTO system_active ({active}, shard) SELECT r.*, 0 FROM {} AS r", unnested(name));
    session.query(&sql, &name.iter().map(Cast::argument).collect::<Vec<_>>()).await?;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let cells = list(names.iter());
    let rest = list(names.iter().filter(|name| **name != "active_ms"));
    let sql = format!("INSERT INTO system ({rest}) SELECT {rest} FROM {} AS r ({cells})", unnested(&casts));
    session.query(&sql, &casts.iter().map(Cast::argument).collect::<Vec<_>>()).await.map(|_| ())
}

/// Numbers go on behind those that were given.
async fn write_sequences(session: &mut Session, rows: &[Row]) -> Result<(), Failure> {
    for (kind, sequence) in SEQUENCES {
        let of_kind = |row: &&Row| row.first().and_then(Value::text) == Some(kind);
        let last = rows.iter().find(of_kind).and_then(|row| row.last()?.integer()).unwrap_or(0);
        let sql = format!("SELECT setval('omgate.{sequence}', greatest({last}, 1), {})", last > 0);
        session.query(&sql, &[]).await?;
    }
    Ok(())
}
