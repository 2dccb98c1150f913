//! A notification that no route matched, or that was quarantined, gets the deliveries that routes make of it now.

use super::accept::Envelope;
use super::books::{Books, Failure};
use super::revise;
use crate::clock::Timestamp;
use crate::delivery::Planned;
use crate::store::StoreError;
use crate::store::arrival;

/// Executes the command: `row` is the content that goes out, of whichever revision.
pub(super) fn reroute(
    books: &mut Books,
    row: i64,
    deliveries: &[Planned],
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let sql = "SELECT first.id, first.source, first.organization, first.kind, this.record_id FROM notification this
               CROSS JOIN notification first ON first.notification_id = this.notification_id
               AND first.organization = this.organization AND first.revision = 1 WHERE this.id = ?1";
    let found = books.find(sql, [row], |found| {
        Ok((
            found.get::<_, i64>(0)?,
            found.get::<_, i64>(1)?,
            found.get::<_, i64>(2)?,
            found.get::<_, String>(3)?,
            found.get::<_, String>(4)?,
        ))
    })?;
    let Some((first, source, organization, kind, record_id)) = found else {
        return Err(Failure::Rule(StoreError::NotFound(format!("notification row {row}"))));
    };
    arrival::check_reroutable(row, &kind)?;
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    books.accounts.at(now);
    let accept = arrival::nothing_new(now);
    let mut envelope = Envelope::of_known(&accept, source, organization);
    for planned in deliveries {
        let made = envelope.deliver(books, first, row, &record_id, planned)?;
        revise::remember_route(books, first, &planned.route, made)?;
    }
    envelope.tell_fallen(books)?;
    revise::reclassify(books, first, source, &kind)?;
    Ok(envelope.woken())
}
