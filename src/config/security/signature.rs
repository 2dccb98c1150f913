//! `signature` of a destination's `security`: which certificate signs what of its envelopes.

use std::path::Path;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::config::read::{Field, Section};
use crate::config::{auth, file};
use crate::secret::Text;
use crate::signing::{Key, Signer, SignerError};
use crate::soap::security::signature::{Signature, Signed};

/// What else the header has, which can be signed.
pub(super) struct Beside {
    pub(super) timestamp: bool,
    pub(super) username: bool,
}

/// Reads the table; what is wrong in it is reported.
pub(super) fn signature(table: Section<'_, '_>, beside: &Beside) -> Option<Signature> {
    let certificate = table.required("certificate");
    let key_field = table.text("private_key");
    if !table.has("private_key") {
        table.desk.error(&table.spot, "key `private_key` is missing");
    }
    let key = key_field.as_ref().and_then(|field| auth::key(&table, field));
    let parts = parts(&table, beside);
    if !parts.contains(&Signed::Timestamp) {
        let spot = if table.has("sign") { table.spot_of("sign") } else { table.spot.clone() };
        let reason = "signs no Timestamp: whoever gets hold of a message can send it again for ever; set timestamp = true, and sign it";
        table.desk.warning(&spot, reason);
    }
    // A stored configuration signs nothing, and its files may be gone.
    let signer = if table.desk.files.is_disk() {
        let pem = certificate.as_ref().and_then(|field| pem(&table, field));
        match (pem, &certificate, key, &key_field) {
            (Some(pem), Some(certificate), Some(key), Some(key_field)) => {
                signer(&table, &pem, certificate, key, key_field).map(Some)
            }
            _ => None,
        }
    } else {
        certificate.and(key).map(|_| None)
    };
    table.finish();
    Some(Signature { signer: signer?.map(Arc::new), parts })
}

/// What is signed: by default the Body, and the Timestamp where there is one.
fn parts(table: &Section<'_, '_>, beside: &Beside) -> Vec<Signed> {
    let Some(list) = table.list("sign") else {
        return beside.timestamp.then_some(Signed::Timestamp).into_iter().chain([Signed::Body]).collect();
    };
    if list.is_empty() {
        table.desk.error(&table.spot_of("sign"), "names nothing; leave it out, and Timestamp and Body are signed");
    }
    let mut parts = Vec::new();
    for Field { value, spot } in list {
        let part = match Signed::parse(&value) {
            Ok(part) => part,
            Err(reason) => {
                table.desk.error(&spot, reason);
                continue;
            }
        };
        if part == Signed::Timestamp && !beside.timestamp {
            table.desk.error(&spot, "there is none to be signed: set timestamp = true");
        } else if part == Signed::UsernameToken && !beside.username {
            table.desk.error(&spot, "there is none to be signed: set username and password");
        } else if parts.contains(&part) {
            table.desk.error(&spot, format!("{value:?} stands there twice"));
        }
        parts.push(part);
    }
    parts
}

fn pem(table: &Section<'_, '_>, certificate: &Field<String>) -> Option<Vec<u8>> {
    match table.desk.files.disk_bytes(Path::new(&certificate.value)) {
        Ok(pem) => Some(pem),
        Err(error) => {
            let reason =
                format!("cannot read {:?}: {}; write the path of a PEM file", certificate.value, file::reason(&error));
            table.desk.error(&certificate.spot, reason);
            None
        }
    }
}

/// Certificate and key, which must fit each other. None: it was reported.
fn signer(
    table: &Section<'_, '_>,
    pem: &[u8],
    certificate: &Field<String>,
    key: Key,
    key_field: &Field<Text>,
) -> Option<Signer> {
    match Signer::new(pem, key) {
        Ok(signer) => {
            if let Some(told) = signer.certificate().term(SystemClock::shared().now()) {
                table.desk.warning(&certificate.spot, told);
            }
            Some(signer)
        }
        Err(SignerError::Certificate(reason)) => {
            table.desk.error(&certificate.spot, format!("{:?} {reason}", certificate.value));
            None
        }
        Err(error @ SignerError::Pair(_)) => {
            table.desk.error(&key_field.spot, error.to_string());
            None
        }
        // That its secret could not be read was reported where it stands.
        Err(SignerError::Unknown) => None,
    }
}
