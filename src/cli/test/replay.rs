//! One envelope fixture → every notification's fate and every call it would make, as text.

use std::fmt::Write;
use std::path::Path;

use crate::call::Call;
use crate::cli::check;
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::delivery::Planned;
use crate::envelope::{Content, Drift, Envelope, Notification};
use crate::expression::Subject;
use crate::map::{self, Identity};
use crate::parse;
use crate::pretty;
use crate::receive::{Source, UnknownOrganization, guard};
use crate::route;

/// Fixtures are always received at 2026-01-01T00:00:00.000Z.
const RECEIVED_AT: Timestamp = Timestamp(1_767_225_600_000);

/// What the configuration makes of a fixture. `name` is its path below the folder of fixtures.
pub(super) fn replay(loaded: &Loaded, name: &Path, body: &[u8]) -> String {
    let sources = sources(loaded, name, body);
    let mut text = String::new();
    if sources.is_empty() {
        text.push_str("refused: no source takes messages of this organization and action\n");
    }
    for (position, source) in sources.iter().enumerate() {
        if position > 0 {
            text.push('\n');
        }
        let page = Page { loaded, source };
        page.write(&mut text, body);
    }
    text
}

/// The sources that an envelope belongs to: that of its folder or file name, else the only one, else all that admit it.
fn sources<'l>(loaded: &'l Loaded, name: &Path, body: &[u8]) -> Vec<&'l Source> {
    let folders = name.parent().into_iter().flat_map(Path::components);
    let stem = name.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> =
        folders.map(|part| part.as_os_str().to_string_lossy().into_owned()).chain([stem]).collect();
    if let Some(named) = loaded.sources.iter().find(|source| names.contains(&source.name)) {
        return vec![named];
    }
    if let [only] = loaded.sources.as_slice() {
        return vec![only];
    }
    let admits = |source: &&Source| match envelope(loaded, source, body) {
        Ok(envelope) => guard::admit(source, &envelope).is_ok(),
        Err(_) => true,
    };
    let admitting: Vec<&Source> = loaded.sources.iter().filter(admits).collect();
    // What no parser reads is refused by each of them with the same words.
    let readable = loaded.sources.first().is_some_and(|source| envelope(loaded, source, body).is_ok());
    if readable { admitting } else { admitting.into_iter().take(1).collect() }
}

fn envelope(loaded: &Loaded, source: &Source, body: &[u8]) -> Result<Envelope, String> {
    let limits = &loaded.server.limits;
    if body.len() > limits.body_bytes_max {
        return Err(format!("larger than {} bytes (server.limits.body)", limits.body_bytes_max));
    }
    let limits =
        parse::Limits { depth: limits.depth_max, notifications: limits.notifications_max, fields: limits.fields_max };
    parse::envelope(body, None, &limits, source.record_types.as_deref()).map_err(|error| error.to_string())
}

struct Page<'l> {
    loaded: &'l Loaded,
    source: &'l Source,
}

impl Page<'_> {
    fn write(&self, text: &mut String, body: &[u8]) {
        let source = &self.source.name;
        let envelope = match envelope(self.loaded, self.source, body) {
            Ok(envelope) => envelope,
            Err(reason) => return line(text, 0, &format!("source {source}: refused: {reason}")),
        };
        let quarantined = match guard::admit(self.source, &envelope) {
            Ok(()) => None,
            Err(stranger) if self.source.unknown_organization == UnknownOrganization::Quarantine => Some(stranger),
            Err(stranger) => return line(text, 0, &format!("source {source}: refused: {stranger}")),
        };
        let count = envelope.notifications.len();
        let plural = if count == 1 { "notification" } else { "notifications" };
        line(text, 0, &format!("source {source}: accepted, {count} {plural}"));
        for (position, notification) in envelope.notifications.iter().enumerate() {
            text.push('\n');
            let quarantined = quarantined.as_ref().map(ToString::to_string);
            self.notification(text, position + 1, &envelope, notification, quarantined);
        }
    }

    fn notification(
        &self,
        text: &mut String,
        number: usize,
        envelope: &Envelope,
        notification: &Notification,
        quarantined: Option<String>,
    ) {
        let subject = Subject {
            record: notification.record(),
            notification_id: notification.id().map_or("", |id| id.as_str()),
            received_at: RECEIVED_AT,
            organization_id: envelope.organization_id.as_str(),
            action_id: envelope.action_id.as_str(),
            enterprise_url: &envelope.enterprise_url,
            partner_url: &envelope.partner_url,
            source: &self.source.name,
            after: None,
        };
        let unknown_type = unknown_type(notification);
        let deliveries = match self.loaded.routes.get(&self.source.name) {
            Some(routes) if quarantined.is_none() && unknown_type.is_none() => {
                route::deliveries(routes, notification, &subject)
            }
            _ => Vec::new(),
        };
        let what = match &notification.content {
            Content::Record { id, record, .. } => {
                format!("{id}, {} {}", record.record_type, record.id().unwrap_or("without Id"))
            }
            Content::Empty { id } => format!("{id}, without record"),
            Content::Unreadable { .. } => "without readable id".to_owned(),
        };
        let fate = match (&notification.content, quarantined) {
            (_, Some(reason)) => format!("quarantined: {reason}"),
            (Content::Unreadable { reason, .. }, None) => format!("unreadable: {reason}"),
            (_, None) if !deliveries.is_empty() => "routed".to_owned(),
            (Content::Empty { .. }, None) => "skipped_empty".to_owned(),
            (Content::Record { .. }, None) => {
                unknown_type.map_or_else(|| "unrouted".to_owned(), |drift| format!("unrouted: {drift}"))
            }
        };
        line(text, 0, &format!("notification {number} ({what}): {fate}"));
        for drift in notification.record().iter().flat_map(|record| &record.drift) {
            line(text, 2, &format!("drift: {drift}"));
        }
        for planned in &deliveries {
            self.delivery(text, planned, &subject);
        }
    }

    fn delivery(&self, text: &mut String, planned: &Planned, subject: &Subject<'_>) {
        text.push('\n');
        let lane =
            planned.lane.as_ref().map_or_else(|| "no order to keep".to_owned(), |lane| format!("in lane {lane}"));
        line(text, 2, &format!("route {} to {}, {lane}", planned.route, planned.destination));
        if let Some(reason) = &planned.dead {
            return line(text, 2, &format!("dead: {reason}"));
        }
        let Some(route) = self.loaded.plan.routes.get(&planned.route) else { return };
        // Real keys are digests; a fixture shows what they are made of.
        let idempotency_key = format!("{}/{}/1", subject.notification_id, planned.route);
        if let Some(after) = &planned.after {
            line(
                text,
                2,
                &format!("after route {}, whose answer is taken to have given 1 for all that is kept", after.route),
            );
        }
        let after = check::kept_sample(&route.mapping);
        let subject = &Subject { after: Some(&after), ..*subject };
        match map::call(&route.mapping, subject, &Identity { idempotency_key }) {
            Ok(call) => self.call(text, &call),
            Err(error) => return line(text, 2, &format!("dead: {error}")),
        }
        // Made anew for every attempt, and so no part of the call.
        let destination = self.loaded.plan.destinations.get(&planned.destination);
        if let Some(signs) = destination.and_then(|destination| destination.target.signs()) {
            line(text, 4, &format!("at the edge: {signs}"));
        }
    }

    fn call(&self, text: &mut String, call: &Call) {
        line(text, 4, &format!("{} {}", call.method, call.url.masked()));
        let mut content_type = String::new();
        for (name, value) in &call.headers {
            line(text, 4, &format!("{name}: {value}"));
            if name.eq_ignore_ascii_case("content-type") {
                content_type = value.masked();
            }
        }
        if !call.body.is_empty() {
            text.push('\n');
            let body = self.loaded.plan.mask.apply(&String::from_utf8_lossy(&call.body));
            line(text, 4, &pretty::body(&content_type, &body));
        }
    }
}

fn unknown_type(notification: &Notification) -> Option<&Drift> {
    let drift = &notification.record()?.drift;
    drift.iter().find(|drift| matches!(drift, Drift::UnknownRecordType(_)))
}

/// Adds lines, each indented.
fn line(text: &mut String, indent: usize, lines: &str) {
    for line in lines.lines() {
        let blanks = if line.is_empty() { 0 } else { indent };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:blanks$}{line}", "");
    }
}
