//! How commands talk to a running gateway: over its admin API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value, json};

use crate::account;
use crate::admin::certificate;
use crate::clock::Timestamp;
use crate::config::{self, AdminAddress};
use crate::disk;

/// Where the gateway is.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// The configuration file: the admin address comes from there.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG", global = true)]
    config: PathBuf,
    /// The admin address, such as `http://127.0.0.1:8081`; then no configuration is read.
    #[arg(long, value_name = "URL", global = true)]
    admin: Option<String>,
    /// A token for the admin API, where one is needed.
    #[arg(long, value_name = "TOKEN", env = "OMGATE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// With --admin: a PEM file of the authorities that the gateway's certificate comes from, in place of this machine's.
    #[arg(long, value_name = "FILE", env = "OMGATE_CA", requires = "admin", global = true)]
    ca: Option<PathBuf>,
}

/// A command that has verbs, of which each asks the gateway.
#[derive(Debug, clap::Args)]
pub struct VerbArgs<V: clap::Subcommand> {
    #[command(flatten)]
    pub(in crate::cli) admin: AdminArgs,
    #[command(subcommand)]
    pub(in crate::cli) verb: V,
}

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// A longer file has more authorities than anybody trusts.
const AUTHORITIES_BYTES_MAX: u64 = 4 << 20;

/// What a person does, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct ChangeArgs {
    /// Why; kept in the gateway's audit.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// How fast many things are changed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RateArgs {
    /// Changes a second, where there are many (10,000 at the most).
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
}

/// Whether masked fields are shown in clear, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct UnmaskArgs {
    /// Show masked fields in clear. It needs the right unmask, and is noted in the gateway's audit.
    #[arg(long)]
    unmask: bool,
    /// Why; kept in the gateway's audit.
    #[arg(long, default_value = "", requires = "unmask")]
    reason: String,
}

impl UnmaskArgs {
    /// What asks for it.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        if !self.unmask {
            return Vec::new();
        }
        vec![("unmask", "true".to_owned()), ("reason", self.reason.clone())]
    }
}

/// A connection to the admin API.
pub struct Client {
    base: String,
    token: Option<String>,
    /// Of the session of an account that logged in.
    cookie: Option<String>,
    http: reqwest::Client,
}

impl AdminArgs {
    /// The configuration file that was named.
    #[must_use]
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Whether the address was named itself: then nothing is done to the store of a configuration in the gateway's place.
    #[must_use]
    pub fn names_address(&self) -> bool {
        self.admin.is_some()
    }

    /// Finds the gateway.
    ///
    /// # Errors
    /// When the configuration does not say where it is.
    pub fn client(&self) -> anyhow::Result<Client> {
        let builder =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        let (base, builder) = match &self.admin {
            Some(url) => {
                let url = url.trim_end_matches('/');
                let base = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
                (base, self.with_authorities(builder)?)
            }
            None => {
                let AdminAddress { listen, certificate } =
                    config::admin_address(&self.config).map_err(anyhow::Error::msg)?;
                let reached = reached(listen);
                match certificate {
                    None => (format!("http://{reached}"), builder),
                    Some(path) => {
                        let tls = certificate::only_to(&path).map_err(anyhow::Error::msg)?;
                        (format!("https://{reached}"), builder.tls_backend_preconfigured(tls))
                    }
                }
            }
        };
        // A variable that is set to nothing names none.
        let token = self.token.clone().filter(|token| !token.is_empty());
        if token.is_some() && !is_safe(&base) {
            bail!(
                "{base} is neither TLS nor on this machine: a token sent there could be read on the way; use https://"
            );
        }
        let http = builder.build().context("preparing the HTTP client")?;
        Ok(Client { base, token, cookie: None, http })
    }

    fn with_authorities(&self, builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::ClientBuilder> {
        let Some(path) = &self.ca else { return Ok(builder) };
        let reading = || format!("reading the authorities in {}", path.display());
        let pem = disk::read(Path::new(path), AUTHORITIES_BYTES_MAX).with_context(reading)?;
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).with_context(reading)?;
        Ok(builder.tls_certs_only(authorities))
    }
}

/// Where this machine reaches a listener: one on all addresses by way of loopback.
pub(in crate::cli) fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Whether what is sent to an address can be read by nobody else.
fn is_safe(base: &str) -> bool {
    let Ok(url) = url::Url::parse(base) else { return false };
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || is_here
}

impl Client {
    /// Logs an account in, as a browser does; what is asked from then on is asked by it.
    ///
    /// # Errors
    /// When the gateway cannot be reached, the way to it is not safe, or the name or the password is wrong.
    pub async fn log_in(&mut self, name: &str, password: &str) -> anyhow::Result<()> {
        if !is_safe(&self.base) {
            bail!("{} is neither TLS nor on this machine: a password sent there could be read on the way", self.base);
        }
        let address = format!("{}/login", self.base);
        let talking = || format!("talking to the gateway at {}: does it run?", self.base);
        let page = self.http.get(&address).send().await.map_err(reqwest::Error::without_url).with_context(talking)?;
        if page.status().is_redirection() {
            bail!("nobody logs in at {}: it has no accounts, and whoever is on this machine may do all", self.base);
        }
        let form = cookie_of(&page);
        let value = form.split_once('=').map(|(_, value)| value).unwrap_or_default();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("name", name), ("password", password), ("form", value)])
            .finish();
        let call = self.http.post(&address).header(COOKIE, &form).body(body);
        let call = call.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = call.send().await.map_err(reqwest::Error::without_url).with_context(talking)?;
        match answer.status().as_u16() {
            303 => self.cookie = Some(cookie_of(&answer)),
            401 => bail!("name or password is wrong"),
            429 => bail!("too many attempts failed; try again in some minutes"),
            status => bail!("{} answered HTTP {status} to the login of {name:?}", self.base),
        }
        Ok(())
    }

    /// Asks for `/api/v1` + `path` with a query.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.send(self.http.get(format!("{}/api/v1{path}", self.base)).query(query)).await
    }

    /// The rows of a list, page after page, until there are so many or no more.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn list(&self, path: &str, query: &[(&str, String)], wanted: u32) -> anyhow::Result<Value> {
        let mut rows = Vec::new();
        let mut url = Some(self.http.get(format!("{}/api/v1{path}", self.base)).query(query));
        while let Some(request) = url.take() {
            let (page, next) = self.ask(request).await?;
            let Value::Array(page) = page else { bail!("{} answered no list: is it the admin address?", self.base) };
            rows.extend(page);
            if rows.len() < wanted as usize {
                url = next.map(|query| self.http.get(format!("{}/api/v1{path}?{query}", self.base)));
            }
        }
        rows.truncate(wanted as usize);
        Ok(Value::Array(rows))
    }

    /// Makes a changing call.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn change(&self, path: &str, change: &ChangeArgs) -> anyhow::Result<Value> {
        self.change_until(path, change, None).await
    }

    /// Makes a changing call that ends by itself at a moment, if one is given.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn change_until(
        &self,
        path: &str,
        change: &ChangeArgs,
        until: Option<Timestamp>,
    ) -> anyhow::Result<Value> {
        let mut body = json!({"reason": change.reason, "dry_run": change.dry_run});
        if let (Some(until), Some(body)) = (until, body.as_object_mut()) {
            body.insert("until".to_owned(), json!(until));
        }
        self.post(path, &body).await
    }

    /// Makes a changing call with a body of its own.
    ///
    /// # Errors
    /// When the gateway cannot be reached or says no; in its own words.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let key = account::secret().map_err(anyhow::Error::msg)?;
        let call = self.http.post(format!("{}/api/v1{path}", self.base)).header("Idempotency-Key", key);
        self.send(call.json(body)).await
    }

    /// Makes a call; once more when the connection broke before the answer was there. A changing call has a key, by which
    /// the gateway knows it again and does it once.
    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        self.ask(request).await.map(|(value, _)| value)
    }

    /// What is answered; and what to ask for the next page, where there is one.
    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(Value, Option<String>)> {
        let request = match (&self.cookie, &self.token) {
            (Some(cookie), _) => request.header(COOKIE, cookie),
            (None, Some(token)) => request.bearer_auth(token),
            (None, None) => request,
        };
        let once_more = request.try_clone();
        let answered = match (exchange(request).await, once_more) {
            (Err(error), Some(request)) if is_broken_off(&error) => exchange(request).await,
            (answered, _) => answered,
        };
        let (status, next, body) = answered
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("talking to the gateway at {}: does it run?", self.base))?;
        let value: Value = serde_json::from_slice(&body)
            .map_err(|_| anyhow!("{} answered HTTP {status} and no JSON: is it the admin address?", self.base))?;
        if !status.is_success() {
            bail!("{}", value.get("detail").and_then(Value::as_str).unwrap_or("the gateway refused"));
        }
        Ok((value, next))
    }
}

/// The first cookie that an answer sets, as it is sent back.
fn cookie_of(answer: &reqwest::Response) -> String {
    let set = answer.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
    set.split(';').next().unwrap_or_default().to_owned()
}

/// The query of the next page, as a `Link` header names it.
fn next_page(link: &str) -> Option<&str> {
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    relation.contains("rel=\"next\"").then_some(address)?.split_once('?').map(|(_, query)| query)
}

async fn exchange(
    request: reqwest::RequestBuilder,
) -> reqwest::Result<(reqwest::StatusCode, Option<String>, bytes::Bytes)> {
    let response = request.send().await?;
    let link = response.headers().get(reqwest::header::LINK).and_then(|link| link.to_str().ok());
    let next = link.and_then(next_page).map(str::to_owned);
    Ok((response.status(), next, response.bytes().await?))
}

/// Whether a connection that was there broke, so that nobody knows whether the call was heard.
fn is_broken_off(error: &reqwest::Error) -> bool {
    let is_never_made = error.is_connect() || error.is_builder();
    !is_never_made && !error.is_timeout()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// Every command that takes a reason and has a dry run, by its words.
    fn changing(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
        for inner in command.get_subcommands() {
            let words = format!("{above} {}", inner.get_name()).trim_start().to_owned();
            let has = |id: &str| inner.get_arguments().any(|argument| argument.get_id() == id);
            if has("reason") && has("dry_run") {
                found.insert(words.clone());
            }
            changing(inner, &words, found);
        }
    }

    #[test]
    fn whatever_changes_something_takes_a_reason_and_can_be_tried_dry() {
        const CHANGING: [&str; 27] = [
            "alarms test",
            "dead discard",
            "dead hold",
            "dead release",
            "dead replay",
            "deliveries discard",
            "deliveries hold",
            "deliveries release",
            "deliveries replay",
            "destinations pause",
            "destinations resume",
            "destinations test",
            "jobs cancel",
            "jobs pause",
            "jobs resume",
            "notifications reroute",
            "reload",
            "sources acknowledge",
            "sources adopt",
            "store backup",
            "store move",
            "store prune",
            "store rekey",
            "systems pause",
            "systems resume",
            "token create",
            "token revoke",
        ];
        let mut found = BTreeSet::new();
        changing(&Cli::command(), "", &mut found);
        let listed: BTreeSet<String> = CHANGING.into_iter().map(str::to_owned).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn a_list_goes_on_as_its_link_says() {
        assert_eq!(next_page("</api/v1/dead?text=a&before=7>; rel=\"next\""), Some("text=a&before=7"));
        assert_eq!(next_page("</api/v1/dead?before=7>; rel=\"prev\""), None);
        assert_eq!(next_page("nonsense"), None);
    }

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        for (base, is_fine) in [
            ("https://gateway.internal:8081", true),
            ("http://127.0.0.1:8081", true),
            ("http://localhost:8081", true),
            ("http://[::1]:8081", true),
            ("http://gateway.internal:8081", false),
            ("http://10.0.0.1:8081", false),
            ("http://127.0.0.1.evil.example", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_safe(base), is_fine, "{base}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_way_of_loopback() {
        for (listen, found) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reached(listen.parse().unwrap()).to_string(), found);
        }
    }
}
