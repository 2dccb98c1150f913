//! The audit log: entries are added, listed, and pruned after a year at the earliest; nothing else.

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::lists::Conditions;
use super::session::{Cells, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::store::accounts::Account;
use crate::store::{AuditEntry, AuditFilter, Chain, Deed};

const COLUMNS: &str = "id, at, who, verb, object, object_id, count, reason, result, was, became, hash";

/// Writes an entry; its number.
pub(super) async fn write(work: &mut Work, deed: &Deed) -> Result<i64, Failure> {
    write_all(work, std::slice::from_ref(deed)).await
}

/// Writes entries, in order; the number of the last.
pub(super) async fn write_all(work: &mut Work, deeds: &[Deed]) -> Result<i64, Failure> {
    // Whoever writes waits here for the one before: so all gateways write one chain.
    let sql = "SELECT head_hash FROM audit_chain WHERE id = 1 FOR UPDATE";
    let rows = work.session.query(sql, &[]).await?;
    let before = read(&rows, Cells::text)?.into_iter().next().unwrap_or_default();
    let hashes: Vec<String> = deeds
        .iter()
        .scan(before, |before, deed| {
            *before = deed.link(before);
            Some(before.clone())
        })
        .collect();
    let texts = |value: fn(&Deed) -> &str| -> Vec<_> { deeds.iter().map(|deed| text::written(value(deed))).collect() };
    let at: Vec<i64> = deeds.iter().map(|deed| deed.at.0).collect();
    let counts: Vec<i64> = deeds.iter().map(|deed| i64::try_from(deed.count).unwrap_or(i64::MAX)).collect();
    let sql = "INSERT INTO audit (at, who, verb, object, object_id, count, reason, result, was, became, hash)
               SELECT u.at, u.who, u.verb, u.object, u.object_id, u.count, u.reason, u.result, u.was, u.became, u.hash
               FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
                           $9::text[], $10::text[], $11::text[])
                   WITH ORDINALITY u (at, who, verb, object, object_id, count, reason, result, was, became, hash, place)
               ORDER BY u.place RETURNING id";
    let arguments = args![
        INT8_ARRAY at,
        TEXT_ARRAY texts(|deed| &deed.by.who),
        TEXT_ARRAY texts(|deed| &deed.verb),
        TEXT_ARRAY texts(|deed| deed.object),
        TEXT_ARRAY texts(|deed| &deed.object_id),
        INT8_ARRAY counts,
        TEXT_ARRAY texts(|deed| &deed.by.reason),
        TEXT_ARRAY texts(|deed| &deed.result),
        TEXT_ARRAY texts(|deed| &deed.was),
        TEXT_ARRAY texts(|deed| &deed.became),
        TEXT_ARRAY hashes.clone(),
    ];
    let rows = work.session.query(sql, arguments).await?;
    work.accounts.add(Account::entries(), i64::try_from(rows.len()).unwrap_or(i64::MAX));
    let last = read(&rows, Cells::number)?.into_iter().max();
    let last = last.ok_or_else(|| Failure::Fault("the entry of the audit log got no number".to_owned()))?;
    let sql = "UPDATE audit_chain SET head_entry = $1, head_hash = $2 WHERE id = 1";
    let hash = hashes.last().map(String::as_str).unwrap_or_default();
    work.session.query(sql, args![INT8 last, TEXT text::written(hash)]).await?;
    Ok(last)
}

/// The command.
pub(super) struct Note(pub(super) Deed);

impl Job for Note {
    type Done = i64;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<i64, Failure>> {
        Box::pin(write(work, &self.0))
    }
}

/// The entries of a filter, newest first.
pub(super) async fn list(session: &mut Session, filter: AuditFilter) -> Result<Vec<AuditEntry>, Failure> {
    let mut conditions = Conditions::default();
    conditions.text("strpos(who, ?) > 0", filter.who);
    conditions.text("verb = ?", filter.verb);
    conditions.text("object = ?", filter.object);
    conditions.text("left(object_id, 64) = left(?, 64) AND object_id = ?", filter.object_id);
    conditions.number("at >= ?", filter.from.map(|from| from.0));
    conditions.number("at < ?", filter.to.map(|to| to.0));
    conditions.number("id < ?", filter.before);
    let sql = format!("SELECT {COLUMNS} FROM audit{}", conditions.ending("id", "DESC", filter.limit));
    read(&conditions.ask(session, &sql).await?, entry)
}

/// The ends of the chain, and entries above an id, the oldest first.
pub(super) async fn chain(session: &mut Session, after: i64, limit: u32) -> Result<(Chain, Vec<AuditEntry>), Failure> {
    let sql = "SELECT anchor_entry, anchor_hash, head_entry, head_hash FROM audit_chain WHERE id = 1";
    let rows = session.query(sql, &[]).await?;
    let ends = read(&rows, |cells| {
        Ok(Chain {
            anchor_entry: cells.number()?,
            anchor_hash: cells.text()?,
            head_entry: cells.number()?,
            head_hash: cells.text()?,
        })
    })?;
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id > $1 ORDER BY id LIMIT $2");
    let entries = read(&session.query(&sql, args![INT8 after, INT8 i64::from(limit)]).await?, entry)?;
    Ok((ends.into_iter().next().unwrap_or_default(), entries))
}

fn entry(cells: &mut Cells<'_>) -> Result<AuditEntry, Failure> {
    Ok(AuditEntry {
        id: cells.number()?,
        at: cells.time()?,
        who: cells.text()?,
        verb: cells.text()?,
        object: cells.text()?,
        object_id: cells.text()?,
        count: u64::try_from(cells.number()?).unwrap_or(0),
        reason: cells.text()?,
        result: cells.text()?,
        was: cells.text()?,
        became: cells.text()?,
        hash: cells.maybe_text()?,
    })
}
