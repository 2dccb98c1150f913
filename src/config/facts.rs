//! What a configuration says, for people: each limit with the setting that made it so.

use std::collections::HashMap;

use toml::de::DeValue;

use super::destination::{Configured, Kind};
use super::read::{Section, Spot, line_and_column};
use super::route::Built;
use super::source::Declarations;
use super::summary;
use super::value::{written, written_size};
use crate::dispatch::{System, breaker};
use crate::facts::{DestinationFacts, Facts, RecordFacts, RouteFacts, Setting, SourceFacts};
use crate::receive::{self, UnknownOrganization};
use crate::settle::OnUnknown;

/// What the facts are made of.
pub(super) struct Parts<'p> {
    pub(super) sources: &'p [receive::Source],
    pub(super) declarations: &'p Declarations,
    pub(super) destinations: &'p [Configured],
    pub(super) systems: &'p HashMap<String, System>,
    pub(super) built: &'p [Built],
}

/// What is said, less the warnings: those are known at the end.
pub(super) fn facts(root: &Section<'_, '_>, parts: &Parts<'_>) -> Facts {
    let Parts { sources, destinations, systems, built, .. } = parts;
    let sections = Sections(root.sections("destination"));
    // Nothing failed, so there is one of each.
    let each = built.iter().zip(root.sections("route"));
    let route = |(route, section): (&Built, Section<'_, '_>)| {
        let summary = summary::route(route, sources, destinations, systems)?;
        Some(RouteFacts { summary, map: map_of(&section) })
    };
    Facts {
        sources: sources.iter().map(|known| source(known, parts.declarations)).collect(),
        destinations: destinations.iter().filter_map(|known| destination(known, parts, &sections)).collect(),
        routes: each.filter_map(route).collect(),
        warnings: Vec::new(),
    }
}

fn source(source: &receive::Source, declarations: &Declarations) -> SourceFacts {
    let organizations = source.organizations.as_ref();
    let organizations = organizations.map(|list| list.iter().map(|id| id.as_str().to_owned()).collect());
    let actions = source.actions.as_ref();
    let actions = actions.map(|list| list.iter().map(|id| id.as_str().to_owned()).collect());
    let declared = declarations.get(&source.name).map(|declared| declared.as_ref()).unwrap_or_default();
    let record = |record: &crate::wsdl::outbound::DeclaredRecord| RecordFacts {
        name: record.name.clone(),
        fields: record.fields.iter().map(|field| (field.name.clone(), field.field_type.to_string())).collect(),
    };
    SourceFacts {
        name: source.name.clone(),
        path: source.path.masked(),
        organizations,
        actions,
        unknown_organization: match source.unknown_organization {
            UnknownOrganization::Refuse => "refuse",
            UnknownOrganization::Quarantine => "quarantine",
        },
        records: declared.iter().map(record).collect(),
        exposes_wsdl: source.wsdl.is_some(),
        mask: source.mask.clone(),
        search: source.search.clone(),
    }
}

fn destination(configured: &Configured, parts: &Parts<'_>, sections: &Sections<'_, '_>) -> Option<DestinationFacts> {
    let system = parts.systems.get(&configured.system)?;
    let members: Vec<&str> = parts
        .destinations
        .iter()
        .filter(|other| other.system == configured.system)
        .map(|other| other.name.as_str())
        .collect();
    let of_system = |(key, value): (&'static str, String)| Setting {
        key,
        value,
        origin: sections.origin(&members, key),
        of_system: true,
    };
    let own = |(key, value): (&'static str, String)| Setting {
        key,
        value,
        origin: sections.origin(&[configured.name.as_str()], key),
        of_system: false,
    };
    let limits = of_the_system(system).into_iter().map(of_system);
    let settings = limits.chain(own_settings(configured).into_iter().map(own)).collect();
    Some(DestinationFacts {
        name: configured.name.clone(),
        system: configured.system.clone(),
        kind: if matches!(configured.kind, Kind::Rest(_)) { "rest" } else { "soap" },
        call: summary::call(&configured.kind),
        settings,
    })
}

fn of_the_system(system: &System) -> Vec<(&'static str, String)> {
    let rate = system
        .rate
        .map_or_else(|| "no limit".to_owned(), |rate| format!("{} calls in {}", rate.calls, written(rate.per)));
    let calendar = system.calendar.as_ref().map_or_else(|| "always open".to_owned(), ToString::to_string);
    let breaker = system.breaker.as_ref().map_or_else(|| "off".to_owned(), breaker_in_words);
    let burst = system.burst.map_or_else(|| "next to none".to_owned(), |burst| burst.to_string());
    let mut list = vec![("concurrency", system.concurrency.to_string()), ("rate", rate)];
    // Without a rate there is nothing to save up.
    if system.rate.is_some() {
        list.push(("burst", burst));
    }
    let warm_up = system.warm_up.map_or_else(|| "none".to_owned(), written);
    list.extend([
        ("calendar", calendar),
        ("breaker", breaker),
        ("warm_up", warm_up),
        ("paused", if system.paused { "until somebody resumes it" } else { "no" }.to_owned()),
    ]);
    list
}

fn breaker_in_words(breaker: &breaker::Settings) -> String {
    let share = breaker
        .share
        .as_ref()
        .map(|share| format!(" or {}% of the last {}", share.part * 100.0, share.calls))
        .unwrap_or_default();
    let (wait, most) = (written(breaker.wait), written(breaker.wait_max));
    format!("opens after {} failures in a row{share}; tries again after {wait} to {most}", breaker.failures)
}

fn own_settings(configured: &Configured) -> Vec<(&'static str, String)> {
    let retry = &configured.retry;
    let attempts = retry.attempts_max.map_or_else(|| "no limit".to_owned(), |attempts| attempts.to_string());
    let unknown = match configured.unknown {
        OnUnknown::Resend => "resend",
        OnUnknown::Probe => "probe",
        OnUnknown::Hold => "hold",
    };
    let (connect_timeout, response_bytes_max) = configured.bounds();
    vec![
        ("timeout", written(configured.timeout)),
        ("connect_timeout", written(connect_timeout)),
        ("response_limit", written_size(u64::try_from(response_bytes_max).unwrap_or(u64::MAX))),
        ("retry.first", written(retry.first)),
        ("retry.factor", retry.factor.to_string()),
        ("retry.max_wait", written(retry.wait_max)),
        ("retry.max_attempts", attempts),
        ("retry.max_age", written(retry.age_max)),
        ("unknown", unknown.to_owned()),
    ]
}

/// The sections of destinations, to see who says what.
struct Sections<'s, 'd>(Vec<Section<'s, 'd>>);

impl Sections<'_, '_> {
    /// What made a setting as it is: the first of some destinations that says it, or nobody.
    fn origin(&self, members: &[&str], key: &'static str) -> String {
        let said = self.0.iter().find_map(|section| {
            let name = section.spot.key.strip_prefix("destination.")?;
            let spot = members.contains(&name).then(|| said_at(section, key)).flatten()?;
            let (line, _) = line_and_column(section.desk.text, spot.span.start);
            Some(format!("destination {name}, line {line}"))
        });
        said.unwrap_or_else(|| "default".to_owned())
    }
}

/// Where a section says a key, such as `retry.first`.
fn said_at(section: &Section<'_, '_>, key: &'static str) -> Option<Spot> {
    match key.split_once('.') {
        None => section.has(key).then(|| section.spot_of(key)),
        Some((table, key)) => {
            // Only whether it is there: nothing of it is judged again.
            let inner = if section.is_table(table) { section.section(table)? } else { return None };
            inner.has(key).then(|| inner.spot_of(key))
        }
    }
}

/// The leaves of a route's `map`: target → expression.
fn map_of(route: &Section<'_, '_>) -> Vec<(String, String)> {
    let mut leaves = Vec::new();
    if let Some(map) = route.section("map") {
        for (name, _, value, _) in map.ordered_entries() {
            add_leaves(&mut leaves, name, value);
        }
    }
    leaves
}

fn add_leaves(leaves: &mut Vec<(String, String)>, path: String, value: &DeValue<'_>) {
    if let Some(table) = value.as_table() {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            add_leaves(leaves, format!("{path}.{}", name.get_ref()), value.get_ref());
        }
    } else if let Some(items) = value.as_array() {
        for (position, item) in items.iter().enumerate() {
            add_leaves(leaves, format!("{path}[{}]", position + 1), item.get_ref());
        }
    } else {
        let text = value.as_str().map_or_else(
            || super::destination::constant(value).map_or_else(String::new, |constant| constant.to_string()),
            str::to_owned,
        );
        leaves.push((path, text));
    }
}
