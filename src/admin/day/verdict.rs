//! Whether anything of a day was lost, judged by all that is known of it. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::admin::keep::{self, Told};
use crate::admin::number::grouped;
use crate::clock::{Day, Timestamp};
use crate::store::{
    Absence, AttemptCounts, DayChange, DeliveryCounts, Gap, LIST_MAX, Ledger, LedgerDay, NotificationCounts, Silence,
};

/// How many absences the store tells of.
const ABSENCES_KEPT: usize = 100;

/// What there is to look at.
pub(super) struct Seen {
    pub(super) day: Day,
    pub(super) now: Timestamp,
    /// The first day that has any account.
    pub(super) first: Option<Day>,
    /// The names of those that are configured.
    pub(super) sources: Vec<String>,
    /// Of every day.
    pub(super) rows: Vec<LedgerDay>,
    /// The counters now.
    pub(super) ledger: Ledger,
    /// Whether the counters are of the same moment as the days.
    pub(super) is_still: bool,
    /// Of that day.
    pub(super) gaps: Vec<Gap>,
    /// The newest first.
    pub(super) absences: Vec<Absence>,
    /// The POSTs that were refused, the newest first: when, and by which source.
    pub(super) refused: Vec<(Timestamp, String)>,
    /// Who took note of those of that day.
    pub(super) noted: Option<Noted>,
    /// Since when nothing is taken, and why, if so.
    pub(super) not_taking: Option<(Timestamp, String)>,
}

/// A person took note of the POSTs that were refused on a day: of all that there were until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RefusedNoted)]
pub(super) struct Noted {
    pub(super) at: Timestamp,
    pub(super) who: String,
    /// What was found of them.
    pub(super) reason: String,
}

/// Whether what was refused on a day leaves a doubt.
pub(super) fn doubts_refusals(seen: &Seen) -> bool {
    seen.forgot_refused() || refused(seen).iter().any(|refused| refused.noted < refused.count)
}

/// How many POSTs are known that were refused on a day and of which nobody took note yet.
pub(super) fn refused_since_noted(seen: &Seen) -> u64 {
    let new = |refused: &Refused| refused.count.saturating_sub(refused.noted);
    refused(seen).iter().map(|refused| u64::try_from(new(refused)).unwrap_or(u64::MAX)).sum()
}

impl Seen {
    /// Whether a list that is cut goes back to the beginning of the day.
    fn reaches(&self, oldest: Option<Timestamp>) -> bool {
        oldest.is_none_or(|oldest| oldest <= self.day.start())
    }

    fn has_all_absences(&self) -> bool {
        self.absences.len() < ABSENCES_KEPT || self.reaches(self.absences.last().map(|absence| absence.since))
    }

    /// Whether a POST of that day may have been refused that is not kept any more, and nobody took note of the whole day.
    fn forgot_refused(&self) -> bool {
        let is_whole = |noted: &Noted| noted.at >= self.day.plus(1).start();
        !self.has_all_refused() && !self.noted.as_ref().is_some_and(is_whole)
    }

    fn has_all_refused(&self) -> bool {
        self.refused.len() < LIST_MAX as usize || self.reaches(self.refused.last().map(|(at, _)| *at))
    }
}

/// What is to be said of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Verdict {
    /// All accounts add up, and nothing is known by which Salesforce may have dropped something.
    NothingLost,
    /// All accounts add up; but Salesforce may have dropped something before it was taken, or a copy of the store was put back
    /// that knows nothing of some of it.
    MayBeLost,
    /// An account does not add up.
    DoesNotBalance,
    /// The accounts begin later.
    Unknown,
}

/// One day's accounts, and whether anything of it was lost.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = LedgerOfDay)]
pub(in crate::admin) struct DayTold {
    /// UTC.
    day: Day,
    /// The day before, where there are accounts of it.
    previous: Option<Day>,
    /// The day after, unless it is still to come.
    next: Option<Day>,
    /// Whether nothing can be added to it any more.
    is_over: bool,
    /// The first day that has any account.
    first: Option<Day>,
    verdict: Verdict,
    /// Whether nothing was lost as far as can be known, or a person took note of what may be.
    ok: bool,
    /// The verdict in plain words.
    text: String,
    /// What came in on that day.
    notifications: NotificationCounts,
    /// By how much the accounts of deliveries changed on that day.
    deliveries: DeliveryCounts,
    /// The accounts of deliveries at the end of that day.
    at_end: DeliveryCounts,
    sources: Vec<SourceDay>,
    destinations: Vec<DestinationDay>,
    /// What must add up, and whether it does.
    equations: Vec<Equation>,
    /// When nobody listened.
    absences: Vec<Told>,
    /// What was refused, by source.
    refused: Vec<Refused>,
    /// Who took note of those last, and what was found.
    noted: Option<Noted>,
    /// What was not settled at its end, or was set aside on it, and how to see it.
    open: Vec<Open>,
    /// What cannot be known, or was not looked at.
    unknown: Vec<String>,
}

/// A source on that day.
#[derive(Serialize, utoipa::ToSchema)]
struct SourceDay {
    source: String,
    #[serde(flatten)]
    counts: NotificationCounts,
    /// The last envelope of that day, or before it.
    last_envelope: Option<Timestamp>,
    /// The longest time without an envelope that ended on that day or with it.
    silence: Option<Silence>,
    silence_s: Option<u64>,
}

/// A destination on that day.
#[derive(Serialize, utoipa::ToSchema)]
struct DestinationDay {
    destination: String,
    /// By how much its accounts changed. A state that more left than entered is below zero.
    #[serde(flatten)]
    counts: DeliveryCounts,
    /// Calls begun.
    attempts: i64,
    /// Calls with an unknown outcome.
    attempts_unknown: i64,
    /// At the end of that day.
    at_end: DeliveryCounts,
    /// Now.
    now: DeliveryCounts,
}

/// Something that must add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Equation {
    /// Whose.
    of: String,
    /// With its numbers.
    text: String,
    holds: bool,
}

/// POSTs that a source refused on that day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Refused {
    source: String,
    count: usize,
    /// Of so many of them a person took note.
    noted: usize,
    last_at: Timestamp,
    text: String,
}

/// What is not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Open {
    text: String,
    /// The command that shows it.
    command: String,
    /// The page that shows it.
    href: String,
}

type Deliveries = BTreeMap<String, DeliveryCounts>;
type Notifications = BTreeMap<String, NotificationCounts>;

/// The sums of some days.
#[derive(Default)]
struct Sums {
    sources: Notifications,
    destinations: Deliveries,
    attempts: BTreeMap<String, AttemptCounts>,
}

impl Sums {
    fn of<'r>(rows: impl Iterator<Item = &'r LedgerDay>) -> Self {
        let mut sums = Self::default();
        for row in rows {
            match &row.change {
                DayChange::Source { source, counts } => {
                    let sum = sums.sources.entry(source.clone()).or_default();
                    *sum = std::mem::take(sum).with(counts);
                }
                DayChange::Destination { destination, counts, attempts, attempts_unknown } => {
                    let sum = sums.destinations.entry(destination.clone()).or_default();
                    *sum = std::mem::take(sum).with(counts);
                    let calls = sums.attempts.entry(destination.clone()).or_default();
                    calls.total += attempts;
                    calls.unknown += attempts_unknown;
                }
            }
        }
        sums
    }

    fn notifications(&self) -> NotificationCounts {
        self.sources.values().fold(NotificationCounts::default(), NotificationCounts::with)
    }

    fn deliveries(&self) -> DeliveryCounts {
        self.destinations.values().fold(DeliveryCounts::default(), DeliveryCounts::with)
    }

    fn calls(&self) -> AttemptCounts {
        let sum = |count: fn(&AttemptCounts) -> i64| self.attempts.values().map(count).sum();
        AttemptCounts { total: sum(|calls| calls.total), unknown: sum(|calls| calls.unknown) }
    }
}

/// Judges a day.
pub(super) fn judge(seen: &Seen) -> DayTold {
    let (day, today) = (seen.day, seen.now.day());
    let on_it = Sums::of(seen.rows.iter().filter(|row| row.day == day));
    let by_its_end = Sums::of(seen.rows.iter().filter(|row| row.day <= day));
    let equations = equations(seen, &on_it, &by_its_end);
    let absences: Vec<&Absence> = seen.absences.iter().filter(|absence| touches(absence, day)).collect();
    let refused = refused(seen);
    let doubts = doubts(seen, &absences, &refused);
    let verdict = verdict(seen, &equations, &doubts);
    let (notifications, deliveries, at_end) = (on_it.notifications(), on_it.deliveries(), by_its_end.deliveries());
    let is_over = day < today;
    let sums = summary(&notifications, &deliveries, &at_end, is_over);
    let aside = set_aside(&notifications);
    DayTold {
        day,
        previous: seen.first.filter(|first| *first < day).map(|_| day.plus(-1)),
        next: is_over.then(|| day.plus(1)),
        is_over,
        first: seen.first,
        verdict,
        ok: verdict == Verdict::NothingLost,
        text: words(seen, verdict, (&sums, &aside), (&equations, &absences, &doubts)),
        sources: sources(seen, &on_it),
        destinations: destinations(seen, &on_it, &by_its_end),
        open: open(seen, &on_it, &by_its_end),
        unknown: unknown(seen),
        absences: absences.into_iter().map(|absence| keep::tell(absence.clone(), seen.now)).collect(),
        equations,
        refused,
        noted: seen.noted.clone(),
        notifications,
        deliveries,
        at_end,
    }
}

fn verdict(seen: &Seen, equations: &[Equation], doubts: &[String]) -> Verdict {
    if equations.iter().any(|equation| !equation.holds) {
        Verdict::DoesNotBalance
    } else if seen.first.is_none_or(|first| seen.day < first) {
        Verdict::Unknown
    } else if doubts.is_empty() {
        Verdict::NothingLost
    } else {
        Verdict::MayBeLost
    }
}

/// Why Salesforce may have dropped something of that day.
fn doubts(seen: &Seen, absences: &[&Absence], refused: &[Refused]) -> Vec<String> {
    let day = seen.day;
    let in_doubt = absences.iter().filter(|absence| is_in_doubt(absence, day)).map(|absence| absence.words());
    let mut all: Vec<String> = in_doubt
        .chain(refused.iter().filter(|refused| refused.noted < refused.count).map(|refused| refused.text.clone()))
        .collect();
    if let Some((since, reason)) = seen.not_taking.as_ref().filter(|(since, _)| *since < day.plus(1).start()) {
        all.push(format!(
            "nothing is taken since {}: {reason}; Salesforce tries again for 24 hours what it could not deliver, and drops \
             it then",
            since.spoken()
        ));
    }
    if seen.forgot_refused() {
        all.push("of POSTs that were refused the latest 1,000 are kept, and these do not go back so far".to_owned());
    }
    if !seen.has_all_absences() {
        all.push(
            "of times in which nobody listened the latest 100 are kept, and these do not go back so far".to_owned(),
        );
    }
    all
}

/// Whether an absence was on that day.
fn touches(absence: &Absence, day: Day) -> bool {
    absence.since < day.plus(1).start() && absence.until > day.start()
}

/// Whether Salesforce may have dropped something of that day and nobody took note.
fn is_in_doubt(absence: &Absence, day: Day) -> bool {
    absence.acknowledged_at.is_none() && absence.dropped_until().is_some_and(|until| until > day.start())
}

/// The parts of a sum that are not zero, each with its name.
fn sum(parts: &[(&str, i64)]) -> String {
    let mut text = String::new();
    for (name, count) in parts.iter().filter(|(_, count)| *count != 0) {
        let name = name.replace('_', " ");
        match (text.is_empty(), *count < 0) {
            (true, _) => {}
            (false, true) => text.push_str(" − "),
            (false, false) => text.push_str(" + "),
        }
        let shown = if text.is_empty() { grouped(*count) } else { grouped(count.abs()) };
        text.push_str(&format!("{shown} {name}"));
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

fn equation(of: String, (name, whole): (&str, i64), parts: &[(&str, i64)]) -> Equation {
    let holds = whole == parts.iter().map(|(_, count)| count).sum::<i64>();
    let sign = if holds { '=' } else { '≠' };
    Equation { of, text: format!("{} {name} {sign} {}", grouped(whole), sum(parts)), holds }
}

fn equations(seen: &Seen, on_it: &Sums, by_its_end: &Sums) -> Vec<Equation> {
    let mut all = Vec::new();
    for (source, counts) in &on_it.sources {
        let of = || format!("source {source}");
        let [received, unique, duplicate, revised, kinds @ ..] = counts.by_name();
        all.push(equation(of(), received, &[unique, duplicate, revised]));
        all.push(equation(of(), unique, &kinds));
    }
    for (destination, counts) in &on_it.destinations {
        let [routed, states @ ..] = counts.by_name();
        all.push(equation(format!("destination {destination}"), ("deliveries made", routed.1), &states));
    }
    for (destination, counts) in &by_its_end.destinations {
        let [routed, states @ ..] = counts.by_name();
        let of = format!("destination {destination}, since the first day");
        let found = equation(of, ("deliveries made", routed.1), &states);
        all.push(Equation { holds: found.holds && counts.balanced(), ..found });
    }
    if seen.is_still {
        all.push(days_and_counters(&seen.ledger, &Sums::of(seen.rows.iter())));
    }
    all
}

/// What all days together say must be what the counters say.
fn days_and_counters(ledger: &Ledger, all: &Sums) -> Equation {
    let holds = same(&ledger.sources, &all.sources)
        && same(&ledger.destinations, &all.destinations)
        && ledger.attempts == all.calls();
    let said = |received: i64, made: i64, calls: i64| {
        format!("{} received, {} deliveries made, {} calls", grouped(received), grouped(made), grouped(calls))
    };
    let counters = said(ledger.notifications.received, ledger.deliveries.routed, ledger.attempts.total);
    let days = said(all.notifications().received, all.deliveries().routed, all.calls().total);
    let sign = if holds { '=' } else { '≠' };
    Equation { of: "counters and the sum of all days".to_owned(), text: format!("{counters} {sign} {days}"), holds }
}

/// Whether both say the same of everybody; who is not there has nothing.
fn same<C: Default + PartialEq>(counters: &BTreeMap<String, C>, days: &BTreeMap<String, C>) -> bool {
    let none = C::default();
    let mut names = counters.keys().chain(days.keys());
    names.all(|name| counters.get(name).unwrap_or(&none) == days.get(name).unwrap_or(&none))
}

fn sources(seen: &Seen, on_it: &Sums) -> Vec<SourceDay> {
    let mut names: Vec<&String> = seen.sources.iter().chain(on_it.sources.keys()).collect();
    names.sort();
    names.dedup();
    let told = |name: &String| {
        let gap = seen.gaps.iter().find(|gap| gap.source == *name);
        let silence = gap.and_then(|gap| silence(gap, seen));
        SourceDay {
            source: name.clone(),
            counts: on_it.sources.get(name).cloned().unwrap_or_default(),
            last_envelope: gap.map(|gap| gap.last_envelope),
            silence,
            silence_s: silence.map(|silence| silence.until.since(silence.since).as_secs()),
        }
    };
    names.into_iter().map(told).collect()
}

/// The longest silence of a day; the one that goes on at its end counts as far as it.
fn silence(gap: &Gap, seen: &Seen) -> Option<Silence> {
    let end = seen.day.plus(1).start().min(seen.now);
    let last = Silence { since: gap.last_envelope, until: end };
    gap.longest.into_iter().chain([last]).max_by_key(|silence| silence.until.since(silence.since))
}

fn destinations(seen: &Seen, on_it: &Sums, by_its_end: &Sums) -> Vec<DestinationDay> {
    let told = |(name, at_end): (&String, &DeliveryCounts)| {
        let calls = on_it.attempts.get(name).cloned().unwrap_or_default();
        DestinationDay {
            destination: name.clone(),
            counts: on_it.destinations.get(name).cloned().unwrap_or_default(),
            attempts: calls.total,
            attempts_unknown: calls.unknown,
            at_end: at_end.clone(),
            now: seen.ledger.destinations.get(name).cloned().unwrap_or_default(),
        }
    };
    by_its_end.destinations.iter().map(told).collect()
}

fn refused(seen: &Seen) -> Vec<Refused> {
    let mut by_source: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    for (at, source) in seen.refused.iter().filter(|(at, _)| at.day() == seen.day) {
        by_source.entry(source).or_default().push(*at);
    }
    let told = |(source, moments): (&str, Vec<Timestamp>)| {
        let is_noted = |at: &&Timestamp| seen.noted.as_ref().is_some_and(|noted| **at <= noted.at);
        let noted = moments.iter().filter(is_noted).count();
        let (count, last_at) = (moments.len(), moments.into_iter().max()?);
        let posts = match (count, seen.has_all_refused()) {
            (1, true) => "1 POST was".to_owned(),
            (_, true) => format!("{count} POSTs were"),
            (_, false) => format!("at least {count} POSTs were"),
        };
        let before = match noted {
            0 => String::new(),
            noted if noted == count => ", all of which were taken note of".to_owned(),
            noted => format!(", {noted} of which were taken note of before, and {} are new", count - noted),
        };
        let text = format!(
            "{posts} refused by source {source}, the last at {}{before}: Salesforce tries what was not taken again for 24 hours \
             and drops it then; whether it was taken later cannot be told from what was refused: `omgate sources refused --day \
             {}`, or the page Refused",
            last_at.spoken(),
            seen.day
        );
        Some(Refused { source: source.to_owned(), count, noted, last_at, text })
    };
    by_source.into_iter().filter_map(told).collect()
}

/// What is set aside and never becomes a delivery by itself, the worst first, and what to do about it.
const ASIDE: [(&str, &str); 3] = [
    ("unreadable", "kept as they came: have them mended where they are made, and sent again"),
    ("quarantined", "they wait for `omgate sources adopt SOURCE --organization ID`"),
    ("unrouted", "they wait for a route that takes them, and `omgate notifications reroute`"),
];

/// Those of some notifications that were set aside.
fn aside(counts: &NotificationCounts) -> impl Iterator<Item = (&'static str, i64, &'static str)> {
    let counts = counts.by_name();
    let count = move |kind: &str| counts.iter().find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count);
    ASIDE.into_iter().map(move |(kind, advice)| (kind, count(kind), advice)).filter(|(_, count, _)| *count > 0)
}

/// What was taken and goes nowhere, in a sentence; empty where there is none.
fn set_aside(came: &NotificationCounts) -> String {
    let each = |(kind, count, advice): (&str, i64, &str)| format!("{} {kind} ({advice})", grouped(count));
    let all: Vec<String> = aside(came).map(each).collect();
    if all.is_empty() {
        return String::new();
    }
    format!(" But of what was taken these were delivered nowhere: {}.", all.join("; "))
}

/// States that are not settled, or that need a person: the worst first.
fn unsettled(counts: &DeliveryCounts) -> impl Iterator<Item = (&'static str, i64)> {
    let counts = counts.by_name();
    let count = move |state: &str| counts.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count);
    let open = ["dead", "held", "blocked", "waiting", "in_flight"];
    open.into_iter().map(move |state| (state, count(state))).filter(|(_, count)| *count > 0)
}

fn open(seen: &Seen, on_it: &Sums, by_its_end: &Sums) -> Vec<Open> {
    let (start, end) = (seen.day.start(), seen.day.plus(1).start());
    let mut all = Vec::new();
    for (source, counts) in &on_it.sources {
        for (kind, count, advice) in aside(counts) {
            all.push(Open {
                text: format!("source {source}: {} {kind}: {advice}", grouped(count)),
                command: format!(
                    "omgate notifications list --source {source} --kind {kind} --since {start} --until {end}"
                ),
                href: format!("/notifications?source={}&kind={kind}&since={start}&until={end}", encoded(source)),
            });
        }
    }
    let moment = if seen.day < seen.now.day() { "at the end of the day" } else { "now" };
    let still_there = seen.ledger.left();
    for (destination, counts) in &by_its_end.destinations {
        let now = still_there.destinations.get(destination).cloned().unwrap_or_default();
        for (state, count) in unsettled(counts) {
            let left = now.by_name().into_iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| count);
            let later = if moment == "now" { String::new() } else { format!("; {} now", grouped(left)) };
            all.push(Open {
                text: format!(
                    "destination {destination}: {} {} {moment}{later}",
                    grouped(count),
                    state.replace('_', " ")
                ),
                command: format!("omgate deliveries list --destination {destination} --state {state} --until {end}"),
                href: format!("/deliveries?destination={}&state={state}&until={end}", encoded(destination)),
            });
        }
    }
    all
}

fn encoded(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

fn unknown(seen: &Seen) -> Vec<String> {
    let mut all = vec![
        "What Salesforce dropped before it reached this gateway is in none of its accounts: what is known of such times is \
         named above; when in doubt, compare with the records that changed in Salesforce."
            .to_owned(),
        "POSTs to addresses that no source has, and connections that were refused before a POST, are in no account of a day: \
         the metrics omgate_unknown_paths_total and omgate_refused_total count them since the gateway's start."
            .to_owned(),
        "Counters are compared here with one another and with their days; `omgate store verify` compares them with every row."
            .to_owned(),
    ];
    if !seen.is_still {
        all.push("The accounts changed while they were read: counters were not compared with their days.".to_owned());
    }
    all
}

/// What came in, and what became of it.
fn summary(came: &NotificationCounts, changed: &DeliveryCounts, at_end: &DeliveryCounts, is_over: bool) -> String {
    let received = if came.received == 0 {
        "nothing was received".to_owned()
    } else {
        let [_, unique, duplicate, revised, ..] = came.by_name();
        format!("{} received = {}", grouped(came.received), sum(&[unique, duplicate, revised]))
    };
    let made = format!("{} deliveries made, {} delivered", grouped(changed.routed), grouped(changed.delivered));
    let open: Vec<String> =
        unsettled(at_end).map(|(state, count)| format!("{} {}", grouped(count), state.replace('_', " "))).collect();
    let moment = if is_over { "at the end of the day" } else { "now" };
    let open = if open.is_empty() { "nothing was left open".to_owned() } else { open.join(", ") };
    format!("{received}; {made}; {moment}: {open}")
}

type Found<'f> = (&'f [Equation], &'f [&'f Absence], &'f [String]);

fn words(
    seen: &Seen,
    verdict: Verdict,
    (sums, aside): (&str, &str),
    (equations, absences, doubts): Found<'_>,
) -> String {
    let day = seen.day;
    let so_far = if day < seen.now.day() { "" } else { " so far" };
    match verdict {
        Verdict::NothingLost => {
            let noted = absences.iter().filter(|absence| absence.dropped_until().is_some());
            let noted: Vec<String> = noted
                .filter_map(|absence| absence.acknowledged_by.as_deref().map(|who| (who, absence.restored)))
                .map(|(who, restored)| match restored {
                    false => format!("{who} took note of what Salesforce may have dropped while nobody listened"),
                    true => format!("{who} took note of what may be gone since a copy of the store was put back"),
                })
                .collect();
            let refusals = seen
                .noted
                .as_ref()
                .map(|Noted { who, reason, .. }| format!("{who} took note of the POSTs that were refused ({reason})"));
            let noted: Vec<String> = noted.into_iter().chain(refusals).collect();
            if absences.iter().any(|absence| absence.restored) {
                format!("What this store knows of {day} adds up{so_far}: {sums}. {}.{aside}", noted.join("; "))
            } else if noted.is_empty() {
                format!("Nothing was lost on {day}{so_far}: {sums}.{aside}")
            } else {
                // What the person found is not known here.
                format!("Nothing that was taken on {day} was lost{so_far}: {sums}. {}.{aside}", noted.join("; "))
            }
        }
        Verdict::MayBeLost if absences.iter().any(|absence| absence.restored && is_in_doubt(absence, day)) => format!(
            "What was taken on {day} may be gone, for the store is a copy that was put back. What it knows adds up{so_far}: \
             {sums}. In doubt: {}.{aside}",
            doubts.join("; ")
        ),
        Verdict::MayBeLost => format!(
            "Nothing that was taken on {day} was lost{so_far}: {sums}. Whether Salesforce dropped something cannot be \
             known: {}.{aside}",
            doubts.join("; ")
        ),
        Verdict::DoesNotBalance => {
            let wrong = equations.iter().filter(|equation| !equation.holds);
            let wrong: Vec<String> = wrong.map(|equation| format!("{}: {}", equation.of, equation.text)).collect();
            format!("THE ACCOUNTS DO NOT ADD UP: {}. `omgate store verify` says where.", wrong.join("; "))
        }
        Verdict::Unknown => match seen.first {
            Some(first) => format!("Nothing is known of {day}: the accounts begin on {first}."),
            None => "Nothing is known of it: nothing was ever received.".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn came(day: i64, received: i64) -> LedgerDay {
        let counts = NotificationCounts { received, unique: received, routed: received, ..Default::default() };
        LedgerDay { day: Day(day), change: DayChange::Source { source: "crm".to_owned(), counts } }
    }

    fn went(day: i64, counts: DeliveryCounts, attempts: i64) -> LedgerDay {
        let destination = "erp".to_owned();
        LedgerDay {
            day: Day(day),
            change: DayChange::Destination { destination, counts, attempts, attempts_unknown: 0 },
        }
    }

    /// On day 10 four came, of which three wait at its end and are delivered on day 11.
    fn seen() -> Seen {
        let made = DeliveryCounts { routed: 4, waiting: 3, delivered: 1, ..Default::default() };
        let later = DeliveryCounts { waiting: -3, delivered: 3, ..Default::default() };
        let all = made.clone().with(&later);
        let rows = vec![came(10, 4), went(10, made, 1), went(11, later, 3)];
        let came = Sums::of(rows.iter()).sources;
        let ledger = Ledger {
            notifications: came["crm"].clone(),
            deliveries: all.clone(),
            attempts: AttemptCounts { total: 4, unknown: 0 },
            destinations: BTreeMap::from([("erp".to_owned(), all)]),
            sources: came,
            ..Ledger::default()
        };
        let (before, last) = (Timestamp(Day(10).start().0 + HOUR), Timestamp(Day(10).start().0 + 5 * HOUR));
        let longest = Some(Silence { since: before, until: last });
        Seen {
            day: Day(10),
            now: Timestamp(Day(11).start().0 + 9 * HOUR),
            first: Some(Day(10)),
            sources: vec!["crm".to_owned(), "shop".to_owned()],
            rows,
            ledger,
            is_still: true,
            gaps: vec![Gap { source: "crm".to_owned(), last_envelope: last, longest }],
            absences: Vec::new(),
            refused: Vec::new(),
            noted: None,
            not_taking: None,
        }
    }

    fn absence(from: i64, hours: i64) -> Absence {
        let since = Timestamp(Day(10).start().0 + from * HOUR);
        let until = Timestamp(since.0 + hours * HOUR);
        Absence { id: 1, since, until, acknowledged_at: None, acknowledged_by: None, restored: false }
    }

    #[test]
    fn a_day_on_which_all_adds_up_lost_nothing_and_says_what_was_open() {
        let told = judge(&seen());
        assert_eq!((told.verdict, told.ok, told.is_over), (Verdict::NothingLost, true, true));
        let text = "Nothing was lost on 1970-01-11: 4 received = 4 unique; 4 deliveries made, 1 delivered; at the end of \
                    the day: 3 waiting.";
        assert_eq!(told.text, text);
        assert_eq!((told.previous, told.next), (None, Some(Day(11))));
        assert_eq!(told.open[0].text, "destination erp: 3 waiting at the end of the day; 0 now");
        assert!(
            told.open[0].command.starts_with("omgate deliveries list --destination erp --state waiting --until 1970")
        );
        assert_eq!((told.destinations[0].at_end.waiting, told.destinations[0].now.delivered), (3, 4));
        assert_eq!(told.sources[0].silence_s, Some(19 * 3_600), "the night counts as far as midnight");
        assert_eq!((told.sources[1].source.as_str(), told.sources[1].silence_s), ("shop", None), "it was never heard");
        let next = judge(&Seen { day: Day(11), ..seen() });
        assert!(
            next.text.starts_with("Nothing was lost on 1970-01-12 so far: nothing was received; 0 deliveries made, 3")
        );
        assert_eq!(next.equations[0].text, "0 deliveries made = −3 waiting + 3 delivered");
        assert_eq!((next.previous, next.next, next.is_over), (Some(Day(10)), None, false));
    }

    #[test]
    fn what_was_taken_and_goes_nowhere_is_named_the_worst_first() {
        let mut odd = seen();
        let counts = NotificationCounts {
            received: 10,
            unique: 10,
            routed: 4,
            unrouted: 1,
            unreadable: 2,
            quarantined: 3,
            ..Default::default()
        };
        odd.rows[0].change = DayChange::Source { source: "crm".to_owned(), counts: counts.clone() };
        odd.ledger.sources.insert("crm".to_owned(), counts.clone());
        odd.ledger.notifications = counts;
        let told = judge(&odd);
        assert_eq!(told.verdict, Verdict::NothingLost, "{}", told.text);
        let (_, aside) =
            told.text.split_once(" But of what was taken these were delivered nowhere: 2 unreadable (").unwrap();
        let place = |word: &str| aside.find(word).unwrap_or_else(|| panic!("{word}: {aside}"));
        assert!(place("; 3 quarantined (") < place("; 1 unrouted ("), "{aside}");
        assert!(told.open[0].text.starts_with("source crm: 2 unreadable: kept as they came"), "{}", told.open[0].text);
        assert!(!judge(&seen()).text.contains("nowhere"));
    }

    #[test]
    fn what_does_not_add_up_is_said_before_all_else() {
        let mut wrong = seen();
        wrong.rows.push(came(10, 1));
        let told = judge(&wrong);
        assert_eq!((told.verdict, told.ok), (Verdict::DoesNotBalance, false));
        assert!(told.text.contains("counters and the sum of all days: 4 received"), "{}", told.text);
        let moving = judge(&Seen { is_still: false, ..wrong });
        assert_eq!(moving.verdict, Verdict::NothingLost, "what is of two moments is not compared");
        assert!(moving.unknown.iter().any(|said| said.contains("changed while they were read")));
        let mut short = seen();
        let counts = NotificationCounts { received: 5, unique: 4, routed: 4, ..Default::default() };
        short.rows[0].change = DayChange::Source { source: "crm".to_owned(), counts };
        assert_eq!(judge(&short).equations[0].text, "5 received ≠ 4 unique");
        let mut below = seen();
        below.rows[1] = went(10, DeliveryCounts { waiting: -1, dead: 1, ..Default::default() }, 4);
        assert!(!judge(&below).ok, "nobody has less than nothing");
    }

    #[test]
    fn what_salesforce_may_have_dropped_is_in_doubt_until_a_person_took_note() {
        let with = |absence: Absence, day: i64| judge(&Seen { absences: vec![absence], day: Day(day), ..seen() });
        let short = with(absence(2, 1), 10);
        assert_eq!((short.verdict, short.absences.len()), (Verdict::NothingLost, 1));
        let long = with(absence(-4, 30), 10);
        assert_eq!((long.verdict, long.ok), (Verdict::MayBeLost, false));
        assert!(long.text.contains("Whether Salesforce dropped something cannot be known: nobody listened"));
        let noted = Absence {
            acknowledged_at: Some(Timestamp(0)),
            acknowledged_by: Some("alice".to_owned()),
            ..absence(-4, 30)
        };
        let noted = with(noted, 10);
        assert!(
            noted.ok
                && noted.text.starts_with("Nothing that was taken on 1970-01-11 was lost: ")
                && noted.text.ends_with("alice took note of what Salesforce may have dropped while nobody listened.")
        );
        assert_eq!(with(absence(-40, 30), 10).absences.len(), 0, "it was over before");
    }

    #[test]
    fn a_day_of_which_a_copy_that_was_put_back_knows_nothing_is_in_doubt_until_a_person_took_note() {
        let with = |absence: Absence, day: i64| judge(&Seen { absences: vec![absence], day: Day(day), ..seen() });
        let restored = Absence { restored: true, ..absence(2, 1) };
        let told = with(restored.clone(), 10);
        assert_eq!((told.verdict, told.ok), (Verdict::MayBeLost, false), "however short");
        assert!(
            told.text.starts_with("What was taken on 1970-01-11 may be gone, for the store is a copy"),
            "{}",
            told.text
        );
        assert!(
            !told.text.contains("Nothing") && told.text.contains("at 1970-01-11 03:00:00 UTC a copy"),
            "{}",
            told.text
        );
        assert!(with(restored.clone(), 11).ok, "it was put back the day before");
        let by = |who: &str| (Some(Timestamp(0)), Some(who.to_owned()));
        let (acknowledged_at, acknowledged_by) = by("alice");
        let noted = with(Absence { acknowledged_at, acknowledged_by, ..restored }, 10);
        assert!(noted.ok && noted.text.starts_with("What this store knows of 1970-01-11 adds up: "), "{}", noted.text);
        let ending = "alice took note of what may be gone since a copy of the store was put back.";
        assert!(noted.text.ends_with(ending) && !noted.text.contains("Nothing"), "{}", noted.text);
    }

    #[test]
    fn a_refused_post_and_a_day_before_the_first_are_no_proof() {
        let at = Timestamp(Day(10).start().0 + HOUR);
        let refused = judge(&Seen { refused: vec![(at, "crm".to_owned()), (at, "crm".to_owned())], ..seen() });
        assert_eq!((refused.verdict, refused.refused[0].count), (Verdict::MayBeLost, 2));
        assert!(refused.text.contains("2 POSTs were refused by source crm, the last at 1970-01-11 01:00:00 UTC"));
        let early = judge(&Seen { day: Day(9), ..seen() });
        assert_eq!((early.verdict, early.ok), (Verdict::Unknown, false));
        assert_eq!(early.text, "Nothing is known of 1970-01-10: the accounts begin on 1970-01-11.");
    }

    #[test]
    fn what_was_refused_is_in_doubt_until_a_person_took_note() {
        let hour = |hour: i64| Timestamp(Day(10).start().0 + hour * HOUR);
        let noted = |at: Timestamp| Some(Noted { at, who: "alice".to_owned(), reason: "sent by hand".to_owned() });
        let refused = vec![(hour(3), "crm".to_owned()), (hour(1), "crm".to_owned())];
        let early = judge(&Seen { refused: refused.clone(), noted: noted(hour(2)), ..seen() });
        assert_eq!((early.verdict, early.refused[0].count, early.refused[0].noted), (Verdict::MayBeLost, 2, 1));
        let late = judge(&Seen { refused, noted: noted(hour(4)), ..seen() });
        assert!(late.ok && late.refused[0].noted == 2, "{}", late.text);
        assert!(late.text.ends_with("alice took note of the POSTs that were refused (sent by hand)."), "{}", late.text);
        let forgotten = vec![(hour(30), "crm".to_owned()); LIST_MAX as usize];
        let then = |at| Seen { refused: forgotten.clone(), noted: noted(at), ..seen() };
        assert!(doubts_refusals(&then(hour(20))) && !doubts_refusals(&then(hour(25))), "a day that was not over");
    }

    #[test]
    fn what_was_forgotten_or_is_not_taken_now_is_in_doubt() {
        let hour = |day: i64, hour: i64| Timestamp(Day(day).start().0 + hour * HOUR);
        let many = |at: Timestamp| Seen { refused: vec![(at, "crm".to_owned()); LIST_MAX as usize], ..seen() };
        let later = judge(&many(hour(11, 1)));
        assert_eq!((later.verdict, later.refused.len()), (Verdict::MayBeLost, 0));
        assert!(later.text.contains("the latest 1,000 are kept, and these do not go back so far"), "{}", later.text);
        let on_it = judge(&many(hour(10, 1)));
        assert!(on_it.text.contains("at least 1000 POSTs were refused by source crm"), "{}", on_it.text);
        let stopped = |since: Timestamp| Seen { not_taking: Some((since, "the disk is full".to_owned())), ..seen() };
        let before = judge(&stopped(hour(8, 3)));
        assert_eq!((before.verdict, before.ok), (Verdict::MayBeLost, false));
        assert!(
            before.text.contains("nothing is taken since 1970-01-09 03:00:00 UTC: the disk is full;"),
            "{}",
            before.text
        );
        assert!(judge(&stopped(hour(11, 3))).ok, "what came on that day was taken");
    }

    #[test]
    fn numbers_are_read_by_people() {
        assert_eq!([0, 999, 1_204, -1_000].map(grouped), ["0", "999", "1,204", "−1,000"]);
        assert_eq!(
            sum(&[("waiting", -1), ("in_flight", 0), ("dead", 2), ("held", -3)]),
            "−1 waiting + 2 dead − 3 held"
        );
    }
}
