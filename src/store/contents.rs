//! Holds the contents of a store against the hashes that they came with: what was changed on the disk, or by hand.

use super::{Discrepancy, Store, StoreResult};

/// The notifications that are named at most; the others are counted.
const NAMED_MAX: usize = 5;

/// What is stored of a notification's content, and the hash that it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The store's id of it.
    pub row: i64,
    /// See `Notification::hash`.
    pub hash: [u8; 32],
    /// The `sObject` fragment, or what else came; empty when there is none, or it was pruned.
    pub xml: String,
    /// Whether it is sealed and cannot be opened.
    pub is_sealed: bool,
}

/// What is wrong in a store: its accounts and what its rows refer to, and its contents, one after the other. All of them are
/// read, in small pieces: nobody waits for it. `has_hash` tells whether a content is the one of a hash.
///
/// # Errors
/// When it cannot be read.
pub async fn verify(store: &dyn Store, has_hash: fn(&str, &[u8; 32]) -> bool) -> StoreResult<Vec<Discrepancy>> {
    let mut found = store.verify().await?;
    match changed(store, has_hash).await {
        Ok(changed) => found.extend(changed),
        // What is missing was found before, and contents cannot be read without it.
        Err(_) if !found.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

async fn changed(store: &dyn Store, has_hash: fn(&str, &[u8; 32]) -> bool) -> StoreResult<Vec<Discrepancy>> {
    let (mut other, mut sealed) = (Vec::new(), Vec::new());
    let mut after = i64::MIN;
    loop {
        let contents = store.contents(after).await?;
        let Some(last) = contents.last() else { break };
        after = last.row;
        for content in contents.iter().filter(|content| !content.xml.is_empty()) {
            if content.is_sealed {
                sealed.push(content.row);
            } else if !has_hash(&content.xml, &content.hash) {
                other.push(content.row);
            }
        }
    }
    let said = [
        (other, "contents that are not what came"),
        (sealed, "contents that cannot be read with the keys at hand, or were changed"),
    ];
    Ok(said.into_iter().filter(|(rows, _)| !rows.is_empty()).map(|(rows, what)| told(what, &rows)).collect())
}

/// None may be so, and these are.
fn told(what: &str, rows: &[i64]) -> Discrepancy {
    let named: Vec<String> = rows.iter().take(NAMED_MAX).map(i64::to_string).collect();
    let more = if rows.len() > NAMED_MAX { ", …" } else { "" };
    Discrepancy {
        account: format!("{what}: notifications {}{more}", named.join(", ")),
        counter: 0,
        rows: i64::try_from(rows.len()).unwrap_or(i64::MAX),
    }
}
