//! `[alarms]` and `[[notify]]`: what is an alarm, and who is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::auth::{is_known, signing_secrets, warn_of_clear, warn_of_plain_http};
use super::destination::tls::tls;
use super::read::{Field, Section, Spot};
use super::{egress, value};
use crate::deliver::auth::Auth;
use crate::deliver::auth::webhook;
use crate::deliver::egress::{Egress, Names};
use crate::deliver::notice::mail::{self, Mailbox, Privacy, Settings};
use crate::deliver::notice::program::Program;
use crate::deliver::notice::{Channel, Webhook};
use crate::deliver::{self, BuildError, Target, TargetConfig};
use crate::telemetry::ALARMS;

/// More of them are a paging service's work.
const CHANNELS_MAX: usize = 100;
/// What is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// `[alarms]` and `[[notify]]`.
#[derive(Clone, Debug)]
pub struct Alarming {
    /// `digest`: how often what stands is told again; none: never. Default 1 h.
    pub digest: Option<Duration>,
    /// `calm`: what ends and begins again within it is one alarm. Default 2 min.
    pub calm: Duration,
    /// `oldest`: a delivery that is not settled for longer is an alarm; none: never. Default 1 d.
    pub oldest: Option<Duration>,
    /// `disk_free`: less free space than this beside the store is an alarm. Default 1 GiB.
    pub disk_free: u64,
    /// `[[notify]]`, in order.
    pub channels: Vec<Notify>,
}

impl Default for Alarming {
    fn default() -> Self {
        Self { digest: Some(HOUR), calm: 2 * MINUTE, oldest: Some(DAY), disk_free: 1 << 30, channels: Vec::new() }
    }
}

/// Who is told of alarms.
#[derive(Clone, Debug)]
pub struct Notify {
    /// What it is called.
    pub name: String,
    /// The alarms that it is told of; none: all.
    pub alarms: Option<BTreeSet<String>>,
    /// How it is told.
    pub channel: Channel,
}

impl Notify {
    /// Whether it is told of an alarm.
    #[must_use]
    pub fn hears(&self, alarm: &str) -> bool {
        self.alarms.as_ref().is_none_or(|alarms| alarms.contains(alarm))
    }
}

/// Reads both. `gateway` is what the gateway calls itself.
pub(super) fn alarms(root: &Section<'_, '_>, egress: &Egress, gateway: &str) -> Alarming {
    let mut alarming = root.section("alarms").map_or_else(Alarming::default, thresholds);
    let sections = root.sections("notify");
    if let Some(section) = sections.get(CHANNELS_MAX) {
        section.desk.error(&section.spot, format!("there may be at most {CHANNELS_MAX} channels"));
    }
    let mut names: Vec<String> = Vec::new();
    for section in sections {
        let name = section.required("name");
        if let Some(name) = &name {
            if names.contains(&name.value) {
                section.desk.error(&name.spot, format!("there are two channels named {:?}", name.value));
            }
            names.push(name.value.clone());
        }
        let alarms = filter(&section);
        let channel = channel(&section, egress, gateway);
        section.finish();
        if let (Some(name), Some(channel)) = (name, channel) {
            alarming.channels.push(Notify { name: name.value, alarms, channel });
        }
    }
    alarming
}

fn thresholds(section: Section<'_, '_>) -> Alarming {
    let default = Alarming::default();
    let alarming = Alarming {
        digest: or_never(&section, "digest", MINUTE..=7 * DAY, default.digest),
        calm: section.duration("calm", Duration::ZERO..=HOUR).map_or(default.calm, |field| field.value),
        oldest: or_never(&section, "oldest", SECOND..=365 * DAY, default.oldest),
        disk_free: section.size("disk_free", 0..=1 << 50).map_or(default.disk_free, |bytes| bytes as u64),
        channels: Vec::new(),
    };
    section.finish();
    alarming
}

/// A duration, or the word `never`.
fn or_never(
    section: &Section<'_, '_>,
    key: &'static str,
    bounds: std::ops::RangeInclusive<Duration>,
    default: Option<Duration>,
) -> Option<Duration> {
    let read = section.parsed(key, |text| {
        if text == "never" {
            return Ok(None);
        }
        let (from, to) = (value::written(*bounds.start()), value::written(*bounds.end()));
        let found = value::duration(text)?;
        if bounds.contains(&found) {
            Ok(Some(found))
        } else {
            Err(format!("must be from {from} to {to}, or \"never\", not {}", value::written(found)))
        }
    });
    read.map_or(default, |field| field.value)
}

/// `alarms` of a channel.
fn filter(section: &Section<'_, '_>) -> Option<BTreeSet<String>> {
    let list = section.list("alarms")?;
    if section.list_is_empty("alarms") {
        section.desk.error(&section.spot_of("alarms"), "names none; leave it out to be told of all");
    }
    let mut names = BTreeSet::new();
    for field in list {
        if ALARMS.contains(&field.value.as_str()) {
            names.insert(field.value);
        } else {
            let reason = format!("there is no alarm {:?}; there are {}", field.value, ALARMS.join(", "));
            section.desk.unknown(&field.spot, reason, &field.value, ALARMS.into_iter());
        }
    }
    Some(names)
}

#[derive(Clone, Copy)]
enum Kind {
    Webhook,
    Email,
    Command,
}

/// Keys, and the kind that they belong to.
const OWN: [(&str, &[&str]); 3] = [
    ("webhook", &["url", "secret", "proxy", "tls"]),
    ("email", &["server", "privacy", "username", "password", "from", "to"]),
    ("command", &["command"]),
];

fn channel(section: &Section<'_, '_>, egress: &Egress, gateway: &str) -> Option<Channel> {
    let kinds = [("webhook", Kind::Webhook), ("email", Kind::Email), ("command", Kind::Command)];
    if !section.has("kind") {
        section.required("kind");
    }
    let kind = section.has("kind").then(|| section.choice("kind", &kinds)).flatten().map(|field| field.value);
    let timeout = section.duration("timeout", SECOND..=MINUTE).map_or(30 * SECOND, |field| field.value);
    let of = match kind {
        Some(Kind::Webhook) => "webhook",
        Some(Kind::Email) => "email",
        Some(Kind::Command) => "command",
        None => "",
    };
    for (other, keys) in OWN.iter().filter(|(other, _)| *other != of) {
        for key in *keys {
            // Of an unknown kind nothing more is said.
            if kind.is_some() {
                section.refuse(key, &format!("belongs to kind = {other:?}"));
            } else {
                section.ignore(key);
            }
        }
    }
    match kind {
        Some(Kind::Webhook) => webhook(section, egress, timeout).map(|webhook| Channel::Webhook(Box::new(webhook))),
        Some(Kind::Email) => email(section, egress, timeout, gateway).map(|mailbox| Channel::Email(Box::new(mailbox))),
        Some(Kind::Command) => {
            section.refuse("ca", "belongs to kind = \"webhook\" or \"email\"");
            program(section, timeout).map(Channel::Command)
        }
        None => {
            section.ignore("ca");
            None
        }
    }
}

fn webhook(section: &Section<'_, '_>, egress: &Egress, timeout: Duration) -> Option<Webhook> {
    section.required("url");
    let url = section.text("url").filter(|url| !url.value.reveal().trim().is_empty());
    let secrets = signing_secrets(section);
    let proxy = section.text("proxy");
    let tls = tls(section);
    let url = url?;
    let text = url.value.reveal();
    let parsed = url::Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    if parsed.is_none_or(|url| !url.username().is_empty() || url.password().is_some()) && is_known(&url.value) {
        let reason = "is no http:// or https:// address without credentials";
        section.desk.error(&url.spot, format!("{:?} {reason}", url.value.masked()));
        return None;
    }
    warn_of_plain_http(section, &url, "what stands in alarms");
    if section.desk.files.is_disk() {
        let through = proxy.as_ref().and_then(|proxy| deliver::proxy_url(&proxy.value));
        egress::foresee(section, egress, &url.spot, &text, through.as_ref());
    }
    let config = TargetConfig {
        name: section.spot.key.clone(),
        auth: secrets.map(|secrets| Auth::Webhook(webhook::Webhook { secrets })),
        security: None,
        connect_timeout: timeout.min(10 * SECOND),
        response_bytes_max: ANSWER_BYTES_MAX,
        tls,
        proxy: proxy.as_ref().map(|field| field.value.clone()),
        egress: egress.clone(),
        names: Names::default(),
    };
    let target = target(section, config, proxy.map(|field| field.spot))?;
    Some(Webhook { url: url.value, target, timeout })
}

fn target(section: &Section<'_, '_>, config: TargetConfig, proxy: Option<Spot>) -> Option<Target> {
    match Target::new(config) {
        Ok(target) => Some(target),
        // A stored configuration tells nobody; what is wrong elsewhere was reported there.
        Err(_) if section.desk.has_failed() || !section.desk.files.is_disk() => None,
        Err(error) => {
            let spot = match &error {
                BuildError::Proxy { .. } => proxy.unwrap_or_else(|| section.spot.clone()),
                BuildError::Auth { .. } => section.spot_of("secret"),
                BuildError::Authorities { .. } => section.spot_of("ca"),
                BuildError::Tls { .. } => section.spot_of("tls"),
                BuildError::Security { .. } | BuildError::Client { .. } => section.spot.clone(),
            };
            section.desk.error(&spot, error.to_string());
            None
        }
    }
}

fn email(section: &Section<'_, '_>, egress: &Egress, timeout: Duration, gateway: &str) -> Option<Mailbox> {
    let words = [("starttls", Privacy::StartTls), ("tls", Privacy::Tls), ("none", Privacy::None)];
    let privacy = section.choice("privacy", &words).map_or(Privacy::StartTls, |field| field.value);
    let server = section.required("server").and_then(|field| server(section, field, privacy));
    let ca = section.plain("ca");
    if let Some(ca) = ca.as_ref().filter(|_| section.desk.files.is_disk()) {
        super::server::check_pem(section, &ca.value, &ca.spot);
    }
    let (username, password) = (section.text("username"), section.text("password"));
    for (key, other) in [("username", "password"), ("password", "username")] {
        if section.has(key) && !section.has(other) {
            section.desk.error(&section.spot_of(key), format!("needs {other}"));
        }
    }
    if let Some(password) = &password {
        warn_of_clear(section, password);
    }
    let address = |field: &Field<String>| {
        if let Err(reason) = mail::check_address(&field.value) {
            section.desk.error(&field.spot, reason);
        }
    };
    let from = section.required("from");
    let to = section.list("to").unwrap_or_default();
    from.iter().chain(&to).for_each(address);
    if to.is_empty() && (!section.has("to") || section.list_is_empty("to")) {
        section.desk.error(&section.spot_of("to"), "who is told? Write to = [\"ops@example.com\"]");
    }
    let (server, from) = (server?, from?);
    check_privacy(section, &server, privacy, username.is_some());
    if section.desk.files.is_disk()
        && let Some(url) = mail::url(&server.value.0, server.value.1)
    {
        egress::foresee(section, egress, &server.spot, url.as_str(), None);
    }
    let settings = Settings {
        host: server.value.0,
        port: server.value.1,
        privacy,
        ca: ca.map(|field| section.desk.files.resolve(&field.value)),
        credentials: username.zip(password).map(|(username, password)| (username.value, password.value)),
        from: from.value,
        to: to.into_iter().map(|field| field.value).collect(),
        timeout,
        gateway: gateway.to_owned(),
    };
    match Mailbox::new(settings, egress.clone()) {
        Ok(mailbox) => Some(mailbox),
        Err(_) if section.desk.has_failed() || !section.desk.files.is_disk() => None,
        Err(reason) => {
            section.desk.error(&section.spot, reason);
            None
        }
    }
}

/// `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn server(section: &Section<'_, '_>, field: Field<String>, privacy: Privacy) -> Option<Field<(String, u16)>> {
    let text = field.value.trim();
    let url = url::Url::parse(&format!("smtp://{text}")).ok().filter(|url| {
        let has_more = !url.path().is_empty() || url.query().is_some() || url.fragment().is_some();
        !has_more && url.username().is_empty() && url.password().is_none()
    });
    let Some(host) = url.as_ref().and_then(url::Url::host_str).filter(|host| !host.is_empty()) else {
        let reason = format!("{text:?} is no mail server; write one such as \"smtp.example.com:587\"");
        section.desk.error(&field.spot, reason);
        return None;
    };
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).to_owned();
    let port = url.and_then(|url| url.port()).unwrap_or_else(|| privacy.port());
    Some(Field { value: (host, port), spot: field.spot })
}

/// What goes over a connection that anybody may read.
fn check_privacy(section: &Section<'_, '_>, server: &Field<(String, u16)>, privacy: Privacy, has_user: bool) {
    let host = server.value.0.as_str();
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if privacy != Privacy::None || is_here {
        return;
    }
    if has_user {
        let reason = "would send the password in clear; write \"starttls\" or \"tls\"";
        section.desk.error(&section.spot_of("privacy"), reason);
    } else {
        let reason = "sends what stands in alarms in clear; write \"starttls\" or \"tls\"";
        section.desk.warning(&section.spot_of("privacy"), reason);
    }
}

fn program(section: &Section<'_, '_>, timeout: Duration) -> Option<Program> {
    let words = section.list("command");
    if !section.has("command") {
        let reason =
            "key `command` is missing: the program and its arguments, such as [\"/usr/local/bin/page\", \"ops\"]";
        section.desk.error(&section.spot, reason);
    }
    let words: Vec<String> = words?.into_iter().map(|field| field.value).collect();
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        section.desk.error(&section.spot_of("command"), "names no program");
        return None;
    }
    Some(Program { command: words, folder: section.desk.files.resolve("."), timeout })
}
