//! What each route does, in words.

use std::collections::HashMap;

use super::destination::{Configured, Kind, Retry};
use super::route::Built;
use super::value::written;
use crate::dispatch::System;
use crate::dispatch::breaker::Settings;
use crate::facts::RouteSummary;
use crate::receive;
use crate::route::{Lane, OnEmpty};
use crate::settle::OnUnknown;

pub(super) fn route(
    built: &Built,
    sources: &[receive::Source],
    destinations: &[Configured],
    systems: &HashMap<String, System>,
) -> Option<RouteSummary> {
    let source = sources.iter().find(|source| source.name == built.source)?;
    let configured = destinations.get(built.destination)?;
    Some(RouteSummary {
        route: built.name.clone(),
        source: source.name.clone(),
        path: source.path.masked(),
        organizations: organizations(source),
        when: built.when.as_ref().map_or_else(|| "always".to_owned(), ToString::to_string),
        lane: match &built.lane {
            Lane::Record => "record.Id".to_owned(),
            Lane::None => "none".to_owned(),
            Lane::Expression(expression) => expression.to_string(),
        },
        on_empty: policy(built.on_empty).to_owned(),
        destination: if configured.system == configured.name {
            configured.name.clone()
        } else {
            format!("{} (system {})", configured.name, configured.system)
        },
        call: call(&configured.kind),
        body: body(built, &configured.kind),
        retry: retry(&configured.retry, configured.unknown),
        also: also(built, configured, systems.get(&configured.system)?, signs(configured, destinations)),
        dead_without: built.dead_without.clone(),
    })
}

/// What of its envelopes is signed; that may stand at another destination of its system.
fn signs(configured: &Configured, all: &[Configured]) -> Option<String> {
    let Kind::Soap(_) = configured.kind else { return None };
    let mut members = all.iter().filter(|other| other.system == configured.system);
    members.find_map(|member| Some(member.security()?.signature.as_ref()?.words()))
}

fn also(built: &Built, configured: &Configured, system: &System, signs: Option<String>) -> Vec<String> {
    let rules = configured.rules.list.len();
    let breaker = match &system.breaker {
        None => Some("never left alone when it fails".to_owned()),
        Some(breaker) if *breaker == Settings::default() => None,
        Some(breaker) => Some(format!("left alone after {} failures in a row", breaker.failures)),
    };
    let lines = [
        built.stale_by.as_ref().map(|field| format!("superseded when {field} is older than what was delivered")),
        built.after.as_ref().map(|after| format!("after {}, which must be delivered first", after.planned.route)),
        built.coalesce.then(|| "only the newest of waiting updates".to_owned()),
        built.deleted_when.as_ref().map(|when| format!("deleted when {when}: {}", policy(built.on_deleted))),
        (!configured.keep.is_empty()).then(|| {
            let names: Vec<&str> = configured.keep.iter().map(|keep| keep.name.as_str()).collect();
            format!("keeps {} of the answer", names.join(", "))
        }),
        (rules > 0).then(|| format!("{rules} own {} for answers", if rules == 1 { "rule" } else { "rules" })),
        signs,
        system.rate.map(|rate| format!("at most {} calls in {}", rate.calls, written(rate.per))),
        system.calendar.as_ref().map(|calendar| format!("open {calendar}")),
        breaker,
        system.warm_up.map(|warm_up| format!("warmed up over {} after an outage", written(warm_up))),
        system.paused.then(|| "paused until somebody resumes it".to_owned()),
    ];
    lines.into_iter().flatten().collect()
}

fn policy(policy: OnEmpty) -> &'static str {
    match policy {
        OnEmpty::Skip => "skip",
        OnEmpty::Deliver => "deliver",
        OnEmpty::Dead => "dead",
    }
}

fn organizations(source: &receive::Source) -> String {
    match &source.organizations {
        None => "any".to_owned(),
        Some(list) => list.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", "),
    }
}

pub(super) fn call(kind: &Kind) -> String {
    match kind {
        Kind::Rest(rest) => format!("{} {}", rest.method, rest.url.source()),
        Kind::Soap(soap) => format!("{} at {}", soap.operation.name(), soap.endpoint.masked()),
        Kind::Broken => String::new(),
    }
}

fn body(built: &Built, kind: &Kind) -> String {
    if let Some(template) = &built.template {
        return format!("template {template}");
    }
    match (built.mapped, kind) {
        (0, Kind::Rest(rest)) if matches!(rest.method.as_str(), "GET" | "DELETE") => "none".to_owned(),
        (0, _) => "whole notification".to_owned(),
        (1, _) => "1 mapped field".to_owned(),
        (count, _) => format!("{count} mapped fields"),
    }
}

fn retry(retry: &Retry, unknown: OnUnknown) -> String {
    let attempts = retry.attempts_max.map_or_else(String::new, |attempts| format!(", {attempts} attempts"));
    let unknown = match unknown {
        OnUnknown::Resend => "",
        OnUnknown::Probe => ", unknown is looked up",
        OnUnknown::Hold => ", unknown is held",
    };
    format!(
        "{} × {} up to {}, for {}{attempts}{unknown}",
        written(retry.first),
        retry.factor,
        written(retry.wait_max),
        written(retry.age_max)
    )
}
