//! Deliveries that come after another of their notification: they wait until that one is delivered, and die when it will
//! not be.

use std::sync::Arc;

use super::books::{Books, Failure};
use super::lane::{self, Place};
use super::revise;
use crate::clock::Timestamp;
use crate::delivery::{After, State};
use crate::store::StoreError;
use crate::store::lead::{self, Follower, Lead, Rejoined};
use crate::store::names::Way;
use crate::store::turn::Turn;

impl From<&Place> for Lead {
    fn from(place: &Place) -> Self {
        Self { id: place.id, state: place.state }
    }
}

/// The newest delivery that a route made of a notification, whose first revision stands at a row.
pub(super) fn lead(books: &mut Books, first: i64, route: &str) -> Result<Option<Lead>, Failure> {
    for delivery in revise::newest_deliveries(books, first)?.into_iter().rev() {
        let Some(place) = lane::place(books, delivery)? else { continue };
        if place.way.route_name == route {
            return Ok(Some(Lead::from(&place)));
        }
    }
    Ok(None)
}

/// Notes what a new delivery comes after.
pub(super) fn note(books: &Books, delivery: i64, after: &After, lead: Option<Lead>) -> Result<(), Failure> {
    let sql = "UPDATE delivery SET comes_after = ?2, holds = ?3 WHERE id = ?1";
    books.run(sql, (delivery, lead.map(|lead| lead.id), after.holds_lane))?;
    match lead {
        Some(lead) => books.run("UPDATE delivery SET has_followers = 1 WHERE id = ?1", [lead.id]).map(|_| ()),
        None => Ok(()),
    }
}

/// Whether a delivery need not wait for the one that it comes after. What is missing from the store holds nothing up: the
/// claim sees that it is gone.
pub(super) fn is_free(books: &Books, place: &Place) -> Result<bool, Failure> {
    let Some(lead) = place.comes_after else { return Ok(true) };
    let sql = "SELECT state = 'delivered' FROM delivery WHERE id = ?1";
    Ok(books.find(sql, [lead], |row| row.get(0))?.unwrap_or(true))
}

/// Tells those that come after a delivery what became of it; the ways on which something is due now.
pub(super) fn tell(books: &mut Books, lead: i64, now: Timestamp) -> Result<Vec<Arc<Way>>, Failure> {
    let mut woken = Vec::new();
    let mut told = vec![lead];
    while let Some(lead) = told.pop() {
        let place = lane::place_of(books, lead)?;
        let lead = Lead::from(&place);
        if !lead.is_decided() {
            continue;
        }
        let reason = lead.lost(&place.way.route_name);
        let sql = "SELECT id FROM delivery WHERE comes_after = ?1 ORDER BY id";
        for follower in books.list(sql, [lead.id], |row| row.get(0))? {
            let follower = lane::place_of(books, follower)?;
            match lead.follower(follower.state) {
                Follower::Stays => continue,
                Follower::GoesOn => {}
                Follower::Dies => {
                    let unsettled = follower.holds;
                    let turn = Turn { to: State::Dead, due_at: None, unsettled, reason: Some(&reason), at: now };
                    lane::turn(books, &follower, turn)?;
                    if follower.has_followers {
                        told.push(follower.id);
                    }
                }
            }
            if lane::promote(books, &follower, now)? {
                woken.push(Arc::clone(&follower.way));
            }
        }
    }
    Ok(woken)
}

/// A delivery that a person sends again waits for the one that it comes after: the one that it knows, or where that is lost
/// the newest that its route made of the notification. `after` is what the configuration says now, where that is known.
pub(super) fn rejoin(books: &mut Books, place: &Place, after: Option<Option<&After>>) -> Result<(), Failure> {
    let known = match place.comes_after {
        Some(lead) => lane::place(books, lead)?,
        None => None,
    };
    let known = known.as_ref().map(|known| (known.way.route_name.as_str(), Lead::from(known)));
    let after = match lead::rejoined(after, known, place.holds) {
        Rejoined::Nothing => {
            return books.run("UPDATE delivery SET comes_after = NULL WHERE id = ?1", [place.id]).map(|_| ());
        }
        Rejoined::AsItWas => return Ok(()),
        Rejoined::Newest(after) => after,
    };
    let first = first_row(books, place.id)?;
    let lead = lead(books, first, &after.route)?;
    lead::check(place.id, place.lane.as_ref(), &after, lead)?;
    note(books, place.id, &after, lead)
}

/// The row of the first revision of what a delivery carries.
pub(super) fn first_row(books: &Books, delivery: i64) -> Result<i64, Failure> {
    let sql = "SELECT first.id FROM delivery d CROSS JOIN notification this ON this.id = d.notification
               CROSS JOIN notification first ON first.notification_id = this.notification_id
               AND first.organization = this.organization AND first.revision = 1 WHERE d.id = ?1";
    let found = books.find(sql, [delivery], |row| row.get(0))?;
    found.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {delivery}"))))
}
