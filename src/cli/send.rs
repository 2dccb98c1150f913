//! `omgate send`: posts envelopes as Salesforce would.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::print;
use crate::cli::send::post::Answer;
use crate::cli::send::template::{Edit, Template};

mod post;
mod template;

/// Salesforce never sends more in one envelope.
const NOTIFICATIONS_MAX: usize = 100;
/// How many earlier notifications repeats are drawn from.
const REMEMBERED_MAX: usize = 1_000;
/// Salesforce's first wait; the others follow from it.
const RETRY_FIRST: &str = "30s";
/// The longest wait, in first waits: two hours to thirty seconds.
const RETRY_WAIT_MAX: u32 = 240;
/// After this many first waits Salesforce drops the message: a day to thirty seconds.
const RETRY_AGE_MAX: u32 = 2_880;

/// Arguments of `send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envelopes to send.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to: the address of a source.
    #[arg(long, value_name = "URL")]
    to: String,
    /// How many envelopes in all, going round the files; by default each file once.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Envelopes per second, over all connections.
    #[arg(long, value_name = "R[/s]", value_parser = rate)]
    rate: Option<f64>,
    /// Notifications in each envelope (1–100), going round those of the file.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=100))]
    notifications: Option<u8>,
    /// Give every notification a fresh id and record id.
    #[arg(long)]
    new_ids: bool,
    /// Connections at once.
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// How many of a hundred notifications are earlier ones again, unchanged.
    #[arg(long, value_name = "P%", default_value = "0", value_parser = percent)]
    duplicates: u8,
    /// How many of a hundred notifications are earlier ones again, with other content.
    #[arg(long, value_name = "P%", default_value = "0", value_parser = percent)]
    changed: u8,
    /// Send again what was not acknowledged, as Salesforce does: after 30 s, then twice as long each time, up to 240
    /// times the first wait, for 2,880 of them. `--retry=100ms` does the same faster.
    #[arg(long, value_name = "FIRST", num_args = 0..=1, require_equals = true, default_missing_value = RETRY_FIRST, value_parser = span)]
    retry: Option<Duration>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span)]
    timeout: Duration,
    /// Draws the same ids and repeats again.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Sends, and prints a summary: exit code 0 only when everything was acknowledged in the end.
///
/// # Errors
/// When a file cannot be read or used.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let as_json = args.json;
    let plan = plan(args)?;
    let shown = std::io::stderr().is_terminal() && !as_json;
    let bar = if shown { ProgressBar::new(plan.envelopes()) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} envelopes, {per_sec}, {eta} left {msg}") {
        bar.set_style(style);
    }
    let summary = run_plan(plan, |progress| {
        bar.set_position(progress.ended);
        if progress.failed > 0 {
            bar.set_message(format!("{} not acknowledged", progress.failed));
        }
    })
    .await?;
    bar.finish_and_clear();
    if as_json {
        print::json(&summary.json());
    } else {
        summary.print();
    }
    Ok(if summary.all_acked() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: Args) -> anyhow::Result<Plan> {
    let files = args
        .files
        .iter()
        .map(|path| {
            let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            Ok(File { name: path.display().to_string(), bytes: bytes.into() })
        })
        .collect::<anyhow::Result<Vec<File>>>()?;
    Ok(Plan {
        to: args.to,
        count: args.count,
        rate: args.rate,
        notifications: args.notifications.map(usize::from),
        new_ids: args.new_ids,
        connections: usize::from(args.connections),
        duplicates: args.duplicates,
        changed: args.changed,
        retry: args.retry,
        timeout: args.timeout,
        seed: args.seed,
        ..Plan::new(files)
    })
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate: f64 =
        number.parse().map_err(|_| "not a number of envelopes per second, such as 20 or 0.5/s".to_owned())?;
    if rate.is_finite() && rate >= 0.001 { Ok(rate) } else { Err("must be 0.001 or more".to_owned()) }
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number.parse().ok().filter(|&percent| percent <= 100).ok_or_else(|| "not a percentage from 0 to 100".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u32 = digits.parse().map_err(|_| "not a time such as 100ms, 30s, 5m or 1h".to_owned())?;
    let unit = match text.get(digits.len()..) {
        Some("ms") => Duration::from_millis(1),
        Some("s") => Duration::from_secs(1),
        Some("m") => Duration::from_secs(60),
        Some("h") => Duration::from_secs(3_600),
        _ => return Err("a time needs a unit: ms, s, m or h".to_owned()),
    };
    Some(unit * number).filter(|span| !span.is_zero()).ok_or_else(|| "must be more than nothing".to_owned())
}

/// An envelope file.
#[derive(Clone, Debug)]
pub struct File {
    name: String,
    bytes: Bytes,
}

impl File {
    /// A file of this name with this content.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), bytes: Bytes::from(text.into()) }
    }
}

/// What is sent, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The files, in turn.
    pub files: Vec<File>,
    /// Where to.
    pub to: String,
    /// Envelopes in all; none: each file once.
    pub count: Option<u64>,
    /// Envelopes per second; none: as fast as answers come.
    pub rate: Option<f64>,
    /// Notifications in each envelope; none: as many as the file has.
    pub notifications: Option<usize>,
    /// Fresh ids for every notification.
    pub new_ids: bool,
    /// At once.
    pub connections: usize,
    /// Percent of the notifications that are earlier ones, unchanged.
    pub duplicates: u8,
    /// Percent of the notifications that are earlier ones with other content.
    pub changed: u8,
    /// Salesforce's rule for what was not acknowledged, with this first wait; none: each envelope once.
    pub retry: Option<Duration>,
    /// For an answer.
    pub timeout: Duration,
    /// Draws the same again; none: another each time.
    pub seed: Option<u64>,
}

impl Plan {
    /// Each file once, over one connection, as it is.
    #[must_use]
    pub fn new(files: Vec<File>) -> Self {
        Self {
            files,
            to: String::new(),
            count: None,
            rate: None,
            notifications: None,
            new_ids: false,
            connections: 1,
            duplicates: 0,
            changed: 0,
            retry: None,
            timeout: Duration::from_secs(60),
            seed: None,
        }
    }

    /// How many envelopes it makes.
    #[must_use]
    pub fn envelopes(&self) -> u64 {
        self.count.unwrap_or(u64::try_from(self.files.len()).unwrap_or(u64::MAX))
    }

    /// Whether the files must be taken apart.
    fn edits(&self) -> bool {
        self.new_ids || self.notifications.is_some() || self.duplicates > 0 || self.changed > 0
    }
}

/// How far a plan has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Envelopes acknowledged or given up.
    pub ended: u64,
    /// POSTs that were not acknowledged.
    pub failed: u64,
}

/// What came of a plan.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Envelopes, each counted once however often it was posted.
    pub envelopes: u64,
    /// Notifications in them.
    pub notifications: u64,
    /// Envelopes acknowledged in the end.
    pub acks: u64,
    /// Answers that said not now.
    pub nacks: u64,
    /// Answers that were SOAP faults.
    pub faults: u64,
    /// POSTs without an answer, or with one that Salesforce does not understand.
    pub errors: u64,
    /// The last thing that went wrong.
    pub last_failure: Option<String>,
    microseconds: Vec<u32>,
    took: Duration,
}

impl Summary {
    /// Whether every envelope was acknowledged in the end.
    #[must_use]
    pub fn all_acked(&self) -> bool {
        self.acks == self.envelopes
    }

    /// Adds what another plan came to.
    pub fn add(&mut self, other: &Self) {
        self.envelopes += other.envelopes;
        self.notifications += other.notifications;
        self.acks += other.acks;
        self.nacks += other.nacks;
        self.faults += other.faults;
        self.errors += other.errors;
        self.last_failure = other.last_failure.clone().or(self.last_failure.take());
        self.microseconds.extend_from_slice(&other.microseconds);
        self.took += other.took;
    }

    /// How long the slowest of the fastest `percent` answers took, in milliseconds.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.microseconds.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
        sorted.get(place).map(|&time| f64::from(time) / 1_000.0)
    }

    fn count(&mut self, answer: &Answer, took: Duration) {
        self.microseconds.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let failure = match answer {
            Answer::Ack => return self.acks += 1,
            Answer::Nack => {
                self.nacks += 1;
                "the answer was a nack"
            }
            Answer::Fault(reason) => {
                self.faults += 1;
                reason
            }
            Answer::Error(reason) => {
                self.errors += 1;
                reason
            }
        };
        self.last_failure = Some(failure.to_owned());
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "envelopes": self.envelopes,
            "notifications": self.notifications,
            "acks": self.acks,
            "nacks": self.nacks,
            "faults": self.faults,
            "errors": self.errors,
            "p50_ms": self.percentile_ms(50),
            "p99_ms": self.percentile_ms(99),
            "duration_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "last_failure": self.last_failure,
        })
    }

    fn print(&self) {
        let time = |percent| self.percentile_ms(percent).map_or("-".to_owned(), |time| format!("{time:.1}"));
        let mut table =
            print::table(&["envelopes", "notifications", "acks", "nacks", "faults", "errors", "p50 ms", "p99 ms"]);
        let counts = [self.envelopes, self.notifications, self.acks, self.nacks, self.faults, self.errors];
        table.add_row(counts.iter().map(ToString::to_string).chain([time(50), time(99)]));
        print::line(&table.to_string());
        if let Some(failure) = &self.last_failure {
            print::line(&format!("the last failure: {failure}"));
        }
    }
}

/// Sends what a plan says; `report` hears of every POST.
///
/// # Errors
/// When a file cannot be used as the plan says, or the address is none.
pub async fn run_plan(plan: Plan, report: impl Fn(&Progress)) -> anyhow::Result<Summary> {
    ensure!(!plan.files.is_empty(), "there is nothing to send");
    let url = reqwest::Url::parse(&plan.to).with_context(|| format!("{:?} is not an address", plan.to))?;
    ensure!(matches!(url.scheme(), "http" | "https"), "{:?} is not an http or https address", plan.to);
    let client = post::client(plan.timeout)?;
    let sender = Sender {
        source: Mutex::new(Source::new(&plan)?),
        outcome: Mutex::default(),
        started: Instant::now(),
        client,
        plan: &plan,
        report,
    };
    join_all((0..plan.connections.max(1)).map(|_| sender.work())).await;
    let (mut summary, _) = sender.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.took = sender.started.elapsed();
    Ok(summary)
}

struct Sender<'a, F> {
    source: Mutex<Source<'a>>,
    outcome: Mutex<(Summary, Progress)>,
    started: Instant,
    client: reqwest::Client,
    plan: &'a Plan,
    report: F,
}

impl<F: Fn(&Progress)> Sender<'_, F> {
    /// One connection: takes the next envelope until there is none.
    async fn work(&self) {
        loop {
            let Some(next) = self.source.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
            if let Some(rate) = self.plan.rate
                && let Ok(due) = Duration::try_from_secs_f64(next.number as f64 / rate)
            {
                tokio::time::sleep(due.saturating_sub(self.started.elapsed())).await;
            }
            self.deliver(next).await;
        }
    }

    async fn deliver(&self, envelope: Outgoing) {
        let begun = Instant::now();
        let mut wait = self.plan.retry;
        loop {
            let posted = Instant::now();
            let answer = post::post(&self.client, &self.plan.to, envelope.body.clone()).await;
            let acked = answer == Answer::Ack;
            let again = wait.filter(|wait| !acked && begun.elapsed() + *wait <= self.age_max());
            self.record(&answer, posted.elapsed(), again.is_none().then_some(&envelope));
            let Some(pause) = again else { return };
            tokio::time::sleep(pause).await;
            wait = self.plan.retry.map(|first| (pause * 2).min(first * RETRY_WAIT_MAX));
        }
    }

    fn age_max(&self) -> Duration {
        self.plan.retry.unwrap_or_default() * RETRY_AGE_MAX
    }

    fn record(&self, answer: &Answer, took: Duration, ended: Option<&Outgoing>) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let (summary, progress) = &mut *outcome;
        summary.count(answer, took);
        progress.failed += u64::from(*answer != Answer::Ack);
        if let Some(envelope) = ended {
            progress.ended += 1;
            summary.envelopes += 1;
            summary.notifications += envelope.notifications;
        }
        (self.report)(progress);
    }
}

/// An envelope, ready to post.
struct Outgoing {
    number: u64,
    notifications: u64,
    body: Bytes,
}

/// Makes the envelopes of a plan, one after the other.
struct Source<'a> {
    plan: &'a Plan,
    files: Vec<Prepared>,
    made: u64,
    fresh: u64,
    run: u64,
    dice: Dice,
}

struct Prepared {
    bytes: Bytes,
    /// None: it is posted as it is.
    template: Option<Template>,
    /// How many notifications were taken from it.
    taken: usize,
    /// Those that repeats are drawn from.
    earlier: VecDeque<Edit>,
    notifications: u64,
}

impl<'a> Source<'a> {
    fn new(plan: &'a Plan) -> anyhow::Result<Self> {
        let files = plan.files.iter().map(|file| Prepared::new(file, plan)).collect::<anyhow::Result<_>>()?;
        let seed = plan.seed.unwrap_or_else(|| RandomState::new().hash_one(plan.files.len()));
        let mut dice = Dice(seed);
        Ok(Self { plan, files, made: 0, fresh: 0, run: dice.roll(), dice })
    }

    fn next(&mut self) -> Option<Outgoing> {
        if self.made >= self.plan.envelopes() {
            return None;
        }
        let number = self.made;
        self.made += 1;
        let count = u64::try_from(self.files.len()).ok()?;
        let file = self.files.get_mut(usize::try_from(number.checked_rem(count)?).ok()?)?;
        let Some(template) = &file.template else {
            return Some(Outgoing { number, notifications: file.notifications, body: file.bytes.clone() });
        };
        let wanted = self.plan.notifications.unwrap_or(template.len()).min(NOTIFICATIONS_MAX);
        let mut edits = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let edit = repeat(self.plan, template, &file.earlier, &mut self.dice).unwrap_or_else(|| {
                let fresh = self.plan.new_ids.then_some((self.run, self.fresh));
                self.fresh += 1;
                file.taken += 1;
                Edit { notification: file.taken - 1, fresh, change: None }
            });
            edits.push(edit);
        }
        let body = Bytes::from(template.envelope(&edits));
        remember(&mut file.earlier, &edits);
        Some(Outgoing { number, notifications: u64::try_from(edits.len()).ok()?, body })
    }
}

/// An earlier notification again, unchanged or changed, if the dice say so.
fn repeat(plan: &Plan, template: &Template, earlier: &VecDeque<Edit>, dice: &mut Dice) -> Option<Edit> {
    if plan.duplicates == 0 && plan.changed == 0 {
        return None;
    }
    let draw = dice.roll() % 100;
    let changed = draw < u64::from(plan.changed);
    if !changed && draw >= u64::from(plan.changed) + u64::from(plan.duplicates) {
        return None;
    }
    let place = dice.roll().checked_rem(u64::try_from(earlier.len()).ok()?)?;
    let mut edit = earlier.get(usize::try_from(place).ok()?)?.clone();
    if changed && template.is_changeable(edit.notification) {
        edit.change = Some(edit.change.unwrap_or(0) + 1);
    }
    Some(edit)
}

fn remember(earlier: &mut VecDeque<Edit>, edits: &[Edit]) {
    earlier.extend(edits.iter().cloned());
    while earlier.len() > REMEMBERED_MAX {
        earlier.pop_front();
    }
}

impl Prepared {
    fn new(file: &File, plan: &Plan) -> anyhow::Result<Self> {
        let cut = std::str::from_utf8(&file.bytes).map_err(|_| "it is not UTF-8".to_owned()).and_then(Template::cut);
        let notifications = cut.as_ref().map_or(0, |template| u64::try_from(template.len()).unwrap_or(u64::MAX));
        let template = match cut {
            _ if !plan.edits() => None,
            Ok(template) => Some(template),
            Err(reason) => bail!("{} cannot be changed on its way, only sent as it is: {reason}", file.name),
        };
        Ok(Self { bytes: file.bytes.clone(), template, taken: 0, earlier: VecDeque::new(), notifications })
    }
}

/// A small generator that draws the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_percentages_and_times_are_read_with_their_units() {
        assert_eq!((rate("20/s"), rate("0.5")), (Ok(20.0), Ok(0.5)));
        assert_eq!((percent("5%"), percent("100")), (Ok(5), Ok(100)));
        assert_eq!((span("100ms"), span("2m")), (Ok(Duration::from_millis(100)), Ok(Duration::from_secs(120))));
        for wrong in ["", "x", "-1", "0", "inf", "nan"] {
            assert!(rate(wrong).is_err() && span(wrong).is_err(), "{wrong}");
        }
        assert!(percent("101").is_err() && percent("-1").is_err() && span("5").is_err() && span("0s").is_err());
    }

    #[test]
    fn percentiles_are_those_of_the_answers_counted() {
        let mut summary = Summary::default();
        assert_eq!(summary.percentile_ms(50), None);
        for milliseconds in 1..=100 {
            summary.count(&Answer::Nack, Duration::from_millis(milliseconds));
        }
        assert_eq!((summary.percentile_ms(50), summary.percentile_ms(99)), (Some(50.0), Some(99.0)));
        assert_eq!(summary.nacks, 100);
    }
}
