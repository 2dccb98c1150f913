//! `omgate send`: Salesforce as a client, with its headers, its batches, its repeats and its patience.
//!
//! [`Plan`] and [`run_plan`] do the same without a command line, for `omgate demo`.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::cli::print;
use crate::disk;

mod answer;
mod edit;
mod ids;
mod letters;
mod post;
mod tally;

pub use letters::File;
pub use tally::{Problem, Progress, Summary};

use letters::{Editing, FILE_BYTES_MAX, Letter, Letters, Schedule};
use post::{Post, Sending};
use tally::{Outcome, Tally};

/// Connections at the most.
const CONNECTIONS_MAX: u16 = 256;
/// Envelopes that wait for their next attempt; when there are more, no new ones are begun.
const WAITING_MAX: usize = 100_000;
/// How far a run that fell behind its rate may catch up.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);
/// Salesforce waits this long before the second attempt (SALESFORCE: 30 s, 1, 2, 4 … min).
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// The longest wait, in first waits: 2 h of 30 s.
const RETRY_WAIT_MAX: u32 = 240;
/// The life of a message, in first waits: 24 h of 30 s.
const RETRY_LIFE: u32 = 2_880;

/// Arguments of `send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Envelopes, one a file. Without an option that edits them they are sent byte for byte.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to post.
    #[arg(long, value_name = "URL")]
    to: Url,
    /// How many envelopes to send, going round the files; duplicates and changed repeats come on top. Default: one round.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// At most this many envelopes a second, such as 50/s.
    #[arg(long, value_name = "R/s", value_parser = rate)]
    rate: Option<f64>,
    /// Regroup: this many notifications in each envelope, going round those of the files (1 to 100).
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=100))]
    notifications: Option<u16>,
    /// Give every notification, and its record, an id of its own.
    #[arg(long)]
    new_ids: bool,
    /// Requests at the same time (256 at the most).
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u16,
    /// Send this share of the envelopes twice, unchanged, in percent.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = percent)]
    duplicates: f64,
    /// Send this share of the notifications again later, with the same id and one text field changed, in percent.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = percent)]
    changed: f64,
    /// Try again as Salesforce does what was not acknowledged: after 30 s, 1, 2, 4 … min up to 2 h, for 24 h.
    #[arg(long)]
    retry: bool,
    /// The first wait of --retry; all others shrink or grow with it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    retry_first: Duration,
    /// Drop an envelope this long after its first attempt. Default: 24 h, scaled like the waits.
    #[arg(long, value_name = "TIME", value_parser = time)]
    give_up_after: Option<Duration>,
    /// How long an answer may take.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    timeout: Duration,
    /// Make the same ids and choices as another run with this seed.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// A further header; one of the same name is replaced. May be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Trust the certificates of this PEM file, and no others.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the summary as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

/// A run: what is sent where, and how. Made by [`Plan::new`], then filled in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to post.
    pub to: Url,
    /// The envelopes, sent round-robin.
    pub files: Vec<File>,
    /// How many envelopes; none for one round.
    pub count: Option<u64>,
    /// Envelopes per second at the most.
    pub rate: Option<f64>,
    /// Notifications per envelope, 1 to 100; none for as many as the files have.
    pub notifications: Option<u16>,
    /// Where ids come from.
    pub ids: Ids,
    /// Requests at the same time, 1 to 256.
    pub connections: u16,
    /// The share of envelopes that are sent twice, in percent.
    pub duplicates: f64,
    /// The share of notifications that are sent again, changed, in percent.
    pub changed: f64,
    /// When what was not acknowledged is sent again; none for never.
    pub retry: Option<Retry>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Ids and choices come from it; none for others each time.
    pub seed: Option<u64>,
    /// Headers beside, or in place of, Salesforce's own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// PEM certificates to trust in place of the system's.
    pub ca: Option<Vec<u8>>,
}

/// Where the ids of notifications and records come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// From the files.
    #[default]
    AsWritten,
    /// Every notification, and its record, gets one of its own.
    Fresh,
}

/// Salesforce's patience, scaled by its first wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The wait before the second attempt; it doubles each time, up to 240-fold.
    pub first: Duration,
    /// How long after its first attempt an envelope is dropped; none for 2,880 first waits.
    pub give_up_after: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: RETRY_FIRST, give_up_after: None }
    }
}

impl Retry {
    /// The wait after so many attempts, `age` after the first began; none when the envelope is dropped.
    #[must_use]
    pub fn wait(self, attempts: u32, age: Duration) -> Option<Duration> {
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1)).min(RETRY_WAIT_MAX);
        let wait = self.first.saturating_mul(factor);
        let life = self.give_up_after.unwrap_or_else(|| self.first.saturating_mul(RETRY_LIFE));
        (age.saturating_add(wait) <= life).then_some(wait)
    }
}

impl Plan {
    /// One round of the files, unchanged, one after the other.
    #[must_use]
    pub fn new(to: Url, files: Vec<File>) -> Self {
        Self {
            to,
            files,
            count: None,
            rate: None,
            notifications: None,
            ids: Ids::AsWritten,
            connections: 1,
            duplicates: 0.0,
            changed: 0.0,
            retry: None,
            timeout: Duration::from_secs(60),
            seed: None,
            headers: Vec::new(),
            ca: None,
        }
    }
}

/// Runs a plan to its end and tells how it stands after each answer.
///
/// # Errors
/// When the plan cannot be carried out: a file cannot be edited as asked, a bound is broken, the address or the CA is of no
/// use. What the other side does is no error; it is in the summary.
pub async fn run_plan(plan: Plan, on_progress: impl FnMut(&Progress) + Send) -> anyhow::Result<Summary> {
    run_plan_until(plan, std::future::pending(), on_progress).await
}

/// Runs a plan to its end, or until `stop` is done: then what is not acknowledged counts as dropped.
///
/// # Errors
/// As [`run_plan`].
pub async fn run_plan_until(
    plan: Plan,
    stop: impl Future<Output = ()> + Send,
    on_progress: impl FnMut(&Progress) + Send,
) -> anyhow::Result<Summary> {
    Run::new(plan, on_progress)?.drive(stop).await
}

/// Runs the command.
///
/// # Errors
/// What went wrong, for a person.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let json = args.json;
    let plan = plan(args)?;
    let bar = if json || !std::io::stderr().is_terminal() { ProgressBar::hidden() } else { bar()? };
    let interrupted = async {
        // Where the signal cannot be heard, the run goes on to its end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let summary = run_plan_until(plan, interrupted, |progress| show(&bar, progress)).await;
    bar.finish_and_clear();
    let summary = summary?;
    if json {
        print::json(&serde_json::to_value(&summary).context("writing the summary")?);
    } else {
        print_summary(&summary);
    }
    Ok(if summary.is_all_acked() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: Args) -> anyhow::Result<Plan> {
    if !args.retry && (args.give_up_after.is_some() || args.retry_first != RETRY_FIRST) {
        bail!("--retry-first and --give-up-after say how to try again: add --retry");
    }
    let files = args.files.iter().map(|path| file(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let ca = args.ca.as_deref().map(read).transpose()?;
    Ok(Plan {
        count: args.count,
        rate: args.rate,
        notifications: args.notifications,
        ids: if args.new_ids { Ids::Fresh } else { Ids::AsWritten },
        connections: args.connections,
        duplicates: args.duplicates,
        changed: args.changed,
        retry: args.retry.then_some(Retry { first: args.retry_first, give_up_after: args.give_up_after }),
        timeout: args.timeout,
        seed: args.seed,
        headers: args.headers,
        ca,
        ..Plan::new(args.to, files)
    })
}

fn file(path: &Path) -> anyhow::Result<File> {
    Ok(File { name: path.display().to_string(), bytes: read(path)?.into() })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    disk::read(path, FILE_BYTES_MAX).with_context(|| format!("reading {}", path.display()))
}

/// One envelope on its way.
#[derive(Debug)]
struct Job {
    letter: Letter,
    /// What is to be sent again, changed, once this one is settled.
    changes: Vec<u32>,
    attempts: u32,
    began: Option<Instant>,
}

impl Job {
    fn new(letter: Letter, changes: Vec<u32>) -> Self {
        Self { letter, changes, attempts: 0, began: None }
    }
}

type Flight = BoxFuture<'static, (Job, Sending)>;

/// A plan being carried out.
struct Run<P> {
    letters: Arc<Letters>,
    post: Arc<Post>,
    schedule: Schedule,
    /// Due now, before anything new.
    ready: VecDeque<Job>,
    /// Due later, by when and in order of failure.
    waiting: BTreeMap<(Instant, u64), Job>,
    failures: u64,
    retry: Option<Retry>,
    connections: usize,
    pace: Pace,
    seed: u64,
    tally: Tally,
    on_progress: P,
}

impl<P: FnMut(&Progress) + Send> Run<P> {
    fn new(plan: Plan, on_progress: P) -> anyhow::Result<Self> {
        check(&plan)?;
        let seed = plan.seed.unwrap_or_else(ids::random_seed);
        let editing = Editing {
            regroup: plan.notifications,
            ids: (plan.ids == Ids::Fresh).then(|| ids::FreshIds::new(seed)),
            changes: plan.changed > 0.0,
        };
        let letters = Letters::new(&plan.files, editing)?;
        let post = Post::new(&plan)?;
        let count = plan.count.unwrap_or_else(|| letters.round());
        let schedule = Schedule::new(&letters, count, (plan.duplicates, plan.changed), seed);
        Ok(Self {
            letters: Arc::new(letters),
            post: Arc::new(post),
            schedule,
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            failures: 0,
            retry: plan.retry,
            connections: usize::from(plan.connections),
            pace: Pace::new(plan.rate),
            seed,
            tally: Tally::default(),
            on_progress,
        })
    }

    async fn drive(mut self, stop: impl Future<Output = ()> + Send) -> anyhow::Result<Summary> {
        let began = Instant::now();
        let mut flights: FuturesUnordered<Flight> = FuturesUnordered::new();
        let mut stop = std::pin::pin!(stop);
        let mut interrupted = false;
        self.tell();
        loop {
            let wake = self.launch(&flights);
            if flights.is_empty() && wake.is_none() {
                break;
            }
            tokio::select! {
                () = &mut stop => {
                    interrupted = true;
                    break;
                }
                Some((job, sending)) = flights.next() => self.settle(job, &sending),
                () = tokio::time::sleep_until(wake.unwrap_or(began)), if wake.is_some() => {}
            }
        }
        if interrupted {
            let progress = &mut self.tally.progress;
            progress.dropped = progress.envelopes - progress.acks;
        }
        Ok(self.tally.summary(began.elapsed(), self.seed, interrupted))
    }

    /// Begins all that may begin now; says when to look again, if the clock alone can tell.
    fn launch(&mut self, flights: &FuturesUnordered<Flight>) -> Option<Instant> {
        while flights.len() < self.connections {
            let now = Instant::now();
            let later = self.waiting.keys().next().map(|(due, _)| *due);
            let new = !self.schedule.is_over() && self.waiting.len() < WAITING_MAX;
            if self.ready.is_empty() && !new && later.is_none_or(|due| due > now) {
                return later;
            }
            if let Some(turn) = self.pace.turn(now) {
                return Some(turn);
            }
            let Some(mut job) = self.next(now) else { return later };
            self.begin(&mut job, now);
            let (letters, post) = (Arc::clone(&self.letters), Arc::clone(&self.post));
            flights.push(Box::pin(async move {
                let sending = post.send(letters.bytes(&job.letter)).await;
                (job, sending)
            }));
        }
        None
    }

    /// What goes out next: what follows an earlier one, what has waited, something new.
    fn next(&mut self, now: Instant) -> Option<Job> {
        if let Some(job) = self.ready.pop_front() {
            return Some(job);
        }
        if let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            return Some(first.remove());
        }
        if self.waiting.len() >= WAITING_MAX {
            return None;
        }
        let planned = self.schedule.next(&self.letters)?;
        if planned.copies > 1 {
            self.tally.progress.duplicates += 1;
            self.ready.push_back(Job::new(Letter::Nth(planned.number), Vec::new()));
        }
        Some(Job::new(Letter::Nth(planned.number), planned.changes))
    }

    fn begin(&mut self, job: &mut Job, now: Instant) {
        job.attempts += 1;
        if job.began.is_some() {
            self.tally.progress.retries += 1;
            return;
        }
        job.began = Some(now);
        self.tally.progress.envelopes += 1;
        self.tally.progress.notifications += u64::from(self.letters.len(&job.letter));
    }

    fn settle(&mut self, job: Job, sending: &Sending) {
        self.tally.count(&sending.outcome, self.letters.len(&job.letter), sending.answered);
        self.tally.progress.bytes += sending.bytes;
        let now = Instant::now();
        let age = job.began.map_or(Duration::ZERO, |began| now.duration_since(began));
        let wait = self.retry.and_then(|retry| retry.wait(job.attempts, age));
        match (&sending.outcome, wait) {
            (Outcome::Ack, _) => self.follow(job),
            (Outcome::Nack | Outcome::Fault(_) | Outcome::Error(..), Some(wait)) => {
                self.failures += 1;
                self.waiting.insert((now + wait, self.failures), job);
            }
            (Outcome::Nack | Outcome::Fault(_) | Outcome::Error(..), None) => {
                self.tally.progress.dropped += 1;
                self.follow(job);
            }
        }
        self.tell();
    }

    /// A settled envelope's changed notifications are sent.
    fn follow(&mut self, job: Job) {
        if let Letter::Nth(number) = job.letter
            && !job.changes.is_empty()
        {
            self.tally.progress.changed += u64::try_from(job.changes.len()).unwrap_or(u64::MAX);
            self.ready.push_back(Job::new(Letter::Changed(number, job.changes), Vec::new()));
        }
    }

    fn tell(&mut self) {
        let coming = u64::try_from(self.ready.len()).unwrap_or(u64::MAX).saturating_add(self.schedule.left());
        self.tally.progress.planned = self.tally.progress.envelopes.saturating_add(coming);
        (self.on_progress)(&self.tally.progress);
    }
}

/// Holds the bounds for callers that come without a command line.
fn check(plan: &Plan) -> anyhow::Result<()> {
    let bounds = [
        (plan.count != Some(0), "the number of envelopes must be at least 1"),
        (plan.rate.is_none_or(|rate| rate > 0.0), "the rate must be above 0"),
        (plan.notifications.is_none_or(|size| (1..=100).contains(&size)), "an envelope holds 1 to 100 notifications"),
        ((1..=CONNECTIONS_MAX).contains(&plan.connections), "there may be 1 to 256 connections"),
        ((0.0..=100.0).contains(&plan.duplicates), "the share of duplicates must be 0 to 100 percent"),
        ((0.0..=100.0).contains(&plan.changed), "the share of changed notifications must be 0 to 100 percent"),
    ];
    match bounds.iter().find(|(held, _)| !held) {
        Some((_, rule)) => bail!("{rule}"),
        None => Ok(()),
    }
}

/// Spaces requests in time.
#[derive(Debug)]
struct Pace {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Pace {
    fn new(rate: Option<f64>) -> Self {
        let longest = 365.0 * 86_400.0;
        let every = rate.map(|rate| Duration::from_secs_f64((1.0 / rate).clamp(0.0, longest)));
        Self { every, next: None }
    }

    /// Takes a turn now, or says when there will be one.
    fn turn(&mut self, now: Instant) -> Option<Instant> {
        let every = self.every?;
        let turn = self.next.unwrap_or(now);
        if turn > now {
            return Some(turn);
        }
        let earliest = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
        self.next = turn.max(earliest).checked_add(every);
        None
    }
}

fn bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} envelopes, {per_sec}, {msg}, {eta} to go");
    Ok(ProgressBar::new(0).with_style(style.context("preparing the progress bar")?))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.planned);
    bar.set_position(progress.acks.saturating_add(progress.dropped));
    bar.set_message(format!(
        "{} acks, {} nacks, {} faults, {} errors, {} retries",
        progress.acks, progress.nacks, progress.faults, progress.errors, progress.retries
    ));
}

fn print_summary(summary: &Summary) {
    let progress = &summary.progress;
    let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms"));
    let mut table = print::table(&["sent", ""]);
    let counts = [
        ("envelopes", progress.envelopes),
        ("notifications", progress.notifications),
        ("duplicates", progress.duplicates),
        ("changed", progress.changed),
        ("acks", progress.acks),
        ("nacks", progress.nacks),
        ("faults", progress.faults),
        ("errors", progress.errors),
        ("retries", progress.retries),
        ("dropped", progress.dropped),
        ("bytes", progress.bytes),
    ];
    for (name, count) in counts {
        table.add_row([name.to_owned(), count.to_string()]);
    }
    table.add_row(["p50".to_owned(), time(summary.p50_ms)]);
    table.add_row(["p99".to_owned(), time(summary.p99_ms)]);
    table.add_row(["max".to_owned(), time(summary.max_ms)]);
    table.add_row(["rate".to_owned(), format!("{:.1}/s in {:.1} s", summary.rate, summary.seconds)]);
    table.add_row(["seed".to_owned(), summary.seed.to_string()]);
    print::rows(&table);
    if !summary.problems.is_empty() {
        let mut table = print::table(&["problem", "envelopes", "notifications", "the first of them"]);
        for problem in &summary.problems {
            let (envelopes, notifications) = (problem.count.to_string(), problem.notifications.to_string());
            table.add_row([problem.kind.clone(), envelopes, notifications, problem.first.clone()]);
        }
        print::rows(&table);
    }
    if summary.interrupted {
        print::line("interrupted: what was not acknowledged counts as dropped");
    }
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time is a number with its unit, such as 50ms, 30s, 2m or 1h".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).trim();
    number
        .parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "a rate is a number above 0 a second, such as 50/s or 0.5/s".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number
        .parse()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| "a share is 0 to 100 percent".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "the header's name has a character that no name may have".to_owned())?;
    let value =
        value.trim().parse().map_err(|_| "the header's value has a character that no value may have".to_owned())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_rule_is_salesforces() {
        let rule = Retry::default();
        let mut age = Duration::ZERO;
        let mut waits = Vec::new();
        for attempts in 1.. {
            let Some(wait) = rule.wait(attempts, age) else { break };
            waits.push(wait.as_secs());
            age += wait;
        }
        assert_eq!(waits[..10], [30, 60, 120, 240, 480, 960, 1920, 3840, 7200, 7200]);
        assert!(age <= Duration::from_secs(86_400) && age > Duration::from_secs(86_400 - 7_200));
        let quick = Retry { first: Duration::from_millis(50), give_up_after: Some(Duration::from_millis(120)) };
        assert_eq!(quick.wait(1, Duration::ZERO), Some(Duration::from_millis(50)));
        assert_eq!(quick.wait(2, Duration::from_millis(50)), None);
        assert_eq!(rule.wait(u32::MAX, Duration::ZERO), Some(Duration::from_secs(7_200)));
    }

    #[test]
    fn a_pace_spaces_turns_and_catches_up_only_a_little() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(10.0));
        assert_eq!(pace.turn(start), None);
        assert_eq!(pace.turn(start), Some(start + Duration::from_millis(100)));
        let late = start + Duration::from_secs(60);
        let turns = (0..100).take_while(|_| pace.turn(late).is_none()).count();
        assert_eq!(turns, 2);
        assert!((0..1_000).all(|_| Pace::new(None).turn(start).is_none()));
        let mut slow = Pace::new(Some(f64::MIN_POSITIVE));
        assert_eq!(slow.turn(start), None);
        assert!(slow.turn(start + Duration::from_secs(3_600)).is_some());
    }

    #[test]
    fn what_is_typed_is_understood_or_explained() {
        assert_eq!(rate("0.5/s"), Ok(0.5));
        assert_eq!(rate("50"), Ok(50.0));
        assert_eq!(percent("2.5%"), Ok(2.5));
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "0/s", "-1", "NaN", "inf", "5/m"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "101", "-1", "NaN", "x"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "5", "0s", "-5s", "soon"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        for wrong in ["Name", ": x", "A b: x", "A: x\ny"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
