//! Edited content that a second person must look at before it is sent: `four_eyes`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::json;

use crate::account::Right;
use crate::admin::access::{Caller, Who};
use crate::admin::body::{Body, Reason};
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::question::{Nothing, Question};
use crate::admin::replay::{self, Wish};
use crate::admin::{Admin, api, masked};
use crate::clock::Timestamp;
use crate::delivery::DeliveryId;
use crate::store::By;

/// So many may wait for somebody at once.
const WAITING_MAX: usize = 1_000;
/// How many are remembered once they were decided.
const DECIDED_MAX: usize = 200;

/// What can be done with one.
pub(super) const VERBS: [&str; 2] = ["approve", "reject"];

/// What people want sent with other content, until the gateway stops.
#[derive(Clone, Debug, Default)]
pub struct Proposals(Arc<Mutex<BTreeMap<u64, Proposal>>>);

#[derive(Clone, Debug)]
struct Proposal {
    told: Told,
    wish: Wish,
}

/// What is told of one.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Told {
    id: u64,
    delivery_id: DeliveryId,
    /// Who wants it, when and why.
    proposed_by: String,
    proposed_at: Timestamp,
    reason: String,
    /// `waiting`, `approved` or `rejected`.
    state: &'static str,
    decided_by: Option<String>,
    decided_at: Option<Timestamp>,
    /// The delivery that was made of it.
    sent: Option<DeliveryId>,
}

impl Proposals {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Proposal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one; or why not.
    fn add(&self, delivery: DeliveryId, by: &str, wish: Wish, now: Timestamp) -> Result<Told, &'static str> {
        let mut all = self.all();
        if all.values().filter(|known| known.told.state == "waiting").count() >= WAITING_MAX {
            return Err("1,000 edits wait for a second person already: approve or reject some");
        }
        let id = all.keys().next_back().map_or(1, |last| last + 1);
        let told = Told {
            id,
            delivery_id: delivery,
            proposed_by: by.to_owned(),
            proposed_at: now,
            reason: wish.reason.clone(),
            state: "waiting",
            decided_by: None,
            decided_at: None,
            sent: None,
        };
        all.insert(id, Proposal { told: told.clone(), wish });
        Ok(told)
    }

    fn list(&self) -> Vec<Told> {
        self.all().values().rev().map(|proposal| proposal.told.clone()).collect()
    }

    /// Takes one that waits for a decision of this person, so that nobody else decides it meanwhile; or why he may not.
    fn take(&self, id: u64, person: &str, state: &'static str, now: Timestamp) -> Result<Proposal, (u16, String)> {
        let mut all = self.all();
        let Some(proposal) = all.get_mut(&id) else {
            return Err((404, format!("there is no proposal {id}; they are forgotten when the gateway stops")));
        };
        if proposal.told.state != "waiting" {
            return Err((409, format!("proposal {id} is {} already", proposal.told.state)));
        }
        if state == "approved" && proposal.told.proposed_by == person {
            return Err((409, "somebody else must approve what you propose: that is what four_eyes is for".to_owned()));
        }
        proposal.told.state = state;
        (proposal.told.decided_by, proposal.told.decided_at) = (Some(person.to_owned()), Some(now));
        let taken = proposal.clone();
        let decided: Vec<u64> =
            all.iter().filter(|(_, known)| known.told.state != "waiting").map(|(id, _)| *id).collect();
        for old in decided.iter().take(decided.len().saturating_sub(DECIDED_MAX)) {
            all.remove(old);
        }
        Ok(taken)
    }

    /// What came of the decision: the delivery that goes out; none: it waits again.
    fn end(&self, id: u64, sent: Option<DeliveryId>) -> Option<Told> {
        let mut all = self.all();
        let proposal = all.get_mut(&id)?;
        match sent {
            Some(_) => proposal.told.sent = sent,
            None => {
                proposal.told.state = "waiting";
                (proposal.told.decided_by, proposal.told.decided_at) = (None, None);
            }
        }
        Some(proposal.told.clone())
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/proposals", web::get().to(list))
        .route("/proposals/{id}", web::get().to(one))
        .route("/proposals/{id}/{verb}", web::post().to(decide));
}

/// Keeps an edit until somebody else looked at it: 202.
pub(super) async fn propose(
    admin: &Admin,
    id: DeliveryId,
    wish: Wish,
    person: Person,
    caller: &Caller,
) -> HttpResponse {
    // What could not be sent is refused at once, and not when somebody looks at it.
    let rehearsed = match replay::rehearse(admin, id, &wish).await {
        Ok(rehearsed) => rehearsed,
        Err(error) => return api::refused_one(admin, id, error).await,
    };
    let reason = wish.reason.clone();
    let told = match admin.proposals.add(id, &person.0, wish, admin.clock.now()) {
        Ok(told) => told,
        Err(fault) => return api::problem(409, fault),
    };
    let by = By::new(person.0, reason);
    admin.audit(by, "propose", ("delivery", &id.to_string()), 1, &format!("proposal {} waits", told.id)).await;
    let shown = masked::document(admin, id, json!({"proposal": told, "replay": rehearsed.get("replay")})).await;
    match shown {
        Ok(shown) => HttpResponse::Accepted().json(caller.shown(shown)),
        Err(error) => api::from_store(&error),
    }
}

/// Edits that wait for a second person, and what came of others; the newest first.
#[utoipa::path(get, path = "/api/v1/proposals", responses((status = 200, body = Vec<Told>)))]
pub(super) async fn list(admin: web::Data<Admin>, _: Question<Nothing>, caller: Caller) -> HttpResponse {
    api::show(&caller, Ok(admin.proposals.list()))
}

/// One, with the call that it would make now against the one that was made last.
#[utoipa::path(
    get,
    path = "/api/v1/proposals/{id}",
    params(("id" = u64, Path)),
    responses((status = 200, body = answers::ProposalTold))
)]
pub(super) async fn one(admin: web::Data<Admin>, id: web::Path<u64>, caller: Caller) -> HttpResponse {
    let Some(Proposal { told, wish }) = admin.proposals.all().get(&id).cloned() else {
        return api::problem(404, &format!("there is no proposal {id}; they are forgotten when the gateway stops"));
    };
    let delivery = told.delivery_id;
    let rehearsed = match told.state {
        "waiting" => replay::rehearse(&admin, delivery, &wish).await.map(|found| found.get("replay").cloned()),
        _ => Ok(None),
    };
    let document = match rehearsed {
        Ok(replay) => json!({"proposal": told, "replay": replay}),
        Err(error) => return api::refused_one(&admin, delivery, error).await,
    };
    api::show(&caller, masked::document(&admin, delivery, document).await)
}

/// Approves or rejects an edit.
#[utoipa::path(
    post,
    path = "/api/v1/proposals/{id}/{verb}",
    params(("id" = u64, Path), ("verb" = String, Path)),
    request_body = Reason,
    responses((status = 200, body = Told))
)]
pub(super) async fn decide(
    admin: web::Data<Admin>,
    path: web::Path<(u64, String)>,
    because: Body<Reason>,
    person: Person,
    caller: Caller,
) -> HttpResponse {
    let (id, verb) = path.into_inner();
    let Reason { reason } = because.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    let state = match verb.as_str() {
        "approve" => "approved",
        "reject" => "rejected",
        _ => return api::problem(404, "a proposal can be approved or rejected"),
    };
    // Whoever makes a token for himself would be two.
    if state == "approved" && !matches!(caller.who, Who::Account(_) | Who::Person(_)) {
        return api::problem(403, "a person who logged in must approve it, and no token");
    }
    let taken = match admin.proposals.take(id, &person.0, state, admin.clock.now()) {
        Ok(taken) => taken,
        Err((status, detail)) => return api::problem(status, &detail),
    };
    let Proposal { told, wish } = taken;
    let object = told.delivery_id.to_string();
    let by = By::new(person.0.clone(), reason.clone());
    if state == "rejected" {
        admin.audit(by, "reject", ("delivery", &object), 1, &format!("proposal {id} of {}", told.proposed_by)).await;
        return api::show(
            &caller,
            Ok(admin.proposals.end(id, Some(told.delivery_id)).map(|told| Told { sent: None, ..told })),
        );
    }
    let both = format!("{} (proposed by {}, approved by {})", wish.reason, told.proposed_by, person.0);
    let sent = replay::replay(&admin, told.delivery_id, &wish, By::new(person.0, both)).await;
    let result =
        sent.as_ref().map_or_else(|_| "could not be sent".to_owned(), |view| format!("sent as {}", view.delivery_id));
    admin
        .audit(by, "approve", ("delivery", &object), 1, &format!("proposal {id} of {}: {result}", told.proposed_by))
        .await;
    match sent {
        Ok(view) => api::show(&caller, Ok(admin.proposals.end(id, Some(view.delivery_id)))),
        Err(error) => {
            admin.proposals.end(id, None);
            api::refused_one(&admin, told.delivery_id, error).await
        }
    }
}

/// Whether an edit needs a second person.
pub(super) fn is_needed(admin: &Admin, wish: &Wish) -> bool {
    wish.edit.is_some() && admin.keep.terms.load().four_eyes
}

/// Whether the caller may decide at all.
pub(super) fn may_decide(caller: &Caller) -> bool {
    caller.has(Right::Edit) && matches!(caller.who, Who::Account(_) | Who::Person(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(proposals: &Proposals) -> u64 {
        let wish = Wish { reason: "typo".to_owned(), ..Wish::default() };
        proposals.add(DeliveryId(7), "account a", wish, Timestamp(0)).unwrap().id
    }

    #[test]
    fn nobody_approves_what_he_proposed_and_nothing_is_decided_twice() {
        let proposals = Proposals::default();
        let id = proposed(&proposals);
        assert_eq!(proposals.take(id, "account a", "approved", Timestamp(1)).unwrap_err().0, 409);
        proposals.take(id, "account b", "approved", Timestamp(1)).unwrap();
        assert_eq!(proposals.take(id, "account c", "approved", Timestamp(1)).unwrap_err().0, 409);
        assert_eq!(proposals.end(id, None).unwrap().state, "waiting", "what could not be sent waits again");
        proposals.take(id, "account a", "rejected", Timestamp(2)).unwrap();
        assert_eq!(proposals.take(99, "account a", "rejected", Timestamp(2)).unwrap_err().0, 404);
    }

    #[test]
    fn proposals_have_a_bound() {
        let proposals = Proposals::default();
        for _ in 0..WAITING_MAX {
            proposed(&proposals);
        }
        assert!(proposals.add(DeliveryId(1), "a", Wish::default(), Timestamp(0)).is_err());
        for id in 1..=WAITING_MAX as u64 {
            proposals.take(id, "b", "rejected", Timestamp(1)).unwrap();
        }
        assert_eq!(proposals.list().len(), DECIDED_MAX);
    }
}
