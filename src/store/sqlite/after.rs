//! Deliveries that come after another of their notification: they wait until that one is delivered, and die when it will
//! not be.

use std::sync::Arc;

use super::books::{Books, Failure};
use super::lane::{self, Place};
use super::revise;
use crate::clock::Timestamp;
use crate::delivery::{After, State};
use crate::store::StoreError;
use crate::store::names::Way;
use crate::store::turn::Turn;

/// The delivery that another comes after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lead {
    pub(super) id: i64,
    pub(super) state: State,
}

impl Lead {
    /// Whether it will not be delivered, unless a person sees to it.
    pub(super) fn is_lost(self) -> bool {
        matches!(self.state, State::Dead | State::Superseded | State::Discarded)
    }
}

/// The newest delivery that a route made of a notification, whose first revision stands at a row.
pub(super) fn lead(books: &mut Books, first: i64, route: &str) -> Result<Option<Lead>, Failure> {
    for delivery in revise::newest_deliveries(books, first)?.into_iter().rev() {
        let Some(place) = lane::place(books, delivery)? else { continue };
        if place.way.route_name == route {
            return Ok(Some(Lead { id: place.id, state: place.state }));
        }
    }
    Ok(None)
}

/// Why a delivery cannot go out at all; none when its lead is, or may yet be, delivered.
pub(super) fn refusal(after: &After, lead: Option<Lead>) -> Option<String> {
    let route = &after.route;
    match lead {
        None => Some(format!(
            "route {route:?}, which it comes after, made no delivery of this notification, so there is no answer to take"
        )),
        Some(lead) if lead.is_lost() => Some(lost(route, lead)),
        Some(_) => None,
    }
}

// The id stands in quotes, so that dead letters with this cause are grouped.
fn lost(route: &str, lead: Lead) -> String {
    let Lead { id, state } = lead;
    let then = match state {
        State::Dead => "; once that one was replayed and delivered, this one can be replayed",
        State::Waiting
        | State::Blocked
        | State::InFlight
        | State::Delivered
        | State::Held
        | State::Superseded
        | State::Discarded => "",
    };
    format!("delivery \"{id}\" on route {route:?}, which it comes after, is {state} and gave no answer{then}")
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
        let lead = lane::place_of(books, lead)?;
        let known = Lead { id: lead.id, state: lead.state };
        if lead.state != State::Delivered && !known.is_lost() {
            continue;
        }
        let sql = "SELECT id FROM delivery WHERE comes_after = ?1 ORDER BY id";
        for follower in books.list(sql, [lead.id], |row| row.get(0))? {
            let follower = lane::place_of(books, follower)?;
            if known.is_lost() {
                if !matches!(follower.state, State::Blocked | State::Held) {
                    continue;
                }
                let reason = Some(lost(&lead.way.route_name, known));
                let unsettled = follower.holds;
                let turn = Turn { to: State::Dead, due_at: None, unsettled, reason: reason.as_deref(), at: now };
                lane::turn(books, &follower, turn)?;
                if follower.has_followers {
                    told.push(follower.id);
                }
            }
            if lane::promote(books, follower.way.system, follower.lane.as_deref(), now)? {
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
    let route = match (after, &known) {
        (Some(None), _) => {
            return books.run("UPDATE delivery SET comes_after = NULL WHERE id = ?1", [place.id]).map(|_| ());
        }
        (Some(Some(after)), _) => after.route.clone(),
        (None, Some(known)) => known.way.route_name.clone(),
        (None, None) => return Ok(()),
    };
    if let Some(known) = &known
        && known.way.route_name == route
        && !(Lead { id: known.id, state: known.state }).is_lost()
    {
        return Ok(());
    }
    let holds_lane = after.flatten().map_or(place.holds, |after| after.holds_lane);
    let after = After { route, holds_lane };
    let first = first_row(books, place.id)?;
    let lead = lead(books, first, &after.route)?;
    // Who waits for a higher number may stand before it in its own lane: then neither would ever go out. And who has no
    // lane has no place in which to wait.
    let early = lead.filter(|lead| (lead.id > place.id || place.lane.is_none()) && lead.state != State::Delivered);
    let reason = refusal(&after, lead).or_else(|| {
        let Lead { id, .. } = early?;
        let route = &after.route;
        Some(format!(
            "delivery {id} on route {route:?}, which it comes after, is not delivered yet; replay this one once it is"
        ))
    });
    match reason {
        Some(reason) => Err(Failure::Rule(StoreError::Conflict(format!("delivery {}: {reason}", place.id)))),
        None => note(books, place.id, &after, lead),
    }
}

/// The row of the first revision of what a delivery carries.
pub(super) fn first_row(books: &Books, delivery: i64) -> Result<i64, Failure> {
    let sql = "SELECT first.id FROM delivery d CROSS JOIN notification this ON this.id = d.notification
               CROSS JOIN notification first ON first.notification_id = this.notification_id
               AND first.organization = this.organization AND first.revision = 1 WHERE d.id = ?1";
    let found = books.find(sql, [delivery], |row| row.get(0))?;
    found.ok_or_else(|| Failure::Rule(StoreError::NotFound(format!("the notification of delivery {delivery}"))))
}
