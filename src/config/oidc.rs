//! `[server.oidc]`: the OIDC provider where people log in, and what those it knows may do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::egress;
use super::read::{Field, Section};
use crate::account::{self, Grant, Role};
use crate::deliver::egress::{Egress, Names};
use crate::deliver::oidc::{Provider, Settings, fault_of_address};
use crate::deliver::tls::Tls;
use crate::deliver::{self, BuildError, RESPONSE_BYTES_MAX, Target, TargetConfig};
use crate::secret::Text;

/// Where people come back to.
const BACK: &str = "/login/oidc/back";
/// More of them are a directory's work.
const GRANTS_MAX: usize = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// `[server.oidc]`.
#[derive(Clone, Debug)]
pub struct Oidc {
    /// Who knows people.
    pub provider: Arc<Provider>,
    /// What they may do.
    pub grants: Vec<Grant>,
    /// By what it is told from another: whoever logged in by other rules logs in anew.
    pub terms: [u8; 32],
}

/// Reads the section. `admin` is where people reach the admin listener, and whether by TLS.
pub(super) fn oidc(section: Section<'_, '_>, admin: (SocketAddr, bool), egress: &Egress) -> Option<Oidc> {
    let issuer = section.required("issuer");
    if let Some(issuer) = &issuer {
        let fault = fault_of_address(&issuer.value).or_else(|| {
            issuer.value.contains('?').then_some("must have no query: it is what the provider calls itself")
        });
        if let Some(fault) = fault {
            section.desk.error(&issuer.spot, format!("{:?} {fault}", issuer.value));
        }
    }
    let client_id = section.required("client_id");
    let secret = section.text("client_secret");
    if let Some(secret) = secret.as_ref().filter(|secret| secret.value.is_plain()) {
        let reason = "stands in clear; write ${NAME} or ${file:PATH}, so that it is never stored or shown";
        section.desk.warning(&secret.spot, reason);
    }
    let redirect_url = redirect_url(&section, admin);
    let scopes = scopes(&section);
    let role_claim = section.required("role_claim");
    let name_claim = section.plain("name_claim").map_or_else(|| "preferred_username".to_owned(), |field| field.value);
    let grants = grants(&section);
    let proxy = section.text("proxy");
    if let Some(issuer) = issuer.as_ref().filter(|_| section.desk.files.is_disk()) {
        let through = proxy.as_ref().and_then(|proxy| deliver::proxy_url(&proxy.value));
        egress::foresee(&section, egress, &issuer.spot, &issuer.value, through.as_ref());
    }
    let target = target(&section, proxy, egress);
    section.finish();
    let settings = Settings {
        issuer: issuer?.value,
        client_id: client_id?.value,
        client_secret: secret.map(|secret| secret.value),
        redirect_url: redirect_url?,
        scopes,
        role_claim: role_claim?.value,
        name_claim,
    };
    let terms = account::fingerprint(&format!("{settings:?} {grants:?}"));
    // A stored configuration is not what people log in by.
    let provider = Provider::new(settings, target?).ok()?;
    Some(Oidc { provider: Arc::new(provider), grants, terms })
}

/// Where the provider sends people back to: as it is written, or where the admin listener is.
fn redirect_url(section: &Section<'_, '_>, (listen, is_tls): (SocketAddr, bool)) -> Option<String> {
    let Some(field) = section.plain("redirect_url") else {
        if section.has("redirect_url") {
            return None;
        }
        if listen.ip().is_unspecified() || listen.port() == 0 {
            let reason = format!(
                "key `redirect_url` is missing: {listen} is no address for a browser; write \
                 \"https://omgate.example.com:8081{BACK}\", as the provider has it registered"
            );
            section.desk.error(&section.spot, reason);
            return None;
        }
        let scheme = if is_tls { "https" } else { "http" };
        return Some(format!("{scheme}://{listen}{BACK}"));
    };
    let fault = fault_of_address(&field.value).map(str::to_owned).or_else(|| {
        let path = field.value.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let is_back = path.is_some_and(|(_, path)| path == &BACK[1..]);
        (!is_back).then(|| format!("must end with {BACK} and nothing else"))
    });
    if let Some(fault) = fault {
        section.desk.error(&field.spot, format!("{:?} {fault}", field.value));
        return None;
    }
    Some(field.value)
}

fn scopes(section: &Section<'_, '_>) -> Vec<String> {
    let Some(list) = section.list("scopes") else {
        return ["openid", "profile"].map(str::to_owned).to_vec();
    };
    let mut scopes = vec!["openid".to_owned()];
    for field in list {
        let is_word = !field.value.is_empty() && field.value.chars().all(|c| c.is_ascii_graphic() && c != '"');
        if !is_word {
            section.desk.error(&field.spot, format!("{:?} is no scope: one word each", field.value));
        } else if !scopes.contains(&field.value) {
            scopes.push(field.value);
        }
    }
    scopes
}

fn grants(section: &Section<'_, '_>) -> Vec<Grant> {
    let sections = section.sections("grant");
    if let Some(section) = sections.get(GRANTS_MAX) {
        section.desk.error(&section.spot, format!("there may be at most {GRANTS_MAX} grants"));
    }
    if !section.has("grant") {
        let reason = "lets nobody in without a [[server.oidc.grant]]: which value of role_claim may do what?";
        section.desk.error(&section.spot, reason);
    }
    let mut grants: Vec<Grant> = Vec::new();
    for section in sections {
        let value = section.required("value");
        let (_, rights) = super::account::role_and_rights(&section);
        if !section.has("role") {
            let roles = Role::ALL.map(Role::as_str).join(", ");
            section.desk.error(&section.spot, format!("key `role` is missing: one of {roles}"));
        }
        if let Some(value) = value {
            if grants.iter().any(|other| other.value == value.value) {
                section.desk.error(&value.spot, format!("there is another grant for {:?}", value.value));
            }
            grants.push(Grant { value: value.value, rights });
        }
        section.finish();
    }
    grants
}

fn target(section: &Section<'_, '_>, proxy: Option<Field<Text>>, egress: &Egress) -> Option<Target> {
    let ca = section.plain("ca");
    if let Some(ca) = &ca
        && section.desk.files.is_disk()
    {
        super::server::check_pem(section, &ca.value, &ca.spot);
    }
    let config = TargetConfig {
        name: "server.oidc".to_owned(),
        auth: None,
        security: None,
        connect_timeout: CONNECT_TIMEOUT,
        response_bytes_max: RESPONSE_BYTES_MAX,
        tls: Tls { ca: ca.map(|field| section.desk.files.resolve(&field.value)), ..Tls::default() },
        proxy: proxy.map(|field| field.value),
        egress: egress.clone(),
        names: Names::default(),
    };
    match Target::new(config) {
        Ok(target) => Some(target),
        Err(_) if section.desk.has_failed() || !section.desk.files.is_disk() => None,
        Err(BuildError::Proxy { proxy, .. }) => {
            let reason = format!("{proxy:?} is no usable address; write http://host:port, or https, socks5 or socks5h");
            section.desk.error(&section.spot_of("proxy"), reason);
            None
        }
        Err(BuildError::Authorities { path, reason, .. }) => {
            let reason = format!("reading the certificate authorities from {}: {reason}", path.display());
            section.desk.error(&section.spot_of("ca"), reason);
            None
        }
        Err(error) => {
            section.desk.error(&section.spot, error.to_string());
            None
        }
    }
}
