//! Who is refused: counted by reason, told in the log without flooding it, and kept with what would let a certificate in.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;

use super::{Desk, OVER_AFTER, lock};
use crate::certificate::Certificate;
use crate::clock::Timestamp;
use crate::receive::denial::{Denial, Denied};

/// So many senders are told apart; of more, only how many there were is told.
const TOLD_MAX: usize = 1_000;
/// A sender that was not refused for so long is told of at once again.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);
/// So many refused certificates are kept, those that were seen last.
const CERTIFICATES_MAX: usize = 50;
/// The alarm of a refused certificate.
const ALARM: &str = "client_certificate";

/// What is known of those who were refused.
#[derive(Default)]
pub(super) struct Denials(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When each was refused last, of those who were told of.
    told: HashMap<Key, Duration>,
    /// What is left for the summary, by reason and source.
    untold: BTreeMap<(&'static str, String), Untold>,
    certificates: VecDeque<RefusedCertificate>,
    /// When a certificate was refused last.
    certificate_at: Option<Duration>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    reason: &'static str,
    source: String,
    sender: String,
}

#[derive(Default)]
struct Untold {
    count: u64,
    senders: HashSet<String>,
}

/// A client certificate that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedCertificate {
    #[serde(flatten)]
    certificate: Certificate,
    denial: &'static str,
    reason: String,
    sender: String,
    count: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    /// What to write beside `client_auth` to let it in; one of these is enough.
    let_in: Vec<String>,
}

impl Denials {
    /// Counts one more; whether it is to be told at once.
    pub(super) fn is_first(&self, reason: &'static str, source: &str, sender: &str, now: Duration) -> bool {
        let mut seen = lock(&self.0);
        let key = Key { reason, source: source.to_owned(), sender: sender.to_owned() };
        if let Some(last) = seen.told.get_mut(&key) {
            *last = now;
        } else if seen.told.len() < TOLD_MAX {
            seen.told.insert(key, now);
            return true;
        }
        let untold = seen.untold.entry((reason, source.to_owned())).or_default();
        untold.count += 1;
        if untold.senders.len() < TOLD_MAX && !untold.senders.contains(sender) {
            untold.senders.insert(sender.to_owned());
        }
        false
    }

    /// What was not told at once, since the minute before: reason, source, how many, from how many senders.
    fn summary(&self, now: Duration) -> Vec<(&'static str, String, u64, usize)> {
        let mut seen = lock(&self.0);
        seen.told.retain(|_, last| now.saturating_sub(*last) < FORGET_AFTER);
        let untold = std::mem::take(&mut seen.untold);
        untold.into_iter().map(|((reason, source), of)| (reason, source, of.count, of.senders.len())).collect()
    }

    fn keep(&self, denied: &Denied, certificate: &Certificate, at: Timestamp, now: Duration) {
        let mut seen = lock(&self.0);
        seen.certificate_at = Some(now);
        let known = seen.certificates.iter().position(|known| known.certificate.sha256 == certificate.sha256);
        let (count, first_at) = match known.and_then(|position| seen.certificates.remove(position)) {
            Some(known) => (known.count.saturating_add(1), known.first_at),
            None => (1, at),
        };
        if seen.certificates.len() == CERTIFICATES_MAX {
            seen.certificates.pop_back();
        }
        seen.certificates.push_front(RefusedCertificate {
            certificate: certificate.clone(),
            denial: denied.denial.as_str(),
            reason: denied.reason.clone(),
            sender: denied.sender.clone(),
            count,
            first_at,
            last_at: at,
            let_in: let_in(denied.denial, certificate),
        });
    }

    /// Whether it is over that certificates are refused; told once.
    fn is_over(&self, now: Duration) -> bool {
        let mut seen = lock(&self.0);
        let over = seen.certificate_at.is_some_and(|at| now.saturating_sub(at) > OVER_AFTER);
        if over {
            seen.certificate_at = None;
        }
        over
    }
}

/// What would let a certificate in; nothing does when its dates are wrong.
fn let_in(denial: Denial, certificate: &Certificate) -> Vec<String> {
    if matches!(denial, Denial::CertificateExpired | Denial::CertificateNotYetValid) {
        return Vec::new();
    }
    let mut lines = vec![
        format!("client_pins = [\"{}\"]", certificate.sha256),
        format!("client_pins = [\"{}\"]", certificate.public_key_sha256),
    ];
    if let Some(name) = certificate.names.first().filter(|_| denial == Denial::CertificateName) {
        lines.push(format!("client_names = [{name:?}]"));
    }
    lines
}

impl Desk {
    /// Somebody was turned away at the edge.
    pub(super) fn turned_away(&self, denied: &Denied) {
        let Denied { denial, source, sender, reason, certificate } = denied;
        let source = source.as_deref().unwrap_or_default();
        let now = self.clock.monotonic();
        self.metrics.refused(source, denial.as_str());
        if let Some(certificate) = certificate {
            self.denials.keep(denied, certificate, self.clock.now(), now);
            let Certificate { subject, sha256, .. } = &**certificate;
            let message = format!(
                "a client certificate is refused ({subject}, {sha256}): {reason}; omgate status shows all that are, and what \
                 lets them in"
            );
            self.alarms.raise(ALARM, "", &message);
        }
        let kind = denial.as_str();
        let rules = self.rules.load_full();
        let desk = rules.sources.get(source);
        if let Some(desk) = desk {
            self.alarm_of_refusal(desk, sender, kind, reason);
        }
        if !self.denials.is_first(kind, source, sender, now) {
            return;
        }
        if let Some(desk) = desk {
            self.keep_refusal(desk, sender, reason, &[]);
        }
        match certificate {
            Some(certificate) => {
                let Certificate { subject, issuer, sha256, not_after, .. } = &**certificate;
                let let_in = let_in(*denial, certificate).join(" or ");
                tracing::warn!(
                    kind, source, sender, subject, issuer, %sha256, %not_after, let_in,
                    "a client certificate is refused: {reason}"
                );
            }
            // Health checks and scanners do no better.
            None if *denial == Denial::Handshake => tracing::info!(kind, source, sender, "turned away: {reason}"),
            None => tracing::warn!(kind, source, sender, "turned away: {reason}"),
        }
    }

    /// Once a minute: how many were refused beside those that were told at once.
    pub(super) fn tell_refused(&self, now: Duration) {
        for (kind, source, count, senders) in self.denials.summary(now) {
            if kind == Denial::Handshake.as_str() {
                tracing::info!(kind, count, senders, "more were refused within the last minute");
            } else {
                tracing::warn!(kind, source, count, senders, "more were refused within the last minute");
            }
        }
        if self.denials.is_over(now) {
            self.alarms.clear(ALARM, "");
        }
    }

    /// The client certificates that were refused since the start, the latest first.
    #[must_use]
    pub fn refused_certificates(&self) -> Vec<RefusedCertificate> {
        lock(&self.denials.0).certificates.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_reason_and_sender_is_told_at_once_and_the_others_in_a_summary() {
        let denials = Denials::default();
        let at = Duration::from_secs;
        let told: Vec<bool> =
            [("address", "1"), ("address", "1"), ("address", "2"), ("no_certificate", "1"), ("address", "1")]
                .map(|(reason, sender)| denials.is_first(reason, "orders", sender, at(1)))
                .into();
        assert_eq!(told, [true, false, true, true, false]);
        assert_eq!(denials.summary(at(60)), [("address", "orders".to_owned(), 2, 1)]);
        assert_eq!(denials.summary(at(120)), []);
        assert!(!denials.is_first("address", "orders", "1", at(130)));
        denials.summary(at(4_000));
        assert!(denials.is_first("address", "orders", "1", at(4_001)), "after an hour's quiet it is news again");
    }

    #[test]
    fn a_flood_of_senders_fills_neither_the_log_nor_the_memory() {
        let denials = Denials::default();
        let now = Duration::from_secs(1);
        let told = (0..5_000).filter(|n| denials.is_first("address", "orders", &n.to_string(), now)).count();
        assert_eq!(told, TOLD_MAX);
        assert_eq!(denials.summary(now), [("address", "orders".to_owned(), 4_000, TOLD_MAX)]);
    }
}
