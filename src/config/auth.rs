//! `auth` of a destination: how it knows us.

use std::path::Path;
use std::sync::Arc;

use url::{Host, Url};

use super::file;
use super::read::{Field, Section, Spot};
use crate::deliver::auth::digest::Digest;
use crate::deliver::auth::jwt::Assertion;
use crate::deliver::auth::ntlm::Ntlm;
use crate::deliver::auth::oauth::{OAuth, Settings, Style};
use crate::deliver::auth::webhook::{KEY_BYTES_MIN, Webhook, key_bytes};
use crate::deliver::auth::{Auth, AuthError};
use crate::secret::Text;
use crate::signing::Key;

/// The kinds, by the key that says them.
const KINDS: [&str; 7] = ["basic", "bearer", "header", "digest", "oauth2", "hmac", "ntlm"];
const IN_CLEAR: &str = "stands in clear; write ${NAME} or ${file:PATH}, so that it is never stored or shown";

/// Reads the table; what is wrong in it is reported.
pub(super) fn auth(section: Section<'_, '_>) -> Option<Field<Auth>> {
    let spot = section.spot.clone();
    // Each is read, so that what is wrong in one is reported whatever else is there.
    let kinds = [
        section.section("basic").and_then(|table| user(table, |username, password| Auth::Basic { username, password })),
        bearer(&section),
        header(&section),
        section
            .section("digest")
            .and_then(|table| user(table, |name, password| Auth::Digest(Arc::new(Digest::new(name, password))))),
        section.section("oauth2").and_then(oauth),
        section.section("hmac").and_then(hmac),
        section.section("ntlm").and_then(ntlm),
    ];
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| section.has(kind)).collect();
    match given.as_slice() {
        [] => section.desk.error(
            &spot,
            "is empty; write { basic = { username = …, password = … } }, { bearer = … }, { header = …, value = … }, { digest \
             = … }, { oauth2 = … }, { hmac = … } or { ntlm = … }",
        ),
        [_] => {}
        several => section.desk.error(&spot, format!("has {}; one of them", several.join(" and "))),
    }
    section.finish();
    let value = kinds.into_iter().flatten().next()?;
    Some(Field { value, spot })
}

fn bearer(section: &Section<'_, '_>) -> Option<Auth> {
    let token = section.text("bearer")?;
    warn_of_clear(section, &token);
    Some(Auth::Bearer { token: token.value })
}

/// User name and password, for Basic and Digest.
fn user(table: Section<'_, '_>, made: impl Fn(Text, Text) -> Auth) -> Option<Auth> {
    let (username, password) = (needed(&table, "username"), needed(&table, "password"));
    if let Some(password) = &password {
        warn_of_clear(&table, password);
    }
    table.finish();
    Some(made(username?.value, password?.value))
}

fn header(section: &Section<'_, '_>) -> Option<Auth> {
    let name = section.plain("header");
    let value = section.text("value");
    if !section.has("header") {
        if let Some(value) = &value {
            section.desk.error(&value.spot, "has no effect without header");
        }
        return None;
    }
    let name = name?;
    if let Err(reason) = super::destination::check_header(&name.value) {
        section.desk.error(&name.spot, reason);
        return None;
    }
    if !section.has("value") {
        section.desk.error(&name.spot, "needs value: write { header = \"X-Api-Key\", value = \"${NAME}\" }");
    }
    let value = value?;
    warn_of_clear(section, &value);
    Some(Auth::Header { name: name.value, value: value.value })
}

fn ntlm(table: Section<'_, '_>) -> Option<Auth> {
    let (username, password) = (needed(&table, "username"), needed(&table, "password"));
    if let Some(password) = &password {
        warn_of_clear(&table, password);
    }
    if let Some(username) = username.as_ref().filter(|field| field.value.reveal().contains('\\')) {
        table.desk.error(&username.spot, "holds a domain too; write it as domain");
    }
    let value = |key| table.text(key).map(|field| field.value);
    let (domain, workstation) = (value("domain"), value("workstation"));
    table.finish();
    Some(Auth::Ntlm(Ntlm { username: username?.value, password: password?.value, domain, workstation }))
}

fn hmac(table: Section<'_, '_>) -> Option<Auth> {
    let secrets = signing_secrets(&table);
    if !table.has("secret") {
        table.desk.error(&table.spot, "key `secret` is missing");
    }
    table.finish();
    Some(Auth::Webhook(Webhook { secrets: secrets? }))
}

/// `secret` of what is signed as Standard Webhooks does; one, or two while it is being changed.
pub(super) fn signing_secrets(table: &Section<'_, '_>) -> Option<Vec<Text>> {
    let secrets = table.texts("secret");
    for secret in secrets.iter().flatten() {
        warn_of_clear(table, secret);
        if !is_known(&secret.value) {
            continue;
        }
        match key_bytes(&secret.value) {
            Some(bytes) if bytes < KEY_BYTES_MIN => {
                let reason = format!(
                    "is a key of {bytes} bytes, which can be guessed; Standard Webhooks has {KEY_BYTES_MIN} to 64"
                );
                table.desk.warning(&secret.spot, reason);
            }
            Some(_) | None => {}
        }
    }
    Some(secrets?.into_iter().map(|field| field.value).collect())
}

fn oauth(table: Section<'_, '_>) -> Option<Auth> {
    let token_url = needed(&table, "token_url");
    if let Some(url) = &token_url {
        warn_of_plain_http(&table, url, "credentials and tokens");
    }
    let secret = table.text("client_secret");
    if let Some(secret) = &secret {
        warn_of_clear(&table, secret);
    }
    let value = |key| table.text(key).map(|field| field.value);
    let (client_id, scope, audience) = (value("client_id"), value("scope"), value("audience"));
    let styles = [("header", Style::Header), ("body", Style::Body)];
    let style = table.choice("style", &styles).map(|field| field.value).unwrap_or_default();
    let assertion = table.section("jwt_bearer").map(|jwt| assertion(jwt, client_id.as_ref(), token_url.as_ref()));
    let spot = table.spot.clone();
    let desk = table.desk;
    table.finish();
    let assertion = match assertion {
        Some(assertion) => Some(assertion?),
        None => None,
    };
    let secret = secret.map(|field| field.value);
    let url = token_url?;
    let (url, url_spot) = (url.value, url.spot);
    let settings = Settings { token_url: url, client_id, client_secret: secret, scope, audience, style, assertion };
    match OAuth::new(settings) {
        Ok(oauth) => Some(Auth::OAuth(Arc::new(oauth))),
        Err(error @ AuthError::Address(_)) => {
            // A secret that could not be read was reported where it stands.
            if !desk.has_failed() {
                desk.error(&url_spot, error.to_string());
            }
            None
        }
        Err(error) => {
            desk.error(&spot, error.to_string());
            None
        }
    }
}

/// `jwt_bearer`. `iss` is the client and `aud` the token endpoint where nothing else is said.
fn assertion(table: Section<'_, '_>, client: Option<&Text>, token_url: Option<&Field<Text>>) -> Option<Assertion> {
    let key = needed(&table, "key").and_then(|field| key(&table, &field));
    let value = |name| table.text(name).map(|field| field.value);
    let issuer = value("issuer").or_else(|| client.cloned());
    if issuer.is_none() && !table.has("issuer") {
        table.desk.error(&table.spot, "key `issuer` is missing, and there is no client_id to take in its place");
    }
    let audience = value("audience").or_else(|| token_url.map(|field| field.value.clone()));
    let (subject, key_id) = (value("subject"), value("key_id"));
    table.finish();
    Some(Assertion { key: key?, issuer: issuer?, subject, audience: audience?, key_id })
}

/// A private key: its PEM text, or the path of a file that holds it.
pub(super) fn key(table: &Section<'_, '_>, field: &Field<Text>) -> Option<Key> {
    let text = field.value.reveal();
    let is_pem = text.contains("-----BEGIN");
    if is_pem && field.value.is_plain() {
        table.desk.warning(&field.spot, IN_CLEAR);
    }
    // A stored configuration makes no calls, and its files may be gone.
    if !(is_pem || is_known(&field.value) && table.desk.files.is_disk()) {
        return Some(Key::unknown());
    }
    let pem = if is_pem {
        text
    } else {
        match table.desk.files.disk_bytes(Path::new(text.trim())) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if field.value.is_plain() => {
                let reason = format!("cannot read {text:?}: {}; write the path of a PEM file", file::reason(&error));
                table.desk.error(&field.spot, reason);
                return None;
            }
            Err(_) => String::new(),
        }
    };
    match Key::from_pem(&pem) {
        Ok(key) => Some(key),
        Err(error) => {
            table.desk.error(&field.spot, error.to_string());
            None
        }
    }
}

/// Whether the secrets in a text could be read. Where only its form is looked at, a reference stands for itself.
pub(super) fn is_known(text: &Text) -> bool {
    text.is_plain() || (text.reveal() != text.masked() && !text.reveal().is_empty())
}

fn needed(section: &Section<'_, '_>, key: &'static str) -> Option<Field<Text>> {
    let field = section.text(key);
    if field.is_none() && !section.has(key) {
        section.desk.error(&section.spot, format!("key `{key}` is missing"));
    }
    field
}

pub(super) fn warn_of_clear(section: &Section<'_, '_>, secret: &Field<Text>) {
    if secret.value.is_plain() {
        section.desk.warning(&secret.spot, IN_CLEAR);
    }
}

/// What goes over it should be read by nobody else.
pub(super) fn warn_of_plain_http(section: &Section<'_, '_>, url: &Field<Text>, what: &str) {
    let Ok(parsed) = Url::parse(url.value.reveal().trim()) else { return };
    let is_here = match parsed.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if parsed.scheme() == "http" && !is_here {
        let spot = Spot { key: url.spot.key.clone(), span: url.spot.span.clone() };
        section.desk.warning(&spot, format!("sends {what} in clear; write https://"));
    }
}
