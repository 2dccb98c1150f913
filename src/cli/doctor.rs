//! `omgate doctor`: what stands in the way of messages, from Salesforce to each destination, one line each and what to do.
//!
//! Nothing is changed by it: the configuration is loaded, the store is looked at from beside, and whoever is asked is asked a
//! question that changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures_util::{StreamExt as _, stream};
use reqwest::Url;
use serde_json::json;

use self::clock::Reading;
use self::destination::Patient;
use self::edge::Outlook;
use self::finding::{Finding, Findings, Level};
use crate::cli::print;
use crate::clock::{SystemClock, Timestamp};
use crate::config::Loaded;

mod chain;
mod clock;
mod configuration;
#[cfg(feature = "postgres")]
mod database;
mod destination;
mod disk;
mod edge;
mod encryption;
mod explain;
mod finding;
mod listens;
mod operation;
mod process;
mod question;
mod salesforce;
mod store;
mod texts;

/// No probe takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many destinations are looked at at once.
const AT_ONCE: usize = 8;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "omgate.toml", env = "OMGATE_CONFIG")]
    config: PathBuf,
    /// Print JSON: `{"ok","findings":[{"subject","check","level","found","advice"}]}`, each level one of `ok`, `warning`,
    /// `failed`, `skipped`.
    #[arg(long)]
    json: bool,
    /// Ask nobody but this gateway's own listeners.
    #[arg(long)]
    offline: bool,
    /// Where Salesforce reaches the gateway, such as `https://hooks.example.com`: that address is looked at too.
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,
    /// A name that the certificate must be for, beside that of --source-url.
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say what is behind an error that Salesforce shows for an outbound message, and what to do.
    Explain {
        /// The text, as Setup shows it under "Delivery Failure Reason"; the beginning is enough.
        text: String,
        /// Print JSON: `{"known","entry":{"text","cause","look","advice"},"nearest"}`.
        #[arg(long)]
        json: bool,
    },
}

/// Looks at one destination of a stored configuration, for the page of a gateway that runs.
#[must_use]
pub fn probe() -> crate::admin::book::Probe {
    std::sync::Arc::new(|stored, name, dry_run| {
        Box::pin(async move {
            let loaded = crate::config::load_stored(&stored)
                .map_err(|problems| format!("the configuration in force cannot be loaded again: {problems}"))?;
            let now = SystemClock::shared().now();
            let whereabouts = loaded.by_hand.get(&name).and_then(crate::config::ByHand::whereabouts);
            let known = whereabouts.zip(loaded.plan.destinations.get(&name));
            let (whereabouts, destination) =
                known.ok_or_else(|| format!("there is no destination {name:?} any more"))?;
            let patience = PATIENCE.min(whereabouts.timeout);
            let patient = Patient { name: &name, target: &destination.target, whereabouts, now, patience };
            let findings = match dry_run {
                true => destination::plan(&patient),
                false => destination::look(&patient).await.0,
            };
            let mask = |text: &str| loaded.plan.mask.apply(text);
            let all: Vec<Finding> = findings.list.into_iter().map(|finding| finding.shown(mask)).collect();
            let ok = !all.iter().any(|finding| finding.level == Level::Failed);
            Ok(json!({"ok": ok, "findings": all}))
        })
    })
}

/// Looks at everything. Exit code 1 when something failed.
///
/// # Errors
/// When it is called wrongly.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(Verb::Explain { text, json }) = &args.verb {
        return Ok(explain::run(text, *json));
    }
    let public = args.source_url.as_deref().map(address).transpose()?;
    let (loaded, findings) = configuration::look(&args.config);
    let mut all = findings.list;
    match &loaded {
        Some(loaded) => {
            let seen = examined(loaded, &args, public.as_ref()).await;
            let mask = |text: &str| loaded.plan.mask.apply(text);
            all.extend(seen);
            all = all.into_iter().map(|finding| finding.shown(mask)).collect();
        }
        None => {
            let mut rest = Findings::about("all else");
            rest.skip("everything", "without a configuration there is nothing to look at");
            all.extend(rest.list);
        }
    }
    let ok = !all.iter().any(|finding| finding.level == Level::Failed);
    if args.json {
        print::json(&json!({ "ok": ok, "findings": all }));
    } else {
        all.iter().for_each(|finding| print::line(&harmless(&finding.line())));
        print::line(&summary(&all));
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn address(text: &str) -> anyhow::Result<Url> {
    let form = "write one such as https://hooks.example.com";
    let Ok(url) = Url::parse(text) else { bail!("--source-url {text:?} is no URL; {form}") };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        bail!("--source-url {text:?} is no http or https address; {form}");
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!("--source-url must not carry credentials: Salesforce sends none");
    }
    Ok(url)
}

/// What came from elsewhere must not steer the terminal.
fn harmless(text: &str) -> String {
    print::cell(Some(&serde_json::Value::String(text.to_owned())))
}

fn summary(all: &[Finding]) -> String {
    let count = |level| all.iter().filter(|finding| finding.level == level).count();
    let (failed, warned) = (count(Level::Failed), count(Level::Warning));
    let (ok, skipped) = (count(Level::Ok), count(Level::Skipped));
    format!("{failed} failed, {warned} warnings, {ok} ok, {skipped} skipped")
}

async fn examined(loaded: &Loaded, args: &Args, public: Option<&Url>) -> Vec<Finding> {
    let now = SystemClock::shared().now();
    let mut names = args.name.clone();
    // Where a proxy is before it, Salesforce sees the proxy's certificate.
    let host = public.filter(|_| loaded.server.proxy.is_none()).and_then(Url::host_str);
    names.extend(host.map(str::to_owned));
    let (mut all, is_running) = listens::look(&loaded.server, PATIENCE).await;
    let outlook = Outlook { is_running, names: &names, now, patience: PATIENCE };
    all.list.extend(edge::look(loaded, &outlook).await.list);
    if let Some(url) = public {
        let findings = if args.offline { unasked("public address") } else { edge::public(url, &outlook).await };
        all.list.extend(findings.list);
    }
    all.list.extend(salesforce::look(loaded, public).list);
    let (findings, reading) = store::look(&loaded.store, args.offline).await;
    all.list.extend(findings.list);
    all.list.extend(encryption::look(&loaded.store, &loaded.encryption, args.offline).await.list);
    all.list.extend(process::look(loaded, is_running).list);
    let (findings, mut readings) = destinations(loaded, args.offline, now).await;
    readings.extend(reading);
    all.list.extend(findings);
    all.list.extend(clock::look(&readings).list);
    all.list
}

fn unasked(subject: &str) -> Findings {
    let mut findings = Findings::about(subject);
    findings.skip("network", "not asked: --offline");
    findings
}

/// Looks at all destinations, some at once; told in order of their names.
async fn destinations(loaded: &Loaded, is_offline: bool, now: Timestamp) -> (Vec<Finding>, Vec<Reading>) {
    let mut names: Vec<&String> = loaded.plan.destinations.keys().collect();
    names.sort_unstable();
    let patients = names.into_iter().filter_map(|name| {
        let whereabouts = loaded.by_hand.get(name)?.whereabouts()?;
        let patience = PATIENCE.min(whereabouts.timeout);
        Some(Patient { name, target: &loaded.plan.destinations.get(name)?.target, whereabouts, now, patience })
    });
    let looks = patients.map(|patient| destination(patient, is_offline));
    let seen: Vec<(Findings, Option<Reading>)> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let (findings, readings): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
    (findings.into_iter().flat_map(|findings| findings.list).collect(), readings.into_iter().flatten().collect())
}

async fn destination(patient: Patient<'_>, is_offline: bool) -> (Findings, Option<Reading>) {
    if is_offline {
        let mut findings = destination::at_home(&patient);
        findings.skip("network", "not asked: --offline");
        return (findings, None);
    }
    destination::look(&patient).await
}
