//! What was kept of answers: written when delivered, read by people and by the deliveries that come after.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::session::{Session, args, read};
use super::text;
use super::work::Work;
use crate::outcome::Kept;
use crate::store::payload::searched;
use crate::store::{Settle, StoreError};

/// A chain of deliveries that come after one another is never longer.
const CHAIN_MAX: i64 = 5;

/// What was kept of one answer, and why some of it could not be.
pub(super) type Answer = (Map<String, Json>, BTreeMap<String, String>);

/// Writes what was kept of answers.
pub(super) async fn write(work: &mut Work, settles: &[&Settle]) -> Result<(), Failure> {
    let all = settles.iter().flat_map(|settle| settle.kept.iter().map(|kept| (settle.delivery.0, kept)));
    // Of two with one name the last stands.
    let all: BTreeMap<(i64, &str), &Kept> = all.map(|(id, kept)| ((id, kept.name.as_str()), kept)).collect();
    if all.is_empty() {
        return Ok(());
    }
    let single = |kept: &Kept| searched(&kept.value).map(|text| text::written(&text).into_owned());
    let deliveries: Vec<i64> = all.keys().map(|(id, _)| *id).collect();
    let names: Vec<_> = all.keys().map(|(_, name)| text::written(name)).collect();
    let values: Vec<String> = all.values().map(|kept| text::written(&kept.value.to_string()).into_owned()).collect();
    let texts: Vec<Option<String>> = all.values().map(|kept| single(kept)).collect();
    let warnings: Vec<_> = all.values().map(|kept| kept.warning.as_deref().map(text::written)).collect();
    let sql = "INSERT INTO kept (delivery, name, value, text, warning)
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
               ON CONFLICT (delivery, name) DO UPDATE
               SET value = excluded.value, text = excluded.text, warning = excluded.warning";
    let arguments = args![
        INT8_ARRAY deliveries, TEXT_ARRAY names, TEXT_ARRAY values, TEXT_ARRAY texts, TEXT_ARRAY warnings,
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

/// What was kept of the answers to some deliveries.
pub(super) async fn of(session: &mut Session, deliveries: &[i64]) -> Result<BTreeMap<i64, Answer>, Failure> {
    let mut answers: BTreeMap<i64, Answer> = BTreeMap::new();
    if deliveries.is_empty() {
        return Ok(answers);
    }
    let sql = "SELECT delivery, name, value, warning FROM kept WHERE delivery = ANY($1)";
    let rows = session.query(sql, args![INT8_ARRAY deliveries]).await?;
    let found = read(&rows, |cells| Ok((cells.number()?, cells.text()?, cells.text()?, cells.maybe_text()?)))?;
    for (delivery, name, value, warning) in found {
        let (values, warnings) = answers.entry(delivery).or_default();
        warnings.extend(warning.map(|warning| (name.clone(), warning)));
        values.insert(name, parsed(value));
    }
    Ok(answers)
}

// What is no JSON any more was changed by hand; it is shown as it stands.
fn parsed(value: String) -> Json {
    serde_json::from_str(&value).unwrap_or(Json::String(value))
}

/// For each of some deliveries, what those kept that it comes after: of the nearest first, where names meet; or why that
/// cannot be said.
pub(super) async fn of_chains(
    session: &mut Session,
    followers: &[i64],
) -> Result<BTreeMap<i64, Result<Map<String, Json>, String>>, Failure> {
    let mut chains: BTreeMap<i64, Result<Map<String, Json>, String>> = BTreeMap::new();
    if followers.is_empty() {
        return Ok(chains);
    }
    let sql = "WITH RECURSIVE chain (follower, depth, lead) AS (
                   SELECT id, 1::bigint, comes_after FROM delivery WHERE id = ANY($1) AND comes_after IS NOT NULL
                   UNION ALL SELECT c.follower, c.depth + 1, d.comes_after FROM chain c
                   JOIN delivery d ON d.id = c.lead WHERE d.comes_after IS NOT NULL AND c.depth < $2
               ) SELECT c.follower, c.lead, d.id IS NULL, k.name, k.value FROM chain c
               LEFT JOIN delivery d ON d.id = c.lead LEFT JOIN kept k ON k.delivery = c.lead
               ORDER BY c.follower, c.depth, k.name";
    let rows = session.query(sql, args![INT8_ARRAY followers, INT8 CHAIN_MAX]).await?;
    let found = read(&rows, |cells| {
        let (follower, lead, missing) = (cells.number()?, cells.number()?, cells.next::<bool>()?);
        Ok((follower, lead, missing, cells.maybe_text()?, cells.maybe_text()?))
    })?;
    for (follower, lead, missing, name, value) in found {
        let chain = chains.entry(follower).or_insert_with(|| Ok(Map::new()));
        if missing {
            let error = StoreError::NotFound(format!("delivery {lead}, which it comes after,"));
            *chain = Err(error.to_string());
        } else if let (Ok(chain), Some(name), Some(value)) = (chain, name, value) {
            chain.entry(name).or_insert_with(|| parsed(value));
        }
    }
    Ok(chains)
}
