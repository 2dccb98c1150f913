//! What needs a person now, in plain words: the same on the first page, in the API and in the command line. Pure.

use serde::Serialize;

use crate::admin::ABSENCE_ALARM;
use crate::admin::failing::Failing;
use crate::admin::outlook::quoted;
use crate::clock::Timestamp;
use crate::store::{DeliveryCounts, Ledger, NotificationCounts};
use crate::why::Shut;

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct NeedsPerson {
    /// A word for programs.
    pub(super) what: &'static str,
    /// The system, destination, source or file that it is about; may be empty.
    pub(super) subject: String,
    /// In plain words.
    pub(super) text: String,
    /// What may be behind it, as a question; may be empty.
    pub(super) hint: &'static str,
    /// The page on which something can be done about it.
    pub(super) href: String,
}

/// What is known of a system that is not called.
pub(super) struct System<'a> {
    pub(super) name: &'a str,
    pub(super) shut: &'a Shut,
    /// Of all its destinations.
    pub(super) counts: DeliveryCounts,
}

/// What there is to look at.
pub(super) struct Seen<'a> {
    /// Why nothing is taken, if so.
    pub(super) not_ready: Option<&'a str>,
    pub(super) systems: &'a [System<'a>],
    /// Alarms that stand: name, subject, message.
    pub(super) alarms: &'a [(&'static str, String, String)],
    pub(super) ledger: &'a Ledger,
    /// Deliveries that were tried and still wait.
    pub(super) failing: &'a [Failing],
}

/// Alarms that say again what is said of a system, a destination or the ledger.
const SAID_BELOW: [&str; 4] = ["paused", "breaker", "dead", "ledger"];

/// What needs a person, the most urgent first.
pub(super) fn needs(seen: &Seen<'_>) -> Vec<NeedsPerson> {
    let mut list = Vec::new();
    if let Some(reason) = seen.not_ready {
        list.push(need("not_ready", "", format!("No envelope is taken: {reason}."), hint(reason), "/configuration"));
    }
    if !seen.ledger.balanced {
        let text = "The ledger does not balance: something was counted that is not there, or the reverse. \
                    Run `omgate store verify` and keep the database as it is.";
        list.push(need("unbalanced", "", text.to_owned(), "", "/"));
    }
    list.extend(seen.systems.iter().filter_map(of_system));
    // That the store cannot write is why nothing is taken.
    let is_said = |alarm: &str| SAID_BELOW.contains(&alarm) || (alarm == "store" && seen.not_ready.is_some());
    for (alarm, subject, message) in seen.alarms.iter().filter(|(alarm, ..)| !is_said(alarm)) {
        // The number of an absence would look like how many there are.
        let is_plain = subject.is_empty() || *alarm == ABSENCE_ALARM;
        let text = if is_plain { message.clone() } else { format!("{subject}: {message}") };
        // What is wrong in a file says nothing of who answered how.
        let hint = if *alarm == "reload" { "" } else { hint(message) };
        list.push(need(alarm, subject, text, hint, href_of(alarm)));
    }
    for failing in seen.failing {
        // A system that is not called says it for all of its own.
        let is_said = seen.systems.iter().any(|system| system.name == failing.system && of_system(system).is_some());
        let counts = seen.ledger.destinations.get(&failing.destination);
        if let Some(counts) = counts.filter(|counts| !is_said && counts.waiting + counts.in_flight > 0) {
            list.push(of_failing(failing, counts));
        }
    }
    for (destination, counts) in &seen.ledger.destinations {
        if counts.dead > 0 {
            let text = format!("{destination}: {}.", plural(counts.dead, "dead letter", "dead letters"));
            let href = format!("/dead?destination={}", encoded(destination));
            list.push(NeedsPerson { what: "dead", subject: destination.clone(), text, hint: "", href });
        }
        if counts.held > 0 {
            let text = format!(
                "{destination}: {} for a person's decision.",
                plural(counts.held, "delivery waits", "deliveries wait")
            );
            let href = format!("/deliveries?state=held&destination={}", encoded(destination));
            list.push(NeedsPerson { what: "held", subject: destination.clone(), text, hint: "", href });
        }
    }
    for (source, counts) in &seen.ledger.sources {
        list.extend(of_source(source, counts));
    }
    list
}

fn need(what: &'static str, subject: &str, text: String, hint: &'static str, href: &str) -> NeedsPerson {
    NeedsPerson { what, subject: subject.to_owned(), text, hint, href: href.to_owned() }
}

/// `erp refuses since 02:14: 401; 312 wait`.
fn of_system(system: &System<'_>) -> Option<NeedsPerson> {
    let System { name, shut, counts } = system;
    let mut waiting = plural(counts.waiting + counts.blocked + counts.in_flight, "delivery waits", "deliveries wait");
    if counts.blocked > 0 {
        waiting = format!("{waiting} ({})", queue(counts));
    }
    let (what, text, reason) = match shut {
        Shut::Paused(pause) => {
            let until = match (pause.probe_at, pause.until) {
                (Some(at), _) => format!("one delivery is tried at {}", Timestamp::spoken(at)),
                (None, Some(until)) => format!("until {}", Timestamp::spoken(until)),
                (None, None) => "until a person resumes it".to_owned(),
            };
            let (since, reason) = (Timestamp::spoken(pause.since), ended(&pause.reason));
            ("paused", format!("{name} is paused since {since}: {reason}; {waiting}, {until}."), pause.reason.as_str())
        }
        Shut::Broken(outage) => {
            let (since, at, reason) =
                (Timestamp::spoken(outage.since), Timestamp::spoken(outage.probe_at), ended(&outage.reason));
            let text = format!("{name} fails since {since}: {reason}; {waiting}, and one is tried at {at}.");
            ("breaker", text, outage.reason.as_str())
        }
        Shut::Untried(outage) => {
            let (since, reason) = (Timestamp::spoken(outage.since), ended(&outage.reason));
            let text =
                format!("{name} fails since {since}: {reason}; {waiting}, and the next call that is due tries it.");
            ("breaker", text, outage.reason.as_str())
        }
        // Hours that are closed, and limits, need nobody.
        Shut::Closed { .. } | Shut::Full { .. } | Shut::Warming { .. } | Shut::Rate { .. } => return None,
    };
    let href = format!("/destinations?system={}", encoded(name));
    Some(NeedsPerson { what, subject: (*name).to_owned(), text, hint: hint(reason), href })
}

/// `erp-create: 12 lanes stand since 12:35, and 30 deliveries wait behind others: SOAP fault Server …`. What to do stands before
/// the reason, of which not everybody sees all.
fn of_failing(failing: &Failing, counts: &DeliveryCounts) -> NeedsPerson {
    let Failing { destination, system, count, is_more, are_lanes, since, reason, has_others } = failing;
    let in_lanes = *are_lanes && counts.blocked > 0;
    let least = if *is_more { "at least " } else { "" };
    let count = i64::try_from(*count).unwrap_or(i64::MAX);
    let (what, command, href) = if in_lanes {
        let behind = plural(counts.blocked, "delivery waits", "deliveries wait");
        let what =
            format!("{} since {}, and {behind} behind", plural(count, "lane stands", "lanes stand"), since.spoken());
        let command = format!("omgate lanes list --system {}", quoted(system));
        (what, command, format!("/lanes?system={}", encoded(system)))
    } else {
        let fail = plural(count, "delivery fails", "deliveries fail");
        let command =
            format!("omgate deliveries list --state waiting --attempts 1 --destination {}", quoted(destination));
        let href = format!("/deliveries?state=waiting&attempts=1&destination={}", encoded(destination));
        (format!("{fail} again and again, the oldest made at {}", since.spoken()), command, href)
    };
    let others = if *has_others { ", and other reasons" } else { "" };
    let text = format!("{destination}: {least}{what} (`{command}`): {}{others}.", ended(reason));
    NeedsPerson { what: "failing", subject: destination.clone(), text, hint: hint(reason), href }
}

/// What waits, with those that are behind another in their lane: `1 waiting, 15 blocked behind`.
pub(super) fn queue(counts: &DeliveryCounts) -> String {
    let parts = [(counts.waiting, "waiting"), (counts.blocked, "blocked behind"), (counts.in_flight, "in flight")];
    let some = parts.into_iter().filter(|(count, _)| *count > 0);
    let some: Vec<String> = some.map(|(count, word)| format!("{count} {word}")).collect();
    if some.is_empty() { "nothing waits".to_owned() } else { some.join(", ") }
}

fn of_source(source: &str, counts: &NotificationCounts) -> Vec<NeedsPerson> {
    let kinds = [
        ("quarantined", counts.quarantined, "of an organization that is not known"),
        ("unrouted", counts.unrouted, "that no route takes"),
        ("unreadable", counts.unreadable, "that cannot be read"),
    ];
    let some = kinds.into_iter().filter(|(_, count, _)| *count > 0);
    let each = some.map(|(kind, count, why)| NeedsPerson {
        what: kind,
        subject: source.to_owned(),
        text: format!("{source}: {} {why}.", plural(count, "notification", "notifications")),
        hint: "",
        href: format!("/notifications?kind={kind}&source={}", encoded(source)),
    });
    each.collect()
}

/// Where something can be done about an alarm.
fn href_of(alarm: &str) -> &'static str {
    match alarm {
        ABSENCE_ALARM => "/ledger",
        "refused" | "stranger" => "/refused",
        "silence" | "drift" | "loop" | "overload" | "quarantine" | "record_type" => "/sources",
        "reload" | "orphans" | "certificate" | "store" => "/configuration",
        _ => "/",
    }
}

/// What may be behind a reason, as one would ask at night.
fn hint(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    let hints: [(&[&str], &str); 9] = [
        (&["401", "403", "unauthorized", "credential", "token"], "Did its password, token or certificate expire?"),
        (&["certificate", "tls", "handshake"], "Was its certificate renewed, or did it expire?"),
        (&["connection refused", "refused the connection"], "Is it running, and on that port?"),
        (&["timed out", "timeout", "no answer"], "Is it overloaded, or does a firewall swallow the calls?"),
        (&["resolve", "dns", "no such host", "lookup"], "Is its name right, and does the name server answer?"),
        (&["429", "too many requests"], "Is the rate of calls above what it allows?"),
        (&["no space", "disk is full"], "Make room on it; then it goes on by itself."),
        (&["disk"], "Is the disk well, and is there room on it?"),
        (&["500", "502", "503", "504"], "What do its own logs say at that moment?"),
    ];
    let found = hints.into_iter().find(|(words, _)| words.iter().any(|word| reason.contains(word)));
    found.map_or("", |(_, hint)| hint)
}

fn ended(text: &str) -> &str {
    text.trim_end_matches(['.', ' ', ';'])
}

fn plural(count: i64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Outage, Pause};

    #[test]
    fn a_system_that_refuses_our_credentials_is_said_in_one_line_with_a_guess() {
        let shut = Shut::Paused(Pause::new("HTTP 401 Unauthorized", Timestamp(0)));
        let counts = DeliveryCounts { waiting: 311, blocked: 1, ..DeliveryCounts::default() };
        let ledger = Ledger { balanced: true, ..Ledger::default() };
        let systems = [System { name: "erp", shut: &shut, counts }];
        let seen = Seen { not_ready: None, systems: &systems, alarms: &[], ledger: &ledger, failing: &[] };
        let found = needs(&seen);
        assert_eq!(found.len(), 1);
        let text = "erp is paused since 1970-01-01 00:00:00 UTC: HTTP 401 Unauthorized; 312 deliveries wait \
                    (311 waiting, 1 blocked behind), until a person resumes it.";
        assert_eq!((found[0].text.as_str(), found[0].hint), (text, "Did its password, token or certificate expire?"));
    }

    #[test]
    fn what_waits_is_counted_with_what_is_behind_it() {
        let counts = DeliveryCounts { waiting: 1, blocked: 15, dead: 3, ..DeliveryCounts::default() };
        assert_eq!(queue(&counts), "1 waiting, 15 blocked behind");
        assert_eq!(queue(&DeliveryCounts::default()), "nothing waits");
    }

    #[test]
    fn a_system_whose_breaker_is_open_is_told_also_when_nothing_is_due_that_could_try_it() {
        let outage = Outage { reason: "500".to_owned(), since: Timestamp(0), probe_at: Timestamp(1), trips: 1 };
        let counts = DeliveryCounts { waiting: 24, ..DeliveryCounts::default() };
        let need = of_system(&System { name: "shop", shut: &Shut::Untried(outage), counts }).unwrap();
        let text = "shop fails since 1970-01-01 00:00:00 UTC: 500; 24 deliveries wait, and the next call that is due tries it.";
        assert_eq!((need.what, need.text.as_str()), ("breaker", text));
    }

    #[test]
    fn lanes_whose_heads_fail_are_told_by_destination_unless_their_system_says_it() {
        let failing = Failing {
            destination: "erp-create".to_owned(),
            system: "erp".to_owned(),
            count: 12,
            is_more: false,
            are_lanes: true,
            since: Timestamp(0),
            reason: "SOAP fault Server: busy, HTTP status 500".to_owned(),
            has_others: false,
        };
        let mut ledger = Ledger { balanced: true, ..Ledger::default() };
        let counts = DeliveryCounts { waiting: 12, blocked: 30, ..DeliveryCounts::default() };
        ledger.destinations.insert("erp-create".to_owned(), counts.clone());
        let told = |ledger: &Ledger, systems: &[System<'_>], failing: &Failing| {
            let failing = std::slice::from_ref(failing);
            needs(&Seen { not_ready: None, systems, alarms: &[], ledger, failing })
        };
        let found = told(&ledger, &[], &failing);
        let text = "erp-create: 12 lanes stand since 1970-01-01 00:00:00 UTC, and 30 deliveries wait behind \
                    (`omgate lanes list --system erp`): SOAP fault Server: busy, HTTP status 500.";
        assert_eq!(
            (found[0].what, found[0].text.as_str(), found[0].href.as_str()),
            ("failing", text, "/lanes?system=erp")
        );
        let alone = Failing { are_lanes: false, is_more: true, has_others: true, ..failing.clone() };
        let text = &told(&ledger, &[], &alone)[0].text;
        assert!(
            text.starts_with("erp-create: at least 12 deliveries fail again and again, the oldest made at"),
            "{text}"
        );
        assert!(text.ends_with("HTTP status 500, and other reasons."), "{text}");
        let outage = Outage { reason: "500".to_owned(), since: Timestamp(0), probe_at: Timestamp(1), trips: 1 };
        let shut = Shut::Broken(outage);
        let found = told(&ledger, &[System { name: "erp", shut: &shut, counts }], &failing);
        assert_eq!(found.iter().map(|need| need.what).collect::<Vec<_>>(), ["breaker"]);
        ledger.destinations.insert("erp-create".to_owned(), DeliveryCounts::default());
        assert!(told(&ledger, &[], &failing).is_empty(), "they went meanwhile");
    }

    #[test]
    fn nothing_is_said_when_all_is_well_and_everything_that_is_not_has_a_page() {
        let mut ledger = Ledger { balanced: true, ..Ledger::default() };
        let well = Seen { not_ready: None, systems: &[], alarms: &[], ledger: &ledger, failing: &[] };
        assert!(needs(&well).is_empty());
        ledger.balanced = false;
        ledger.destinations.insert("a b".to_owned(), DeliveryCounts { dead: 1, held: 2, ..DeliveryCounts::default() });
        ledger.sources.insert("s".to_owned(), NotificationCounts { unrouted: 3, ..NotificationCounts::default() });
        let outage = Outage { reason: "timed out".to_owned(), since: Timestamp(0), probe_at: Timestamp(1), trips: 1 };
        let shut = Shut::Broken(outage);
        let systems = [System { name: "x", shut: &shut, counts: DeliveryCounts::default() }];
        let alarms = [("breaker", "x", "again"), ("store", "", "no space left"), ("silence", "s", "silent")]
            .map(|(alarm, subject, message)| (alarm, subject.to_owned(), message.to_owned()));
        let not_ready = Some("no space left");
        let found = needs(&Seen { not_ready, systems: &systems, alarms: &alarms, ledger: &ledger, failing: &[] });
        let what: Vec<_> = found.iter().map(|need| need.what).collect();
        assert_eq!(what, ["not_ready", "unbalanced", "breaker", "silence", "dead", "held", "unrouted"]);
        assert_eq!(found[4].href, "/dead?destination=a+b");
        assert!(found.iter().all(|need| need.href.starts_with('/')));
    }
}
