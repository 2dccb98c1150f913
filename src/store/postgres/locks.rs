//! Who may change what: locks of the transaction on keys, always taken in one order, so that nobody waits in a circle.

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use super::failure::Failure;
use super::session::{Cells, Session, args, read};
use super::work::Work;

/// What a key stands for. Whoever needs several takes them in this order: all notifications, then all records, then all
/// lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A notification's id, so that it comes for the first time but once.
    Notification,
    /// The waiting updates of one record on one way.
    Record,
    /// The order of a lane, and who of it may go next.
    Lane,
}

/// Everybody shares it; who needs more locks than the database has room for takes it alone.
const GATE: i64 = -0x6f6d_6774;
/// One transaction never holds more keys than this.
const KEYS_MAX: usize = 400;
/// A key leaves room for its class above it.
const KEY_BITS: u32 = 60;

/// Takes the gate for the whole transaction. The first lock of everybody who takes any.
const ENTER: &str = "pg_advisory_xact_lock_shared(-1869440884)";

/// A number for a key: what is locked, and what is looked for.
pub(super) fn key(owner: i64, text: &str) -> i64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&owner.to_be_bytes());
    context.update(text.as_bytes());
    let hash = context.finish();
    let number = hash.as_ref().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    i64::try_from(number >> (64 - KEY_BITS)).unwrap_or(0)
}

/// The number under which a key of a class is locked.
fn number(class: Class, key: i64) -> i64 {
    let class = match class {
        Class::Notification => 1,
        Class::Record => 2,
        Class::Lane => 3,
    };
    (class << KEY_BITS) | key
}

/// The keys that a command needs at once.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeSet<i64>);

impl Keys {
    pub(super) fn add(&mut self, class: Class, key: i64) {
        self.0.insert(number(class, key));
    }

    pub(super) fn lanes(lanes: impl IntoIterator<Item = i64>) -> Self {
        Self(lanes.into_iter().map(|lane| number(Class::Lane, lane)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How a transaction goes through the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// With the others: it locks its keys.
    Shared,
    /// Alone: it needs no keys.
    Alone,
}

impl Gate {
    /// For a transaction that may come to need so many keys.
    pub(super) fn for_keys(keys: usize) -> Self {
        if keys > KEYS_MAX { Self::Alone } else { Self::Shared }
    }
}

/// Goes through the gate and takes keys, in order.
pub(super) async fn enter(session: &mut Session, gate: Gate, keys: &Keys) -> Result<(), Failure> {
    match gate {
        Gate::Alone => {
            session.query("SELECT pg_advisory_xact_lock($1)::text", args![INT8 GATE]).await?;
        }
        Gate::Shared => {
            let keys: Vec<i64> = keys.0.iter().copied().collect();
            let sql = format!(
                "SELECT {ENTER}::text UNION ALL
                 SELECT pg_advisory_xact_lock(key)::text FROM unnest($1::bigint[]) key"
            );
            session.query(&sql, args![INT8_ARRAY keys]).await?;
        }
    }
    Ok(())
}

/// Takes more keys, all of later classes than those before.
pub(super) async fn take(session: &mut Session, gate: Gate, keys: &Keys) -> Result<(), Failure> {
    if gate == Gate::Alone || keys.0.is_empty() {
        return Ok(());
    }
    let keys: Vec<i64> = keys.0.iter().copied().collect();
    let sql = "SELECT pg_advisory_xact_lock(key)::text FROM unnest($1::bigint[]) key";
    session.query(sql, args![INT8_ARRAY keys]).await.map(|_| ())
}

/// Takes those keys of a class that nobody has, and waits for none; which those are. They may be out of order for that.
pub(super) async fn try_take(
    session: &mut Session,
    class: Class,
    keys: &BTreeSet<i64>,
) -> Result<BTreeSet<i64>, Failure> {
    let (keys, numbers): (Vec<i64>, Vec<i64>) = keys.iter().map(|key| (*key, number(class, *key))).unzip();
    let sql = "SELECT k.key FROM unnest($1::bigint[], $2::bigint[]) k (key, number)
               WHERE pg_try_advisory_xact_lock(k.number)";
    let rows = session.query(sql, args![INT8_ARRAY keys, INT8_ARRAY numbers]).await?;
    Ok(read(&rows, Cells::number)?.into_iter().collect())
}

/// Locks the lanes of some deliveries; which lanes those are. A delivery never changes its lane.
pub(super) async fn lock_lanes_of(work: &mut Work, deliveries: &[i64]) -> Result<BTreeSet<i64>, Failure> {
    let sql = "SELECT DISTINCT lane_key FROM delivery WHERE id = ANY($1) AND lane_key IS NOT NULL";
    let rows = work.session.query(sql, args![INT8_ARRAY deliveries]).await?;
    let lanes = read(&rows, Cells::number)?.into_iter().collect();
    lock_lanes(work, &lanes).await?;
    Ok(lanes)
}

/// Goes through the gate and takes lanes.
pub(super) async fn lock_lanes(work: &mut Work, lanes: &BTreeSet<i64>) -> Result<(), Failure> {
    let keys = Keys::lanes(lanes.iter().copied());
    enter(&mut work.session, Gate::for_keys(keys.len()), &keys).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_later_classes_are_later_and_none_is_the_gate() {
        let highest = (1 << KEY_BITS) - 1;
        assert!(number(Class::Notification, 0) > GATE);
        assert!(number(Class::Notification, highest) < number(Class::Record, 0));
        assert!(number(Class::Record, highest) < number(Class::Lane, 0));
        assert!(number(Class::Lane, highest) > 0, "below the sign");
        assert!((0..100).all(|owner| (0..=highest).contains(&key(owner, "L"))));
        assert_ne!(key(1, "L"), key(2, "L"));
    }
}
