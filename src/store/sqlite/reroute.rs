//! A notification that no route matched, or that was quarantined, gets the deliveries that routes make of it now.

use super::accept::Envelope;
use super::books::{Books, Failure};
use super::revise;
use crate::store::arrival;
use crate::store::{Reroute, StoreError};

/// Executes the command.
pub(super) fn reroute(books: &mut Books, reroute: &Reroute) -> Result<Vec<String>, Failure> {
    let &Reroute { row, even_if_newer, now, .. } = reroute;
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
    if reroute.deliveries.is_empty() {
        return Ok(Vec::new());
    }
    books.accounts.at(now);
    let accept = arrival::nothing_new(now);
    let mut envelope = Envelope::of_known(&accept, source, organization);
    for planned in reroute.planned() {
        let made = envelope.deliver(books, first, row, &record_id, &planned)?;
        if even_if_newer {
            books.run("UPDATE delivery SET even_if_newer = 1 WHERE id = ?1", [made])?;
        }
        revise::remember_route(books, first, &planned.route, made)?;
    }
    envelope.tell_fallen(books)?;
    revise::reclassify(books, first, source, &kind)?;
    Ok(envelope.woken())
}
