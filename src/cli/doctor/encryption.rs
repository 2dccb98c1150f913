//! The keys that payloads are encrypted with: those of the configuration, and those that the store needs.

use super::finding::{Findings, Judged};
use crate::cipher::Keyring;
use crate::config::StoreSettings;
#[cfg(feature = "postgres")]
use crate::store::postgres::PostgresArchive;
use crate::store::sealed::rekey;
use crate::store::sqlite::SqliteArchive;
use crate::store::{Archive, SealingKey};

/// Looks at the keys that were read, and at those that the store remembers. A key that cannot be read, or is no key, is told
/// of with the configuration, and so is a file that others may read.
pub(super) async fn look(settings: &StoreSettings, keys: &Keyring, is_offline: bool) -> Findings {
    let mut findings = Findings::about("encryption");
    match configured(keys) {
        Some(judged) => findings.judged("keys", judged),
        None => findings.skip("keys", "there is no [store.encryption]: payloads are written in clear"),
    }
    if is_offline && settings.is_database() {
        findings.skip("store", "the database was not asked: --offline");
        return findings;
    }
    match remembered(settings).await {
        Ok(known) => needed(&known, keys).into_iter().for_each(|judged| findings.judged("store", judged)),
        Err(reason) => findings.skip("store", format!("which keys its payloads need cannot be seen: {reason}")),
    }
    findings
}

/// The keys that the store's payloads were sealed with.
async fn remembered(settings: &StoreSettings) -> Result<Vec<SealingKey>, String> {
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        let archive = PostgresArchive::open(address).await.map_err(|error| error.to_string())?;
        return archive.sealing_keys().await.map_err(|error| error.to_string());
    }
    let archive = SqliteArchive::open(&settings.path).map_err(|error| error.to_string())?;
    archive.sealing_keys().await.map_err(|error| error.to_string())
}

fn configured(keys: &Keyring) -> Option<Judged> {
    let ids: Vec<&str> = keys.ids().collect();
    if ids.is_empty() {
        return None;
    }
    let read = format!("{} can be read, 32 bytes each", ids.join(", "));
    Some(match keys.active() {
        Some(active) => Judged::ok(format!("{read}; {active} encrypts what is written")),
        None => Judged::warning(
            format!("{read}; none of them is active, so payloads are written in clear"),
            "name one in active of [store.encryption], unless the store is to be decrypted",
        ),
    })
}

fn needed(known: &[SealingKey], keys: &Keyring) -> Vec<Judged> {
    let wrong: Vec<Judged> = known
        .iter()
        .filter_map(|key| rekey::wrong_with(key, keys))
        .map(|reason| Judged::failed(reason, "`omgate serve` does not start without it"))
        .collect();
    if !wrong.is_empty() {
        return wrong;
    }
    let ids: Vec<&str> = known.iter().map(|key| key.id.as_str()).collect();
    let told = match ids.as_slice() {
        [] => "no payload in it is encrypted yet".to_owned(),
        ids => format!("all keys that its payloads were encrypted with are there: {}", ids.join(", ")),
    };
    let mut all = vec![Judged::ok(told)];
    let old: Vec<&str> = ids.into_iter().filter(|id| keys.active().is_some_and(|active| active != *id)).collect();
    if !old.is_empty() {
        all.push(Judged::warning(
            format!("payloads may still be encrypted with {}, which is not the active key", old.join(", ")),
            "`omgate store rekey` writes them anew, and says which keys are needed no more",
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::clock::Timestamp;

    fn ring(keys: &[(&str, u8)], active: &str) -> Keyring {
        let mut ring = Keyring::default();
        for (id, byte) in keys {
            ring.add(id, &format!("{byte:02x}").repeat(32)).unwrap();
        }
        ring.activate(active);
        ring
    }

    fn used(ring: &Keyring, id: &str) -> SealingKey {
        SealingKey { id: id.to_owned(), proof: ring.proof(id).unwrap(), since: Timestamp(0) }
    }

    #[test]
    fn a_key_that_the_store_needs_and_nobody_has_fails_and_an_old_one_is_told() {
        let both = ring(&[("a", 1), ("b", 2)], "b");
        let (old, new) = (used(&both, "a"), used(&both, "b"));
        let all = |known: &[SealingKey], keys: &Keyring| {
            let judged = needed(known, keys).into_iter();
            judged.map(|judged| (judged.level, format!("{} {:?}", judged.found, judged.advice))).collect::<Vec<_>>()
        };
        for (known, keys, level, said) in [
            (vec![old.clone(), new.clone()], both.clone(), Level::Warning, "encrypted with a,"),
            (vec![old.clone(), new.clone()], ring(&[("b", 2)], "b"), Level::Failed, "encrypted with key \"a\""),
            (vec![old], ring(&[("a", 3)], "a"), Level::Failed, "is not the one of that id"),
            (vec![new.clone()], Keyring::default(), Level::Failed, "encrypted with key \"b\""),
            (vec![new], both, Level::Ok, "are there: b"),
            (Vec::new(), Keyring::default(), Level::Ok, "no payload in it"),
        ] {
            let judged = all(&known, &keys);
            let (found, text) = judged.last().unwrap();
            assert!(*found == level && text.contains(said), "{judged:?}");
        }
        assert_eq!(configured(&ring(&[("a", 1)], "")).unwrap().level, Level::Warning);
        assert_eq!(configured(&ring(&[("a", 1)], "a")).unwrap().level, Level::Ok);
        assert_eq!(configured(&Keyring::default()), None);
    }
}
