//! The store that is moved: what it notes while the gateways go on, and how it is shut for all of them.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::super::PostgresStore;
use super::super::connect::Address;
use super::super::failure::{Failure, MOVED_AWAY};
use super::super::schema::{self, OpenError};
use super::super::session::{Cells, Manner, Session, args, read};
use super::{Cast, ask, bytes, cells, counts, key_cells, key_name, question, rows_of, said, sums, write};
use crate::clock::Timestamp;
use crate::store::transfer::{
    Begun, CHUNK_BYTES, Chunk, Kind, Mark, Noted, Origin, Page, Row, SEQUENCE, SUMS, Side, Stage, TABLES, Table, Value,
    table,
};
use crate::store::{StoreError, StoreResult};

/// Changes are counted no further.
const COUNTED_MAX: i64 = 100_000;
/// How often the store is tried to be shut while commands are under way.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);
/// What everybody shares who locks anything: had alone, hardly a command is under way. See `locks`.
const GATE: &str = "SELECT pg_advisory_xact_lock(-1869440884)::text";

/// A store over PostgreSQL that is moved into another one.
pub struct PostgresOrigin {
    store: Arc<PostgresStore>,
    shown: String,
    /// While it is shut: the transaction that keeps all others out. When it ends, the store is open again.
    shut: Mutex<Option<Session>>,
}

impl PostgresOrigin {
    /// The store as the origin of a move.
    #[must_use]
    pub fn of(store: Arc<PostgresStore>, address: &Address) -> Self {
        Self { store, shown: address.shown().to_owned(), shut: Mutex::default() }
    }

    /// The mark of the move by which a store was left; none when it was not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn left(address: &Address) -> Result<Option<Mark>, OpenError> {
        let shown = address.shown().to_owned();
        let pool = address.pool(1).map_err(|reason| OpenError::Tls { address: shown.clone(), reason })?;
        schema::look_from_beside(&pool, &shown).await?;
        let begun = ask(&pool, Manner::Read, async |session: &mut Session| begun(session).await).await;
        let begun = begun.map_err(|error| OpenError::Unfit { address: shown, reason: error.to_string() })?;
        Ok(begun.filter(|begun| begun.stage == Stage::Moved).map(|begun| begun.mark))
    }

    fn pool(&self) -> &Pool {
        &self.store.engine.pool
    }

    async fn try_to_shut(&self) -> Result<Session, Failure> {
        let mut session = Session::open(self.pool(), Manner::Move).await?;
        session.query(GATE, &[]).await?;
        for table in ["system"].into_iter().chain(TABLES.iter().map(|table| table.name)).chain(["token", "counter"]) {
            session.query(&format!("LOCK TABLE \"{table}\" IN SHARE ROW EXCLUSIVE MODE"), &[]).await?;
        }
        Ok(session)
    }

    /// Runs orders, each in a transaction of its own: so it never holds one table and waits for another.
    async fn orders(&self, orders: Vec<String>) -> StoreResult<()> {
        for order in orders {
            let mut tried = 0;
            loop {
                tried += 1;
                let done = write(self.pool(), async |session: &mut Session| session.query(&order, &[]).await).await;
                match done {
                    Ok(_) => break,
                    Err(error) if tried >= TRIES => return Err(error),
                    Err(_) => sleep(PAUSE).await,
                }
            }
        }
        Ok(())
    }
}

impl Side for PostgresOrigin {
    fn shown(&self) -> String {
        self.shown.clone()
    }

    fn rows<'a>(&'a self, table: &'static Table, units: &'a [Row]) -> BoxFuture<'a, StoreResult<Page>> {
        Box::pin(ask(self.pool(), Manner::Read, async move |session: &mut Session| {
            rows_of(session, table, units).await
        }))
    }

    fn sums(&self) -> BoxFuture<'_, StoreResult<Vec<Vec<Row>>>> {
        Box::pin(ask(self.pool(), Manner::Audit, async |session: &mut Session| sums::read(session).await))
    }

    fn counts(&self) -> BoxFuture<'_, StoreResult<Vec<i64>>> {
        Box::pin(ask(self.pool(), Manner::Audit, async |session: &mut Session| counts(session).await))
    }
}

impl Origin for PostgresOrigin {
    fn heard(&self) -> BoxFuture<'_, StoreResult<Option<Timestamp>>> {
        Box::pin(ask(self.pool(), Manner::Read, async |session: &mut Session| {
            let found = session.query("SELECT at FROM alive WHERE own", &[]).await?;
            Ok(read(&found, Cells::time)?.into_iter().next())
        }))
    }

    fn begun(&self) -> BoxFuture<'_, StoreResult<Option<Begun>>> {
        Box::pin(ask(self.pool(), Manner::Read, async |session: &mut Session| begun(session).await))
    }

    fn begin(&self, mark: Mark) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let begun = write(self.pool(), async |session: &mut Session| {
                let sql = "INSERT INTO moving (id, direction, token, other, begun_at, stage, tables)
                           VALUES (1, 'out', $1, $2, $3, 'copying', $4) ON CONFLICT (id) DO NOTHING RETURNING id";
                let tables = Begun::NOT_NOTING;
                let arguments = args![INT8 mark.token, TEXT mark.other, INT8 mark.begun_at.0, INT8 tables];
                session.query(sql, arguments).await
            });
            match begun.await?.is_empty() {
                false => Ok(()),
                true => Err(StoreError::Conflict("another move of the store was begun at this moment".to_owned())),
            }
        })
    }

    fn note(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.orders(stop_noting().into_iter().chain(start_noting()).collect()).await?;
            write(self.pool(), async |session: &mut Session| {
                session.query("UPDATE moving SET tables = 0", &[]).await.map(|_| ())
            })
            .await
        })
    }

    fn chunk(&self, table: &'static Table, after: Option<Row>, limit: usize) -> BoxFuture<'_, StoreResult<Chunk>> {
        Box::pin(ask(self.pool(), Manner::Read, async move |session: &mut Session| {
            let after: Vec<Row> = after.into_iter().collect();
            let key = key_cells(table.key_columns(), &after);
            let names: Vec<String> =
                table.key_columns().iter().map(|column| format!("t.\"{}\"", key_name(column))).collect();
            // One row of arrays of one.
            let holes: Vec<String> = (1..=names.len()).map(|place| format!("(${place})[1]")).collect();
            let (condition, arguments) = if after.is_empty() {
                (String::new(), Vec::new())
            } else {
                let condition = format!("WHERE ({}) > ({})", names.join(", "), holes.join(", "));
                (condition, key.iter().map(Cast::argument).collect())
            };
            let sql = question(table, &condition, &format!("LIMIT {limit}"));
            let rows = cells(table.columns, &session.query(&sql, &arguments).await?)?;
            // A text may be half as long as it is written here.
            let more = rows.len() >= limit || 2 * bytes(table, &rows) >= CHUNK_BYTES;
            Ok(Chunk { rows, more })
        }))
    }

    fn reached(&self, table: usize, after: Option<Row>) -> BoxFuture<'_, StoreResult<()>> {
        let table = i64::try_from(table).unwrap_or(i64::MAX);
        let after = after.map(|after| Begun::key_as_kept(&after));
        Box::pin(write(self.pool(), async move |session: &mut Session| {
            let sql = "UPDATE moving SET tables = $1, after = $2";
            session.query(sql, args![INT8 table, TEXT after]).await.map(|_| ())
        }))
    }

    fn noted(&self, limit: usize) -> BoxFuture<'_, StoreResult<(Vec<Noted>, u64)>> {
        Box::pin(ask(self.pool(), Manner::Read, async move |session: &mut Session| noted(session, limit).await))
    }

    fn last_noted(&self) -> BoxFuture<'_, StoreResult<i64>> {
        Box::pin(ask(self.pool(), Manner::Read, async |session: &mut Session| {
            let found = session.query("SELECT coalesce(max(number), 0) FROM moving_change", &[]).await?;
            Ok(read(&found, Cells::number)?.into_iter().next().unwrap_or(0))
        }))
    }

    fn forget(&self, numbers: Vec<i64>) -> BoxFuture<'_, StoreResult<()>> {
        // Those and no others: one with a lower number may be committed later.
        Box::pin(write(self.pool(), async move |session: &mut Session| {
            let sql = "DELETE FROM moving_change WHERE number = ANY($1)";
            session.query(sql, args![INT8_ARRAY numbers]).await.map(|_| ())
        }))
    }

    fn shut(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let mut tried = 0;
            loop {
                tried += 1;
                match self.try_to_shut().await {
                    Ok(session) => {
                        *self.shut.lock().await = Some(session);
                        return Ok(());
                    }
                    Err(failure) if tried >= TRIES => return Err(said(failure)),
                    Err(_) => sleep(PAUSE).await,
                }
            }
        })
    }

    fn open(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            match self.shut.lock().await.take() {
                Some(session) => session.end().await.map_err(said),
                None => Ok(()),
            }
        })
    }

    fn leave(&self, at: Timestamp) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let Some(mut session) = self.shut.lock().await.take() else {
                return Err(StoreError::Conflict("the store is not shut".to_owned()));
            };
            let left = async {
                for order in keep_out() {
                    session.query(&order, &[]).await?;
                }
                let sql = "UPDATE moving SET stage = 'moved', moved_at = $1";
                session.query(sql, args![INT8 at.0]).await?;
                session.commit("SELECT 1", &[]).await?;
                Ok::<_, Failure>(())
            };
            let Err(failure) = left.await else { return Ok(()) };
            // Whether it happened can be read, unless the database is away.
            match self.begun().await {
                Ok(Some(begun)) if begun.stage == Stage::Moved => Ok(()),
                _ => Err(said(failure)),
            }
        })
    }

    fn give_up(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.orders(stop_noting()).await?;
            write(self.pool(), async |session: &mut Session| {
                session.query("DELETE FROM moving_change", &[]).await?;
                session.query("DELETE FROM moving", &[]).await
            })
            .await
            .map(|_| ())
        })
    }
}

/// Looks whether a store may be opened as a gateway's.
pub(in crate::store::postgres) async fn look(pool: &Pool, address: &str) -> Result<(), OpenError> {
    let sql = "SELECT direction = 'in', stage, other, coalesce(moved_at, begun_at) FROM moving";
    let read = async |session: &mut Session| {
        let found = session.query(sql, &[]).await?;
        read(&found, |cells| Ok((cells.next::<bool>()?, cells.text()?, cells.text()?, cells.time()?)))
    };
    let unfit = |reason: String| Err(OpenError::Unfit { address: address.to_owned(), reason });
    let found = match ask(pool, Manner::Read, read).await {
        Ok(found) => found,
        Err(error) => return unfit(format!("whether it is being moved cannot be read: {error}")),
    };
    match found.into_iter().next() {
        None => Ok(()),
        Some((true, _, from, _)) => unfit(format!(
            "{from} is being moved into it and is not wholly there; start on that one, and go on with `omgate store move`"
        )),
        Some((false, stage, to, at)) if Stage::of(&stage) == Stage::Moved => unfit(format!(
            "it was moved to {to} at {at}, and that one counts; give [store] url its address (if the move was cut off at \
             its end, `omgate store move` to the same address ends it)"
        )),
        Some((false, _, to, _)) => {
            tracing::warn!(to, "a move of the store is begun and not finished: go on with it, or give it up");
            Ok(())
        }
    }
}

pub(super) async fn begun(session: &mut Session) -> Result<Option<Begun>, Failure> {
    let sql = "SELECT token, other, begun_at, stage, tables, after FROM moving WHERE direction = 'out'";
    let found = session.query(sql, &[]).await?;
    let one = |cells: &mut Cells<'_>| {
        let mark = Mark { token: cells.number()?, other: cells.text()?, begun_at: cells.time()? };
        let (stage, tables, after) = (cells.text()?, cells.number()?, cells.maybe_text()?);
        Ok(Begun::kept(mark, &stage, tables, after.as_deref()))
    };
    Ok(read(&found, one)?.into_iter().next())
}

async fn noted(session: &mut Session, limit: usize) -> Result<(Vec<Noted>, u64), Failure> {
    let sql = format!("SELECT number, place, a, b, c FROM moving_change ORDER BY number LIMIT {limit}");
    let found = session.query(&sql, &[]).await?;
    let rows = read(&found, |cells| {
        let (number, place, a) = (cells.number()?, cells.text()?, cells.number()?);
        let (b, c) = (cells.next::<Option<i64>>()?, cells.maybe_text()?);
        let mut unit = vec![Value::Integer(a)];
        unit.extend(b.map(Value::Integer));
        unit.extend(c.map(Value::Text));
        Ok((number, place, unit))
    })?;
    let noted = |(number, place, unit): (i64, String, Row)| Some(Noted { number, table: table(&place)?, unit });
    let all = rows.into_iter().filter_map(noted).collect();
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM moving_change LIMIT {COUNTED_MAX}) c");
    let waiting = read(&session.query(&sql, &[]).await?, Cells::number)?.into_iter().next().unwrap_or(0);
    Ok((all, u64::try_from(waiting).unwrap_or(0)))
}

/// A function and a trigger for each table, that note every change.
fn start_noting() -> Vec<String> {
    let one = |table: &Table| {
        let cell = |row: &str, place: usize, wanted: Kind| {
            let column = table.unit_columns().get(place).filter(|column| column.kind == wanted);
            column.map_or_else(|| "NULL".to_owned(), |column| format!("{row}.\"{}\"", column.name))
        };
        let note = |row: &str| {
            let (a, b, c) = (cell(row, 0, Kind::Integer), cell(row, 1, Kind::Integer), cell(row, 2, Kind::Text));
            format!(
                "INSERT INTO omgate.moving_change (place, a, b, c) VALUES ('{}', {a}, {b}, {c}); RETURN {row};",
                table.name
            )
        };
        let name = table.name;
        [
            format!(
                "CREATE OR REPLACE FUNCTION moving_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF TG_OP = 'DELETE' THEN {} END IF; {} END $$",
                note("OLD"),
                note("NEW")
            ),
            format!(
                "CREATE TRIGGER moving AFTER INSERT OR UPDATE OR DELETE ON \"{name}\" FOR EACH ROW
                 EXECUTE FUNCTION moving_{name}()"
            ),
        ]
    };
    TABLES.iter().flat_map(one).collect()
}

fn stop_noting() -> Vec<String> {
    let drop = |table: &Table| format!("DROP TRIGGER IF EXISTS moving ON \"{}\"", table.name);
    let forget = |table: &Table| format!("DROP FUNCTION IF EXISTS moving_{}()", table.name);
    TABLES.iter().map(drop).chain(TABLES.iter().map(forget)).collect()
}

/// Triggers that refuse every change.
fn keep_out() -> Vec<String> {
    let function = format!(
        "CREATE OR REPLACE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'this store was moved to %, and that one counts: give [store] url its address',
             (SELECT other FROM omgate.moving) USING ERRCODE = '{MOVED_AWAY}'; END $$"
    );
    // Receipts too: by one of them a gateway finds out whether the database takes anything.
    let sums = SUMS.iter().filter(|table| table.name != SEQUENCE);
    let names = TABLES.iter().chain(sums).map(|table| table.name).chain(["receipt"]);
    let trigger = |name| {
        format!(
            "CREATE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON \"{name}\" FOR EACH STATEMENT
             EXECUTE FUNCTION moved()"
        )
    };
    std::iter::once(function).chain(names.map(trigger)).collect()
}
