//! `tls` of a destination: whose certificates it takes, and as whom we come.

use std::path::{Path, PathBuf};

use crate::certificate::Pin;
use crate::config::file::reason;
use crate::config::read::{Field, Section, Spot};
use crate::config::{auth, server};
use crate::deliver::legacy;
use crate::deliver::tls::{Identity, Tls, Version};

/// Reads the table beside `ca`, which stands for `tls.ca`; what is wrong in it is reported.
pub(in crate::config) fn tls(section: &Section<'_, '_>) -> Tls {
    let ca = file(section, "ca");
    if section.has("tls") && !section.is_table("tls") {
        let legacy = section.choice("tls", &[("legacy", ())]).is_some();
        return Tls { ca, legacy: legacy && warned(section, &section.spot_of("tls")), ..Tls::default() };
    }
    let Some(table) = section.section("tls") else { return Tls { ca, ..Tls::default() } };
    let own = file(&table, "ca");
    if section.has("ca") && table.has("ca") {
        table.desk.error(&table.spot_of("ca"), "says it twice: `ca` of the destination is the same; one of them");
    }
    if table.list_is_empty("pins") {
        table.desk.error(&table.spot_of("pins"), "names no pin; leave it out where none is to be checked");
    }
    let pins = table.list("pins").unwrap_or_default();
    let read =
        |field: &Field<String>| Pin::parse(&field.value).map_err(|reason| table.desk.error(&field.spot, reason)).ok();
    let pins: Vec<Pin> = pins.iter().filter_map(read).collect();
    let versions = [("1.2", Version::Tls12), ("1.3", Version::Tls13)];
    let version_min = table.choice("min_version", &versions).map(|field| field.value).unwrap_or_default();
    let identity = identity(&table);
    let accept_invalid = table.boolean("accept_invalid").unwrap_or(false);
    if accept_invalid {
        let spot = table.spot_of("accept_invalid");
        let reason = if table.has("pins") {
            "takes any certificate with one of the pins, whatever its names, dates and issuer; name its authority with ca instead"
        } else {
            "takes any certificate: whoever answers there gets its calls and credentials; name its authority with ca instead"
        };
        table.desk.warning(&spot, reason);
        if table.has("ca") || section.has("ca") {
            table.desk.error(&spot, "leaves ca without effect; one of them");
        }
    }
    let legacy = table.boolean("legacy").unwrap_or(false) && warned(&table, &table.spot_of("legacy"));
    if legacy && table.has("min_version") {
        let reason = "means nothing with legacy, which speaks TLS 1.0 and later; one of them";
        table.desk.error(&table.spot_of("min_version"), reason);
    }
    table.finish();
    Tls { ca: ca.or(own), pins, version_min, identity, accept_invalid, legacy }
}

/// `legacy`, where this build has it.
fn warned(section: &Section<'_, '_>, spot: &Spot) -> bool {
    if !legacy::IS_THERE {
        section.desk.error(spot, legacy::WITHOUT);
        return false;
    }
    let reason = "speaks TLS 1.0 and ciphers that can be broken: whoever listens on the way may read its calls and \
                  credentials; take it out as soon as the system speaks TLS 1.2";
    section.desk.warning(spot, reason);
    true
}

fn identity(table: &Section<'_, '_>) -> Option<Identity> {
    let certificate = file(table, "client_certificate");
    let key = file(table, "client_key");
    for (has, other) in [("client_certificate", "client_key"), ("client_key", "client_certificate")] {
        if table.has(has) && !table.has(other) {
            table.desk.error(&table.spot_of(has), format!("needs {other}"));
        }
    }
    let pkcs12 = table.section("pkcs12").and_then(pkcs12);
    if table.has("pkcs12") && (table.has("client_certificate") || table.has("client_key")) {
        table
            .desk
            .error(&table.spot_of("pkcs12"), "is a client certificate too, beside client_certificate; one of them");
    }
    let identity = pkcs12.or_else(|| Some(Identity::Pem { certificate: certificate?, key: key? }));
    // A stored configuration makes no calls, and its files may be gone.
    identity.filter(|_| table.desk.files.is_disk())
}

fn pkcs12(table: Section<'_, '_>) -> Option<Identity> {
    let file = table.required("file");
    let password = table.text("password");
    if !table.has("password") {
        table.desk.error(&table.spot, "key `password` is missing");
    }
    if let Some(password) = &password
        && password.value.is_plain()
        && !password.value.reveal().is_empty()
    {
        let reason = "stands in clear; write ${NAME} or ${file:PATH}, so that it is never stored or shown";
        table.desk.warning(&password.spot, reason);
    }
    if let Some(field) = file.as_ref().filter(|_| table.desk.files.is_disk())
        && let Err(error) = table.desk.files.disk_bytes(Path::new(&field.value))
    {
        table.desk.error(&field.spot, format!("cannot read {:?}: {}", field.value, reason(&error)));
    }
    let resolved = file.map(|field| table.desk.files.resolve(&field.value));
    table.finish();
    // Where only the form is looked at, the file stays closed.
    let password = password.filter(|field| auth::is_known(&field.value))?;
    Some(Identity::Pkcs12 { file: resolved?, password: password.value })
}

/// A PEM file that must be readable. It is no part of the stored configuration.
fn file(section: &Section<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let field = section.plain(key)?;
    if section.desk.files.is_disk() {
        server::check_pem(section, &field.value, &field.spot);
    }
    Some(section.desk.files.resolve(&field.value))
}
