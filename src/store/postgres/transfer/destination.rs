//! The database that a store is moved into.

use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;

use super::super::connect::Address;
use super::super::failure::Failure;
use super::super::schema::{self, OpenError};
use super::super::session::{Manner, Session, args, read};
use super::{Cast, ask, coalesce, counts, key_cells, key_name, list, locks, rows_of, sums, unnested, write};
use crate::store::transfer::taking::{self, Ending, IN_FLIGHT, Marked, Remedies, Taking, guards};
use crate::store::transfer::{Column, Destination, Kind, Mark, Page, Row, Side, Table, Value};
use crate::store::{StoreError, StoreResult};

/// By what lanes are told apart.
const LANE: &str = "lane_key";
pub(super) const REMEDIES: Remedies = Remedies { another: "an empty database", clear: "drop its schema `omgate`" };

/// A database that a store is moved into.
pub struct PostgresDestination {
    pool: Pool,
    shown: String,
}

impl PostgresDestination {
    /// Opens the database, and makes the tables.
    ///
    /// # Errors
    /// In words that tell what to do; see [`OpenError`].
    pub async fn open(address: &Address) -> Result<Self, OpenError> {
        let shown = address.shown().to_owned();
        let pool = address.pool(2).map_err(|reason| OpenError::Tls { address: shown.clone(), reason })?;
        schema::prepare(&pool, &shown).await?;
        Ok(Self { pool, shown })
    }

    /// What fails here is told with its name: the gateway works on another store.
    fn named<'a, T: Send + 'a>(
        &'a self,
        action: impl Future<Output = StoreResult<T>> + Send + 'a,
    ) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move {
            action.await.map_err(|error| match error {
                StoreError::Unavailable(reason) => StoreError::Unavailable(format!("{}: {reason}", self.shown)),
                StoreError::Refused(reason) => StoreError::Refused(format!("{}: {reason}", self.shown)),
                other @ (StoreError::Overloaded
                | StoreError::Closed
                | StoreError::LeaseLost
                | StoreError::NotFound(_)
                | StoreError::Conflict(_)) => other,
            })
        })
    }
}

impl Side for PostgresDestination {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>> {
        self.named(ask(&self.pool, Manner::Read, async move |session: &mut Session| {
            rows_of(session, table, units).await
        }))
    }

    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>> {
        self.named(ask(&self.pool, Manner::Audit, async |session: &mut Session| sums::read(session).await))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>> {
        self.named(ask(&self.pool, Manner::Audit, async |session: &mut Session| counts(session).await))
    }
}

impl Destination for PostgresDestination {
    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>> {
        let taken = self.named(write(&self.pool, async move |session: &mut Session| take(session, &mark).await));
        Box::pin(async move {
            let refused = |reason| StoreError::Conflict(format!("moving into {}: {reason}", self.shown));
            taken.await?.map_err(refused)
        })
    }

    fn ending(&self, mark: Mark) -> BoxFuture<'_, StoreResult<Ending>> {
        let found = self.named(write(&self.pool, async move |session: &mut Session| {
            Ok(taking::ending(&mark, marked(session).await?, &counts(session).await?))
        }));
        Box::pin(
            async move { found.await?.map_err(|reason| StoreError::Conflict(format!("{}: {reason}", self.shown))) },
        )
    }

    fn put<'a>(
        &'a self,
        table: &'static Table,
        units: &'a [Row],
        rows: &'a [Row],
        whole: bool,
    ) -> BoxFuture<'a, StoreResult<()>> {
        self.named(write(&self.pool, async move |session: &mut Session| {
            if whole {
                take_away(session, table, units, rows).await?;
            }
            insert(session, table, rows).await
        }))
    }

    fn put_sums(&self, all: Vec<Vec<Row>>) -> BoxFuture<'_, StoreResult<()>> {
        self.named(write(&self.pool, async move |session: &mut Session| sums::write(session, &all).await))
    }

    fn guard(&self, in_flight: bool) -> BoxFuture<'_, StoreResult<()>> {
        self.named(write(&self.pool, async move |session: &mut Session| {
            for (name, what) in guards(LANE).iter().filter(|(name, _)| in_flight || *name != IN_FLIGHT) {
                session.query(&format!("CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {what}"), &[]).await?;
            }
            Ok(())
        }))
    }

    fn complete(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.named(write(&self.pool, async |session: &mut Session| {
            session.query("DELETE FROM moving", &[]).await.map(|_| ())
        }))
    }
}

/// The move that the store is marked with, which nobody changes until the transaction ends.
async fn marked(session: &mut Session) -> Result<Option<Marked>, Failure> {
    marked_by(session, "SELECT direction = 'in', token, other FROM moving FOR UPDATE").await
}

/// The same as it stands now.
pub(super) async fn marked_now(session: &mut Session) -> Result<Option<Marked>, Failure> {
    marked_by(session, "SELECT direction = 'in', token, other FROM moving").await
}

async fn marked_by(session: &mut Session, sql: &str) -> Result<Option<Marked>, Failure> {
    let found = session.query(sql, &[]).await?;
    let marked =
        read(&found, |cells| Ok(Marked { into: cells.next()?, token: cells.number()?, other: cells.text()? }))?;
    Ok(marked.into_iter().next())
}

/// Takes an empty store for a move, or one that it has already; else why not.
async fn take(session: &mut Session, mark: &Mark) -> Result<Result<(), String>, Failure> {
    let taking = match taking::taking(mark, marked(session).await?, &counts(session).await?, &REMEDIES) {
        Ok(taking) => taking,
        Err(reason) => return Ok(Err(reason)),
    };
    if taking == Taking::Anew {
        let sql = "INSERT INTO moving (id, direction, token, other, begun_at, stage)
                   VALUES (1, 'in', $1, $2, $3, 'copying')";
        session.query(sql, args![INT8 mark.token, TEXT mark.other, INT8 mark.begun_at.0]).await?;
    }
    for (name, _) in guards(LANE) {
        session.query(&format!("DROP INDEX IF EXISTS {name}"), &[]).await?;
    }
    Ok(Ok(()))
}

/// Takes away what is not to be there any more.
async fn take_away(session: &mut Session, table: &Table, units: &[Row], rows: &[Row]) -> Result<(), Failure> {
    let gone = taking::gone(table, units, rows);
    if gone.is_empty() {
        return Ok(());
    }
    let (unit, asked) = (table.unit_columns(), key_cells(table.unit_columns(), &gone));
    let names = list(unit.iter().map(key_name));
    let sql = format!("DELETE FROM \"{}\" WHERE ({names}) IN (SELECT * FROM {} AS u)", table.name, unnested(&asked));
    session.query(&sql, &asked.iter().map(Cast::argument).collect::<Vec<_>>()).await.map(|_| ())
}

/// Writes rows, in place of those that have their keys.
async fn insert(session: &mut Session, table: &Table, rows: &[Row]) -> Result<(), Failure> {
    let cells = |(place, column): (usize, &Column)| {
        Cast::of(column.kind, rows.iter().map(move |row| row.get(place).unwrap_or(&Value::Null)))
    };
    let mut casts: Vec<Cast> = table.columns.iter().enumerate().map(cells).collect();
    let mut given: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let mut written: Vec<(&str, String)> = Vec::new();
    for column in table.columns.iter().filter(|column| column.kind != Kind::Derived) {
        let name = column.name;
        let cell = if column.kind == Kind::Boolean { format!("r.\"{name}\" <> 0") } else { format!("r.\"{name}\"") };
        written.push((name, cell));
    }
    for (name, cast) in found_by(table, rows) {
        casts.push(cast);
        given.push(name);
        written.push((name, format!("r.\"{name}\"")));
    }
    if table.name == "delivery" {
        // A call that was under way has an unknown outcome here: its lease ran out.
        written.push(("lease_until", "CASE WHEN r.lease IS NULL THEN NULL ELSE now() END".to_owned()));
        written.push(("holder", "CASE WHEN r.lease IS NULL THEN NULL ELSE 0 END".to_owned()));
    }
    let key = list(table.key_columns().iter().map(key_name));
    let is_key = |name: &str| table.key_columns().iter().any(|column| column.name == name || key_name(column) == name);
    let others = written.iter().filter(|(name, _)| !is_key(name)).map(|(name, _)| (*name).to_owned());
    let else_ = taking::on_conflict(table, others);
    let sql = format!(
        "INSERT INTO \"{}\" ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS r ({}) ON CONFLICT ({key}) DO {else_}",
        table.name,
        list(written.iter().map(|(name, _)| name)),
        written.iter().map(|(_, cell)| cell.as_str()).collect::<Vec<_>>().join(", "),
        unnested(&casts),
        list(&given),
    );
    session.query(&sql, &casts.iter().map(Cast::argument).collect::<Vec<_>>()).await.map(|_| ())
}

/// The columns by which rows are found here, and which follow from others.
fn found_by(table: &Table, rows: &[Row]) -> Vec<(&'static str, Cast)> {
    let numbers = |of: &dyn Fn(&Row) -> Option<i64>| Cast::Numbers(rows.iter().map(of).collect());
    match table.name {
        "delivery" => {
            let lane = |row: &Row| {
                let system = table.cell(row, "system").integer()?;
                table.cell(row, "lane").text().map(|lane| locks::key(system, lane))
            };
            let record = |row: &Row| {
                let (organization, record) = table.cell(row, "coalesces").text()?.split_once(' ')?;
                Some(coalesce::key(organization.parse().ok()?, record))
            };
            vec![("lane_key", numbers(&lane)), ("coalesce_key", numbers(&record))]
        }
        "stale_mark" => {
            let columns = table.key_columns();
            key_cells(columns, rows).into_iter().next_back().map(|cells| ("record_key", cells)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
