//! The certificates of the public listener, those that we show to destinations, and those that they show to us: how long they
//! hold, told a month ahead, and what people see of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};

use crate::certificate::{self, Certificate, days};
use crate::clock::{SharedClock, Timestamp};
use crate::deliver::tls::Dated;
use crate::dispatch::Dispatch;
use crate::intake::Desk;
use crate::receive::Edge;
use crate::telemetry::{Alarms, Metrics};

/// The key of the one that the public listener serves.
const SERVED: &str = "server.tls.certificate";
/// The alarm, by file.
const ALARM: &str = "certificate";

/// Looks at the certificates in force.
pub(super) struct Certificates {
    pub(super) edge: Arc<Edge>,
    pub(super) desk: Arc<Desk>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) clock: SharedClock,
    /// The files whose alarms stand.
    pub(super) alarmed: Mutex<BTreeSet<String>>,
}

/// A file with certificates, as they were read; or what a server showed, under its name.
struct InForce {
    key: String,
    file: String,
    is_ours: bool,
    certificates: Vec<Certificate>,
}

impl InForce {
    /// The one that expires first.
    fn first(&self) -> Option<&Certificate> {
        self.certificates.iter().min_by_key(|certificate| certificate.not_after)
    }
}

impl Certificates {
    fn in_force(&self) -> Vec<InForce> {
        let standing = self.edge.standing();
        let mut all = Vec::new();
        let mut clients = Vec::new();
        if let Some(tls) = &standing.tls {
            let file = tls.file.to_string_lossy().into_owned();
            let key = SERVED.to_owned();
            all.push(InForce { key, file, is_ours: true, certificates: tls.chain.clone() });
            clients.extend(tls.clients.iter().map(|clients| ("server.tls.client_ca", clients)));
        }
        if let Some(proxy) = &standing.proxy {
            clients.extend(proxy.clients.iter().map(|clients| ("server.proxy.client_ca", clients)));
        }
        for (key, clients) in clients {
            if let Some(file) = clients.authorities_file() {
                let file = file.to_string_lossy().into_owned();
                let key = key.to_owned();
                all.push(InForce { key, file, is_ours: true, certificates: clients.authorities.clone() });
            }
        }
        all.extend(self.of_destinations());
        all
    }

    fn of_destinations(&self) -> Vec<InForce> {
        let all = self.dispatch.certificates().into_iter();
        all.map(|(destination, Dated { key, place, certificates })| InForce {
            key: format!("destination.{destination}.{}", key.unwrap_or("server")),
            file: if key.is_some() { place } else { format!("{destination} {place}") },
            is_ours: key.is_some(),
            certificates,
        })
        .collect()
    }

    /// Once a minute, and when others were taken: figures and alarms. What an alarm says changes once a day.
    pub(super) fn look(&self) {
        let now = self.clock.now();
        let all = self.in_force();
        let firsts = all.iter().filter_map(|one| Some((one, one.first()?)));
        self.metrics.certificates(firsts.clone().map(|(one, first)| (one.file.as_str(), first.not_after)));
        let mut standing = BTreeSet::new();
        for (one, first) in firsts {
            let theirs = "whoever runs that system must renew it; with it a pin of the certificate changes";
            let told = if one.is_ours {
                first.term(now)
            } else {
                first.expiry(now).map(|expiry| format!("{expiry}: {theirs}"))
            };
            if let Some(told) = told {
                self.alarms.restate(ALARM, &one.file, &told);
                standing.insert(one.file.clone());
            }
        }
        let mut alarmed = self.alarmed.lock().unwrap_or_else(PoisonError::into_inner);
        for over in alarmed.difference(&standing) {
            self.alarms.clear(ALARM, over);
        }
        *alarmed = standing;
    }

    /// What people see: what is served and trusted, and who was refused.
    pub(super) fn shown(&self) -> Json {
        let now = self.clock.now();
        let files: Vec<Json> = self.in_force().iter().map(|one| one.shown(now)).collect();
        json!({"certificates": files, "refused_certificates": self.desk.refused_certificates()})
    }
}

impl InForce {
    fn shown(&self, now: Timestamp) -> Json {
        let expires_at = self.first().map(|first| first.not_after);
        let is_served = self.key == SERVED;
        json!({
            "key": self.key,
            "file": self.file,
            "expires_at": expires_at,
            "days_left": expires_at.map(|at| days(at.since(now))),
            "faults": if is_served { certificate::faults(&self.certificates) } else { Vec::new() },
            "chain": self.certificates,
        })
    }
}
