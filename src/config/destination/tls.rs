//! `tls` of a destination: whose certificates it takes, and as whom we come.

use crate::config::read::{Field, Section};
use crate::config::{auth, server};
use crate::deliver::tls::{Identity, Pin, Tls, Version};

/// Reads the table beside `ca`, which stands for `tls.ca`; what is wrong in it is reported.
pub(in crate::config) fn tls(section: &Section<'_, '_>) -> Tls {
    let ca = file(section, "ca");
    if section.has("tls") && !section.is_table("tls") {
        legacy(section);
        return Tls { ca, ..Tls::default() };
    }
    let Some(table) = section.section("tls") else { return Tls { ca, ..Tls::default() } };
    let own = file(&table, "ca");
    if section.has("ca") && table.has("ca") {
        table.desk.error(&table.spot_of("ca"), "says it twice: `ca` of the destination is the same; one of them");
    }
    let pins = table.list("pins").unwrap_or_default();
    let read =
        |field: &Field<String>| field.value.parse::<Pin>().map_err(|reason| table.desk.error(&field.spot, reason)).ok();
    let pins = pins.iter().filter_map(read).collect();
    let versions = [("1.2", Version::Tls12), ("1.3", Version::Tls13)];
    let version_min = table.choice("min_version", &versions).map(|field| field.value).unwrap_or_default();
    let identity = identity(&table);
    let accept_invalid = table.boolean("accept_invalid").unwrap_or(false);
    if accept_invalid {
        let spot = table.spot_of("accept_invalid");
        table.desk.warning(
            &spot,
            "takes any certificate: whoever answers there gets its calls and credentials; name its authority with ca instead",
        );
        if table.has("ca") || section.has("ca") {
            table.desk.error(&spot, "leaves ca without effect; one of them");
        }
    }
    table.finish();
    Tls { ca: ca.or(own), pins, version_min, identity, accept_invalid }
}

/// A word in place of a table.
fn legacy(section: &Section<'_, '_>) {
    if section.choice("tls", &[("legacy", ())]).is_some() {
        let reason = "is not in this build: it speaks TLS 1.2 and 1.3 only; put a TLS relay such as stunnel with an old \
                      OpenSSL on this machine before the system, and call that";
        section.desk.error(&section.spot_of("tls"), reason);
    }
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
    pkcs12.or_else(|| Some(Identity::Pem { certificate: certificate?, key: key? }))
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
    let resolved = file.map(|field| table.desk.files.resolve(&field.value));
    table.finish();
    // Where only the form is looked at, the file stays closed.
    let password = password.filter(|field| auth::is_known(&field.value))?;
    Some(Identity::Pkcs12 { file: resolved?, password: password.value })
}

/// A PEM file that must be readable. It is no part of the stored configuration.
fn file(section: &Section<'_, '_>, key: &'static str) -> Option<std::path::PathBuf> {
    let field = section.plain(key)?;
    if section.desk.files.is_disk() {
        server::check_pem(section, &field.value, &field.spot);
    }
    Some(section.desk.files.resolve(&field.value))
}
