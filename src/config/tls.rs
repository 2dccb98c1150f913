//! `[server.tls]` and `[server.proxy]`: whom the public listener proves itself to, and whom it believes.

use std::path::Path;
use std::sync::Arc;

use super::read::{Field, Section};
use super::server::check_pem;
use crate::certificate::{self, Pin};
use crate::receive::client::{Clients, Rules};
use crate::receive::network::{self, Networks};
use crate::receive::proxy::{Header, Protocol, Proxy};
use crate::receive::tls::{self, TlsError};
use crate::receive::{ClientAuth, Tls};

/// Authorities that issue certificates to anybody: trusting one of them alone lets anybody in.
const PUBLIC_AUTHORITIES: [&str; 8] =
    ["DigiCert", "Let's Encrypt", "ISRG", "GlobalSign", "Sectigo", "Entrust", "Amazon", "GoDaddy"];
/// Where proxies say who sent, unless it is said.
const ADDRESS_HEADER: &str = "X-Forwarded-For";

/// `[server.tls]`.
pub(super) fn tls(section: Section<'_, '_>) -> Option<Tls> {
    let rules = rules(&section, ClientAuth::Off);
    pair(section, rules)
}

/// `[server.admin_tls]`: people show no certificate, they log in.
pub(super) fn admin(section: Section<'_, '_>) -> Option<Tls> {
    pair(section, Some(Rules::default()))
}

/// A certificate and its key, which must both be there.
fn pair(section: Section<'_, '_>, rules: Option<Rules>) -> Option<Tls> {
    let certificate = pem(&section, "certificate");
    let private_key = pem(&section, "private_key");
    for (key, found) in [("certificate", &certificate), ("private_key", &private_key)] {
        if found.is_none() && !section.has(key) {
            section.desk.error(&section.spot, format!("key `{key}` is missing"));
        }
    }
    let files = section.desk.files;
    let tls = certificate.zip(private_key).zip(rules).map(|((certificate, private_key), clients)| Tls {
        certificate: files.resolve(&certificate.value),
        private_key: files.resolve(&private_key.value),
        clients,
        served: None,
    });
    let tls = tls.map(|tls| Tls { served: served(&section, &tls).map(Arc::new), ..tls });
    section.finish();
    tls
}

/// What the files hold, where there are files: what is wrong with them is told before it is served.
fn served(section: &Section<'_, '_>, tls: &Tls) -> Option<tls::Served> {
    if !section.desk.files.is_disk() || section.desk.has_failed() {
        return None;
    }
    match tls::serve(tls, &|path| section.desk.files.disk_bytes(path)) {
        Ok(served) => {
            for fault in certificate::faults(&served.chain) {
                section.desk.warning(&section.spot_of("certificate"), fault);
            }
            Some(served)
        }
        Err(error) => {
            let key = match &error {
                TlsError::File { path, .. } if *path == tls.private_key => "private_key",
                TlsError::File { path, .. } if *path == tls.certificate => "certificate",
                TlsError::Pair { .. } => "certificate",
                TlsError::File { .. } | TlsError::NoClients => "client_ca",
            };
            section.desk.error(&section.spot_of(key), error.to_string());
            None
        }
    }
}

/// `[server.proxy]`. `tls` has the rules for client certificates that count where this section has none.
pub(super) fn proxy(section: Section<'_, '_>, tls: Option<&Tls>) -> Option<Proxy> {
    let addresses = networks(&section, "addresses");
    if !section.has("addresses") {
        let reason = "key `addresses` is missing: which machines are believed when they speak for others?";
        section.desk.error(&section.spot, reason);
    }
    let words = [("v1", Protocol::V1), ("v2", Protocol::V2), ("any", Protocol::Any)];
    let protocol = section.choice("protocol", &words).map(|field| field.value);
    let address_header = match (section.parsed("address_header", address_header), protocol) {
        (Some(field), _) => Some(field.value),
        // What it would name, the protocol has said already.
        (None, Some(_)) => None,
        (None, None) => Header::parse(ADDRESS_HEADER).ok(),
    };
    let certificate_header = section.parsed("certificate_header", Header::parse);
    if protocol.is_some() && certificate_header.is_some() {
        let reason = "a proxy that only passes bytes on would pass on this header too, whoever wrote it: with protocol, be sure \
                      that the proxy reads HTTP and replaces the header";
        section.desk.warning(&section.spot_of("certificate_header"), reason);
    }
    let clients = proxy_clients(&section, tls, section.has("certificate_header"));
    section.finish();
    Some(Proxy {
        addresses: addresses?,
        address_header,
        certificate_header: certificate_header.map(|field| field.value),
        protocol,
        clients,
    })
}

fn address_header(text: &str) -> Result<Header, String> {
    if text.eq_ignore_ascii_case("forwarded") {
        return Err("is not read (RFC 7239); let the proxy write X-Forwarded-For, or a header with the address alone"
            .to_owned());
    }
    Header::parse(text)
}

/// By which rules the certificates in a proxy's header are judged.
fn proxy_clients(section: &Section<'_, '_>, tls: Option<&Tls>, has_header: bool) -> Option<Arc<Clients>> {
    let own = ["client_auth", "client_ca", "client_names", "client_pins"].into_iter().find(|key| section.has(key));
    if !has_header {
        // Known all the same.
        ["client_auth", "client_ca"].into_iter().for_each(|key| drop(section.plain(key)));
        ["client_names", "client_pins"].into_iter().for_each(|key| drop(section.list(key)));
        if let Some(key) = own {
            let reason =
                "has no effect without certificate_header: in which header does the proxy hand on the certificate?";
            section.desk.error(&section.spot_of(key), reason);
        }
        return None;
    }
    let rules = match (own, tls) {
        (None, Some(tls)) if tls.clients.auth != ClientAuth::Off => tls.clients.clone(),
        _ => rules(section, ClientAuth::Required)?,
    };
    if section.desk.has_failed() {
        return None;
    }
    match Clients::new(&rules, &|path| section.desk.files.disk_bytes(path)) {
        Ok(clients) => clients.map(Arc::new),
        // A stored configuration is read for other ends too; if it comes to receiving by it, nobody is let in.
        Err(_) if !section.desk.files.is_disk() => Some(Arc::new(Clients::nobody())),
        Err(error) => {
            section.desk.error(&section.spot_of("client_ca"), error.to_string());
            None
        }
    }
}

/// `client_auth`, `client_ca`, `client_names` and `client_pins`.
fn rules(section: &Section<'_, '_>, otherwise: ClientAuth) -> Option<Rules> {
    let choices = [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    let auth = section.choice("client_auth", &choices).map_or(otherwise, |field| field.value);
    let ca = pem(section, "client_ca");
    let names = section.list("client_names").unwrap_or_default();
    let pins = pins(section);
    let (has_ca, has_pins) = (section.has("client_ca"), section.has("client_pins"));
    if auth != ClientAuth::Off && !has_ca && !has_pins {
        let reason = "needs client_ca or client_pins: whose certificates are accepted?";
        section.desk.error(&section.spot_of("client_auth"), reason);
    }
    for key in ["client_ca", "client_names", "client_pins"] {
        if auth == ClientAuth::Off && section.has(key) {
            let reason = "has no effect while client_auth is off; set client_auth = \"required\"";
            section.desk.error(&section.spot_of(key), reason);
        }
    }
    for (key, is_empty) in [("client_names", names.is_empty()), ("client_pins", pins.is_empty())] {
        if is_empty && section.list_is_empty(key) {
            section.desk.error(&section.spot_of(key), "is empty: leave it out, or name who may send");
        }
    }
    if section.has("client_names") && !has_ca {
        let reason = "needs client_ca: a name counts only where somebody vouches for it";
        section.desk.error(&section.spot_of("client_names"), reason);
    }
    if has_ca && has_pins && names.is_empty() {
        let reason = "lets nobody in beside client_pins: other certificates of it are taken only by client_names";
        section.desk.warning(&section.spot_of("client_ca"), reason);
    }
    if let Some(ca) = ca.as_ref().filter(|_| !has_pins && names.is_empty()) {
        warn_of_public_authority(section, ca);
    }
    Some(Rules {
        auth,
        authorities: ca.map(|field| section.desk.files.resolve(&field.value)),
        names: names.into_iter().map(|field| field.value).collect(),
        pins,
    })
}

fn pins(section: &Section<'_, '_>) -> Vec<Pin> {
    let mut pins = Vec::new();
    for item in section.list("client_pins").unwrap_or_default() {
        match Pin::parse(&item.value) {
            Ok(pin) => pins.push(pin),
            Err(reason) => section.desk.error(&item.spot, reason),
        }
    }
    pins
}

/// A list of networks.
pub(super) fn networks(section: &Section<'_, '_>, key: &'static str) -> Option<Networks> {
    let list = section.list(key)?;
    if list.is_empty() {
        section.desk.error(&section.spot_of(key), "is empty: nobody could send");
    }
    let mut networks = Vec::new();
    for item in list {
        match network::parse(&item.value) {
            Ok(network) => networks.push(network),
            Err(reason) => section.desk.error(&item.spot, reason),
        }
    }
    Some(Networks::new(networks))
}

/// A PEM file that must be readable. It is no part of the stored configuration: it is read again when it changes.
fn pem(section: &Section<'_, '_>, key: &'static str) -> Option<Field<String>> {
    let field = section.plain(key)?;
    if section.desk.files.is_disk() {
        check_pem(section, &field.value, &field.spot);
    }
    Some(field)
}

fn warn_of_public_authority(section: &Section<'_, '_>, ca: &Field<String>) {
    let Ok(bytes) = section.desk.files.disk_bytes(Path::new(&ca.value)) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let Some(name) = PUBLIC_AUTHORITIES.into_iter().find(|name| names_authority(&text, name)) else { return };
    let reason = format!(
        "{:?} holds a public authority ({name}): anybody with a certificate of it is let in; organizations still \
         decides whose messages are taken",
        ca.value
    );
    section.desk.warning(&ca.spot, reason);
}

/// Whether a certificate of this authority is in a PEM text: names stand as plain text in the DER.
fn names_authority(pem: &str, name: &str) -> bool {
    use base64::Engine;
    pem.split("-----BEGIN CERTIFICATE-----").skip(1).any(|block| {
        let encoded: String =
            block.split("-----END").next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
        base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .is_ok_and(|der| der.windows(name.len()).any(|window| window == name.as_bytes()))
    })
}
