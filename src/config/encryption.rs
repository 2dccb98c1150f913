//! `[store.encryption]`: the keys that payloads are sealed with.

use super::auth::is_known;
use super::read::{Section, type_name};
use crate::cipher::{KeyError, Keyring};

/// The keys, by their ids, and the one that seals what is written. None of them where it is not there.
pub(super) fn encryption(store: &Section<'_, '_>) -> Keyring {
    let mut keyring = Keyring::default();
    let Some(section) = store.section("encryption") else { return keyring };
    let desk = section.desk;
    let mut ids = Vec::new();
    match section.section("keys") {
        Some(keys) => {
            for (id, name_spot, value, spot) in keys.ordered_entries() {
                ids.push(id.clone());
                let Some(raw) = value.as_str() else {
                    desk.error(
                        &spot,
                        format!("must be text such as \"${{file:payload.key}}\", not {}", type_name(value)),
                    );
                    continue;
                };
                let key = keys.free_text(raw, &spot);
                if key.is_plain() {
                    desk.error(&spot, "stands in clear; write ${file:PATH}, ${NAME} or ${command:PROGRAM}");
                    continue;
                }
                // A stored configuration seals nothing, and where only the form is looked at a reference stands for itself.
                if !(desk.files.is_disk() && is_known(&key)) {
                    continue;
                }
                match keyring.add(&id, &key.reveal()) {
                    Ok(()) => {}
                    Err(error @ KeyError::Id(_)) => desk.error(&name_spot, error.to_string()),
                    Err(error @ KeyError::Bytes) => desk.error(&spot, error.to_string()),
                }
            }
        }
        None if section.has("keys") => {}
        None => desk.error(
            &section.spot,
            "key `keys` is missing: name the keys, such as keys = { k1 = \"${file:payload.key}\" }",
        ),
    }
    match section.plain("active") {
        Some(active) if !ids.contains(&active.value) => {
            let reason = format!("{:?} is none of `keys`", active.value);
            desk.unknown(&active.spot, reason, &active.value, ids.iter().map(String::as_str));
        }
        // Where keys are not at hand there is nothing to be sealed.
        Some(active) => {
            keyring.activate(&active.value);
        }
        None if section.has("active") => {}
        None => {
            let reason = "no key is `active`: payloads are written in clear from now on, and `omgate store rekey` decrypts those \
                          that are there";
            desk.warning(&section.spot, reason);
        }
    }
    section.finish();
    keyring
}
