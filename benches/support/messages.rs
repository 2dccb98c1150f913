//! Messages of some 300 bytes, one to a lane, and what a gateway does with them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use omgate::clock::Timestamp;
use omgate::delivery::{ConfigVersion, OnRevision, Planned};
use omgate::outcome::Record;
use omgate::store::{Accept, Bounds, Claim, Claimed, Incoming, IncomingKind, Settle, Settlement};

/// A moment from which the benches count.
pub(crate) const THEN: i64 = 1_790_000_000_000;
pub(crate) const DAY_MS: i64 = 86_400_000;

/// The envelope with these notifications.
pub(crate) fn envelope(numbers: Range<u64>, at: Timestamp) -> Accept {
    carrying(numbers.map(notification).collect(), at)
}

pub(crate) fn carrying(notifications: Vec<Incoming>, at: Timestamp) -> Accept {
    Accept {
        source: "orders".to_owned(),
        received_at: at,
        organization_id: "00D24000000abcdEAA".to_owned(),
        organization_key: "00D24000000abcd".to_owned(),
        action_id: "04k24000000HfHaAAK".to_owned(),
        enterprise_url: "https://example.my.salesforce.com/services/Soap/c/61.0/00D24000000abcd".to_owned(),
        partner_url: String::new(),
        sender: "10.0.0.1:50000".to_owned(),
        quarantine: None,
        config_version: ConfigVersion(1),
        routes_in_force: Arc::new([("orders".to_owned(), OnRevision::Deliver)].into()),
        notifications,
    }
}

/// A record of its own, in a lane of its own.
pub(crate) fn notification(number: u64) -> Incoming {
    let record_id = format!("006{number:012}AAA");
    let mut hash = [0; 32];
    for (byte, place) in number.to_le_bytes().into_iter().zip(&mut hash) {
        *place = byte;
    }
    Incoming {
        notification_id: format!("04l{number:012}AAA"),
        hash,
        kind: IncomingKind::Record,
        record_type: "Opportunity".to_owned(),
        xml: format!("<sObject><Id>{record_id}</Id><Name>{}</Name></sObject>", "n".repeat(250)),
        search: Default::default(),
        deliveries: vec![planned("create", "erp", &record_id)],
        record_id,
    }
}

pub(crate) fn planned(destination: &str, system: &str, lane: &str) -> Planned {
    Planned {
        route: "orders".to_owned(),
        destination: destination.to_owned(),
        system: system.to_owned(),
        lane: Some(lane.to_owned()),
        on_revision: OnRevision::Deliver,
        coalesce: None,
        after: None,
        dead: None,
    }
}

pub(crate) fn claim(limit: usize, at: Timestamp) -> Claim {
    Claim {
        system: "erp".to_owned(),
        destinations: vec!["create".to_owned()],
        routes: vec!["orders".to_owned()],
        limit,
        newest_first: false,
        now: at,
        active_ms: 0,
        config_version: ConfigVersion(1),
        bounds: Bounds { lease: Duration::from_secs(3_600), ..Bounds::default() },
    }
}

/// It was delivered.
pub(crate) fn settle(claimed: &Claimed, at: Timestamp) -> Settle {
    Settle {
        delivery: claimed.delivery,
        lease: claimed.lease,
        ended_at: at,
        duration: Duration::from_millis(100),
        outcome: "delivered",
        reason: String::new(),
        record: Record {
            request_line: "POST http://erp.internal:8000/orders".to_owned(),
            request: "r".repeat(300),
            status: Some(200),
            response: "a".repeat(300),
            ..Record::default()
        },
        repeat_key: None,
        excused: false,
        settlement: Settlement::Delivered,
        active_ms: 0,
        stale_mark: None,
        kept: Vec::new(),
    }
}
