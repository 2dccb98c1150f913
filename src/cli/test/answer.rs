//! One recorded answer → what it would come to, and what would follow, as text.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::deliver::{classify, keep};
use crate::map;
use crate::outcome::{Exchange, Judgement, Response};
use crate::settle::{self, Facts, Verdict};
use crate::store::Settlement;

/// What follows is said for a first attempt that ends at 2026-01-01T00:00:00.000Z, without jitter.
const FACTS: Facts = Facts {
    attempt: 1,
    excused: 0,
    lockouts_alone: 0,
    age: Duration::ZERO,
    repeat: None,
    now: Timestamp(1_767_225_600_000),
    jitter: 0.0,
};

/// What the configuration makes of an answer. `name` is its path below the folder of fixtures: one of its folders names the
/// destination.
///
/// # Errors
/// When it cannot be tried at all.
pub(super) fn replay(loaded: &Loaded, name: &Path, answer: &[u8]) -> Result<String, String> {
    let folders: Vec<_> = name.parent().into_iter().flat_map(Path::components).map(|part| part.as_os_str()).collect();
    let named = |destination: &str| folders.iter().any(|folder| *folder == destination);
    let mut routes: Vec<_> = loaded.plan.routes.values().filter(|route| named(&route.destination)).collect();
    routes.sort_by(|one, other| one.name.cmp(&other.name));
    let Some(route) = routes.first() else {
        return Err("no folder of it is named like a destination that a route leads to".to_owned());
    };
    let exchange = read(answer)?;
    let Some(destination) = loaded.plan.destinations.get(&route.destination) else {
        return Err(format!("destination {} has no connection", route.destination));
    };
    let reply = map::reply(&route.mapping, &exchange);
    let judgement = classify::judge(&exchange, reply.as_ref(), &destination.rules);
    let verdict = settle::verdict(&judgement, &FACTS, &route.policy);
    let mut text = page(&route.destination, &judgement, &verdict);
    if verdict.settlement == Settlement::Delivered {
        let mask = &loaded.plan.mask;
        for kept in keep::kept(&destination.keep, &exchange, reply.as_ref(), &|text| mask.apply(text)) {
            let warning = kept.warning.map_or_else(String::new, |warning| format!(": {warning}"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  keeps    {} = {}{warning}", kept.name, kept.value);
        }
    }
    Ok(text)
}

fn page(destination: &str, judgement: &Judgement, verdict: &Verdict) -> String {
    let mut text = format!("destination {destination}\n");
    let rule = judgement.rule.map_or_else(|| "none matches".to_owned(), |rule| format!("{rule} matches"));
    let reason = match judgement.outcome.reason() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let follows = match &verdict.settlement {
        Settlement::Delivered => "delivered".to_owned(),
        Settlement::Waiting { due_at } => format!("sent again after {} ms", due_at.since(FACTS.now).as_millis()),
        Settlement::Dead { holds_lane, .. } => {
            format!("dead letter; its lane {}", if *holds_lane { "stops" } else { "goes on" })
        }
        Settlement::Held { .. } => "held for a person; its lane stops".to_owned(),
        Settlement::Superseded { .. } => "superseded".to_owned(),
    };
    let probe_at = verdict.pause.as_ref().and_then(|pause| pause.probe_at);
    let pause = probe_at.map(|at| {
        let seconds = at.since(FACTS.now).as_secs();
        format!("; the whole system is paused, and one delivery tries again after {seconds} s")
    });
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "  rule     {rule}\n  outcome  {}{reason}\n  follows  {follows}{}\n",
        judgement.outcome.as_str(),
        pause.unwrap_or_default()
    );
    text
}

/// An HTTP answer as it came over the wire; or a first line `not sent: …` or `no answer: …`.
fn read(answer: &[u8]) -> Result<Exchange, String> {
    let end = |line: &[u8]| line.iter().position(|&byte| byte == b'\n');
    let mut rest = answer;
    let mut lines = Vec::new();
    while let Some(length) = end(rest) {
        let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after.get(1..).unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    if lines.is_empty() && !rest.is_empty() {
        lines.push(String::from_utf8_lossy(rest).trim_end().to_owned());
        rest = &[];
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let reason = |what| first.strip_prefix(what).map(|reason| reason.trim_start_matches(':').trim().to_owned());
    if let Some(reason) = reason("not sent") {
        return Ok(Exchange::NotSent { reason });
    }
    if let Some(reason) = reason("no answer") {
        return Ok(Exchange::NoAnswer { reason });
    }
    let mut words = first.split_whitespace();
    let status = match (words.next(), words.next().and_then(|status| status.parse().ok())) {
        (Some(version), Some(status)) if version.starts_with("HTTP/") => status,
        _ => {
            return Err(format!(
                "its first line is {first:?}; write \"HTTP/1.1 500\", \"not sent: why\" or \"no answer: why\""
            ));
        }
    };
    let header = |line: String| match line.split_once(':') {
        Some((name, value)) => Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
        None => Err(format!("{line:?} is no header; an empty line ends them")),
    };
    let headers = lines.map(header).collect::<Result<_, _>>()?;
    Ok(Exchange::Answered(Response { status, headers, body: Bytes::copy_from_slice(rest), cut: false }))
}
