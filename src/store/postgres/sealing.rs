//! Keys that payloads are sealed with, and a walk that writes payloads anew.

use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::session::{Argument, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::store::payload::{PayloadTable, Payloads, STEP_BYTES};
use crate::store::{PayloadMark, Rewrite, Rewritten, SealingKey, StoreError};

/// All of them, by id.
pub(super) async fn list(session: &mut Session) -> Result<Vec<SealingKey>, Failure> {
    let rows = session.query("SELECT id, proof, since FROM sealing_key ORDER BY id", &[]).await?;
    read(&rows, |cells| Ok(SealingKey { id: cells.text()?, proof: cells.text()?, since: cells.time()? }))
}

/// Remembers one, unless it is known.
pub(super) struct Note(pub(super) SealingKey);

impl Job for Note {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let SealingKey { id, proof, since } = &self.0;
            let sql = "INSERT INTO sealing_key (id, proof, since) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
            work.session.query(sql, args![TEXT id, TEXT proof, INT8 since.0]).await.map(|_| ())
        })
    }
}

/// Forgets one.
pub(super) struct Forget(pub(super) String);

impl Job for Forget {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            work.session.query("DELETE FROM sealing_key WHERE id = $1", args![TEXT self.0]).await.map(|_| ())
        })
    }
}

/// One step of the walk.
pub(super) struct Step {
    pub(super) from: PayloadMark,
    pub(super) limit: usize,
    pub(super) rewrite: Rewrite,
}

struct Found {
    id: i64,
    name: String,
    payloads: Payloads,
}

impl Job for Step {
    type Done = Rewritten;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Rewritten, Failure>> {
        Box::pin(async move {
            let Self { from, limit, rewrite } = self;
            let Some(table) = PayloadTable::at(from) else {
                let reason = format!("there is no table {} of payloads", from.table);
                return Err(Failure::Rule(StoreError::Refused(reason)));
            };
            let found = rows(&mut work.session, table, from, *limit).await?;
            let looked = u64::try_from(found.len()).unwrap_or(u64::MAX);
            let mut step = Rewritten { looked, ..Rewritten::default() };
            for row in &found {
                let Some(anew) = rewrite.0(table, &row.payloads) else { continue };
                if write(&mut work.session, table, row, &anew).await? {
                    step.changed += 1;
                } else {
                    step.missed += 1;
                }
            }
            work.idle = step.changed == 0;
            step.next = PayloadTable::next(from, found.into_iter().next_back().map(|found| (found.id, found.name)));
            Ok(step)
        })
    }
}

async fn rows(
    session: &mut Session,
    table: &PayloadTable,
    from: &PayloadMark,
    limit: usize,
) -> Result<Vec<Found>, Failure> {
    let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
    let name = text::written(&from.name);
    let mut values: Vec<Argument<'_>> = args![INT8 from.id, INT8 limit, INT8 STEP_BYTES].to_vec();
    if table.has_name() {
        values.push((&name, Type::TEXT));
    }
    let rows = session.query(&table.select('$'), &values).await?;
    read(&rows, |cells| {
        let id = cells.number()?;
        let name = if table.has_name() { cells.text()? } else { String::new() };
        let payloads = table.columns.iter().map(|_| cells.maybe_text()).collect::<Result<_, _>>()?;
        Ok(Found { id, name, payloads })
    })
}

/// Writes a row anew; false when somebody changed it meanwhile.
async fn write(session: &mut Session, table: &PayloadTable, row: &Found, anew: &Payloads) -> Result<bool, Failure> {
    let name = text::written(&row.name);
    let cells: Vec<Option<String>> = anew
        .iter()
        .chain(&row.payloads)
        .map(|cell| cell.as_deref().map(|cell| text::written(cell).into_owned()))
        .collect();
    let mut values: Vec<Argument<'_>> = vec![(&row.id, Type::INT8)];
    if table.has_name() {
        values.push((&name, Type::TEXT));
    }
    values.extend(cells.iter().map(|cell| -> Argument<'_> { (cell, Type::TEXT) }));
    let sql = format!("{} RETURNING true", table.update('$'));
    Ok(!session.query(&sql, &values).await?.is_empty())
}
