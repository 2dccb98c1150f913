//! A person has deliveries sent again: as they were or mapped anew, along another route, with edited content.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::admin::{Admin, outlook};
use crate::delivery::{ConfigVersion, DeliveryId, Planned, State};
use crate::dispatch::{Rehearsal, Rehearsed};
use crate::store::{
    AttemptView, By, DeliveryFilter, DeliveryView, Edit, Edits, Replay, Store, StoreError, StoreResult,
    StoredNotification,
};

/// So many deliveries come after one another at the most.
const CHAIN_MAX: usize = 5;

/// With which configuration the call is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Mapping)]
pub(super) enum Mapped {
    /// The one in force.
    #[default]
    Anew,
    /// That of its last attempt, whose call it must be again.
    AsItWas,
}

/// What is wanted of a replay.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) mapping: Mapped,
    /// A route, or a destination that one route leads to.
    pub(super) to: Option<String>,
    pub(super) edit: Option<Edits>,
    pub(super) even_if_newer: bool,
    /// Only when the delivery is in this state.
    pub(super) state: Option<State>,
    pub(super) reason: String,
}

impl Wish {
    /// What contradicts itself in it, or lacks. What is only asked for needs no reason.
    pub(super) fn fault(&self, dry_run: bool) -> Option<&'static str> {
        if self.edit.is_some() && self.reason.trim().is_empty() && !dry_run {
            return Some("to send edited content needs a reason");
        }
        if self.mapping == Mapped::AsItWas && (self.edit.is_some() || self.to.is_some()) {
            return Some(
                "as it was means with its own content along its own route: leave out edit and to, or map it anew",
            );
        }
        None
    }
}

/// A delivery with all that a replay of it needs.
struct Case {
    view: DeliveryView,
    last: Option<AttemptView>,
    content: StoredNotification,
    edit: Option<Edit>,
    /// What the route makes of it now; or why it makes nothing.
    planned: Result<Planned, String>,
    /// What its route comes after now: the newest delivery of that.
    lead: Option<DeliveryView>,
    after: Map<String, Json>,
}

impl Case {
    async fn of(admin: &Admin, id: DeliveryId, wish: &Wish) -> StoreResult<Self> {
        let (view, mut attempts) = admin.store.delivery(id).await?;
        if !matches!(view.state, State::Dead | State::Delivered) {
            let state = view.state.as_str().replace('_', " ");
            let reason = format!("delivery {id} is {state}; only a dead or a delivered one can be replayed");
            return Err(StoreError::Conflict(reason));
        }
        if let Some(state) = wish.state.filter(|state| *state != view.state) {
            return Err(StoreError::Conflict(format!("delivery {id} is {}, not {state}", view.state)));
        }
        let conflict = |reason: String| StoreError::Conflict(format!("delivery {id}: {reason}"));
        let revisions = admin.store.notification(view.notification_row.to_string()).await?;
        let carried = revisions.into_iter().find(|revision| revision.notification.row == view.notification_row);
        let mut content = carried.ok_or_else(|| conflict("its notification is gone".to_owned()))?.notification;
        if content.is_pruned() && !matches!(wish.edit, Some(Edits::Xml(_))) {
            let reason =
                "its record was taken out of the store, as [retention] says, so there is nothing to send any more";
            return Err(conflict(format!("{reason}; give the whole record with --edit (edit.xml in the API)")));
        }
        let edit = match &wish.edit {
            Some(edits) => Some((admin.edit)(&content, edits).map_err(conflict)?),
            None => None,
        };
        if let Some(edit) = &edit {
            content.xml.clone_from(&edit.xml);
            content.record_id.clone_from(&edit.record_id);
            content.record_type.clone_from(&edit.record_type);
            content.revision = content.revision.saturating_add(1);
        }
        let planned = (admin.plan_to)(&content, wish.to.as_deref().unwrap_or(&view.route));
        let planned = match (planned, &wish.to) {
            (Err(reason), Some(_)) => return Err(conflict(reason)),
            (planned, _) => planned,
        };
        let lead = match planned.as_ref().ok().and_then(|planned| planned.after.as_ref()) {
            Some(after) => lead(admin.store.as_ref(), &view, &after.route).await?,
            None => None,
        };
        let before = lead.as_ref().map(|lead| lead.delivery_id).or(view.links.after);
        let after = kept_before(admin.store.as_ref(), before).await?;
        Ok(Self { view, last: attempts.pop(), content, edit, planned, lead, after })
    }

    /// Whether it becomes a delivery of its own.
    fn is_linked(&self) -> bool {
        let own_route = self.planned.as_ref().is_ok_and(|planned| planned.route == self.view.route);
        self.view.state == State::Delivered || self.edit.is_some() || (self.planned.is_ok() && !own_route)
    }

    /// A delivery that was never called stands on a condition that nobody could decide when it came, or that is another by
    /// now: along its own route it goes only if the condition holds. Where a person names the way (`to`), he decided.
    fn check_condition(&self, admin: &Admin, wish: &Wish) -> StoreResult<()> {
        if self.last.is_some() || wish.to.is_some() {
            return Ok(());
        }
        let Ok(considered) = (admin.consider)(&self.content) else { return Ok(()) };
        let told = considered.routes.into_iter().find(|route| route.name == self.view.route);
        let Some(why) = told.and_then(|route| route.because.filter(|_| !route.matches || route.is_undecided)) else {
            return Ok(());
        };
        let (id, route) = (self.view.delivery_id, &self.view.route);
        Err(StoreError::Conflict(format!(
            "delivery {id}: route {route:?} does not take it: {why}; mend its `when`, or name the way with --to (to in the API) \
             to send it all the same"
        )))
    }

    /// Whether what is made along the route that a person named is what the delivery itself comes after.
    fn leads(&self, admin: &Admin) -> bool {
        let mut own = self.view.route.clone();
        for _ in 0..CHAIN_MAX {
            let Some(after) = (admin.plan_to)(&self.content, &own).ok().and_then(|planned| planned.after) else {
                break;
            };
            if after.route == self.route() {
                return self.edit.is_none();
            }
            own = after.route;
        }
        false
    }

    fn route(&self) -> &str {
        self.planned.as_ref().map_or(self.view.route.as_str(), |planned| planned.route.as_str())
    }

    /// What it is to come after must be delivered, or be on its way: as the store will have it.
    fn check_lead(&self) -> StoreResult<()> {
        let Some(after) = self.planned.as_ref().ok().and_then(|planned| planned.after.as_ref()) else { return Ok(()) };
        let reason = match &self.lead {
            None => "made no delivery of this notification, so there is no answer to take".to_owned(),
            Some(lead) if matches!(lead.state, State::Dead | State::Superseded | State::Discarded) => {
                format!("has not delivered it: delivery {} is {}", lead.delivery_id, lead.state)
            }
            Some(_) => return Ok(()),
        };
        let (id, route) = (self.view.delivery_id, &after.route);
        Err(StoreError::Conflict(format!("delivery {id}: route {route:?}, which it comes after, {reason}")))
    }

    /// Makes the call that would go out, less a key of its own.
    async fn rehearse(&self, admin: &Admin, version: Option<ConfigVersion>) -> Result<Rehearsed, String> {
        let rehearsal = Rehearsal {
            notification: &self.content,
            route: self.route(),
            after: &self.after,
            version,
            replay: self.view.links.replay_of.map(|_| self.view.delivery_id),
            is_new: self.is_linked(),
        };
        admin.dispatch.rehearse(rehearsal).await
    }

    /// The configuration of its last attempt, which makes that call again.
    async fn version_then(&self, admin: &Admin) -> Result<ConfigVersion, String> {
        let last =
            self.last.as_ref().ok_or("it was never attempted, so there is no call to repeat; replay it mapped anew")?;
        let AttemptView { number, config_version: version, record, .. } = last;
        let Some(hash) = record.call_hash else {
            return Err(format!(
                "attempt {number} kept no hash of its call (it was cut off, or made by an earlier omgate), so nobody can say \
                 that it would be the same; replay it mapped anew"
            ));
        };
        let again = self.rehearse(admin, Some(*version)).await?;
        if again.hash == hash {
            return Ok(*version);
        }
        Err(format!(
            "configuration version {} does not make the call of attempt {number} again: a secret in it, or what it comes \
             after, is another now; replay it mapped anew, and look at it with --dry-run first",
            version.0
        ))
    }
}

/// The newest delivery that a route made of the notification of another.
async fn lead(store: &dyn Store, view: &DeliveryView, route: &str) -> StoreResult<Option<DeliveryView>> {
    let filter = DeliveryFilter {
        route: Some(route.to_owned()),
        notification_id: Some(view.notification_id.clone()),
        limit: Some(1),
        ..DeliveryFilter::default()
    };
    Ok(store.deliveries(filter).await?.rows.pop())
}

/// What was kept of the answers to those that a delivery comes after, from the nearest on.
async fn kept_before(store: &dyn Store, nearest: Option<DeliveryId>) -> StoreResult<Map<String, Json>> {
    let mut all = Map::new();
    let mut next = nearest;
    for _ in 0..CHAIN_MAX {
        let Some(lead) = next else { break };
        let (lead, _) = store.delivery(lead).await?;
        for (name, value) in lead.kept {
            all.entry(name).or_insert(value);
        }
        next = lead.links.after;
    }
    Ok(all)
}

/// Sends one again.
pub(super) async fn replay(admin: &Admin, id: DeliveryId, wish: &Wish, by: By) -> StoreResult<DeliveryView> {
    let case = Case::of(admin, id, wish).await?;
    case.check_condition(admin, wish)?;
    let as_it_was = match wish.mapping {
        Mapped::Anew => None,
        Mapped::AsItWas => {
            let version = case.version_then(admin).await;
            Some(version.map_err(|reason| StoreError::Conflict(format!("delivery {id}: {reason}")))?)
        }
    };
    if case.is_linked()
        && let Err(reason) = &case.planned
    {
        return Err(StoreError::Conflict(format!("delivery {id}: {reason}")));
    }
    let order = Replay {
        delivery: id,
        // What was found out of it holds for this state.
        still: Some(case.view.state),
        stays_dead: case.leads(admin),
        planned: case.planned.ok(),
        edit: case.edit,
        as_it_was,
        even_if_newer: wish.even_if_newer,
        by,
        now: admin.clock.now(),
    };
    let replayed = admin.store.replay(order).await?;
    for system in &replayed.woken {
        admin.dispatch.wake(system);
    }
    admin.dispatch.wake_after(&case.view.route);
    Ok(replayed.delivery)
}

/// What would be done, and the call that would go out.
pub(super) async fn rehearse(admin: &Admin, id: DeliveryId, wish: &Wish) -> StoreResult<Json> {
    let case = Case::of(admin, id, wish).await?;
    case.check_condition(admin, wish)?;
    if !wish.even_if_newer
        && case.route() == case.view.route
        && let Some(newer) = admin.store.outdated_by(id).await?
    {
        let reason = format!(
            "delivery {id} is outdated: delivery {newer} brought a later state of the record; replay it with --even-if-newer \
             (even_if_newer in the API) if that is what you want"
        );
        return Err(StoreError::Conflict(reason));
    }
    case.check_lead()?;
    let is_linked = case.is_linked();
    // After an unknown outcome the same call goes out again, whatever is wished.
    let unknown = case.last.as_ref().filter(|last| last.outcome.as_deref() == Some("unknown") && !is_linked);
    let version = match (wish.mapping, unknown) {
        (Mapped::AsItWas, _) => {
            let version = case.version_then(admin).await;
            Some(version.map_err(|reason| StoreError::Conflict(format!("delivery {id}: {reason}")))?)
        }
        (Mapped::Anew, Some(last)) => Some(last.config_version),
        (Mapped::Anew, None) => None,
    };
    let made = match &case.planned {
        Err(reason) if is_linked => Err(reason.clone()),
        Ok(_) | Err(_) => case.rehearse(admin, version).await,
    };
    // What it is to carry of an answer that is not there yet, nobody knows.
    let waits_for = case.lead.as_ref().filter(|lead| lead.state != State::Delivered).map(|lead| lead.delivery_id);
    let made = made.map_err(|error| match waits_for {
        Some(lead) => format!("delivery {lead}, which it comes after, has given no answer yet; without that: {error}"),
        None => error,
    });
    let last = case.last.as_ref();
    let same = made.as_ref().ok().map(|made| last.is_some_and(|last| last.record.call_hash == Some(made.hash)));
    let mut answer = json!(case.view);
    if let Some(answer) = answer.as_object_mut() {
        let replay = json!({
            "linked": is_linked,
            "route": case.route(),
            "destination": case.planned.as_ref().map_or(&case.view.destination, |planned| &planned.destination),
            "mapping": wish.mapping,
            "call": made.as_ref().ok().map(call),
            "error": made.as_ref().err(),
            "waits_for": waits_for,
            "last_attempt": last.map(|last| json!({
                "number": last.number, "request_line": last.record.request_line, "request": last.record.request,
                "call_sha256": last.record.call_hash.as_ref().map(|hash| hex(hash)),
            })),
            "same_as_last": same,
        });
        answer.insert("replay".to_owned(), replay);
    }
    let system = case.planned.as_ref().map_or(&case.view.system, |planned| &planned.system);
    Ok(outlook::with_waits(admin, answer, system))
}

/// Why no call of a delivery can be made, so that it would die again at once; none where one can, and where it is refused or
/// waits for another reason.
pub(super) async fn dies_at_once(admin: &Admin, id: DeliveryId, wish: &Wish) -> StoreResult<Option<String>> {
    match rehearse(admin, id, wish).await {
        Ok(told) => Ok(error_of(admin, &told)),
        Err(StoreError::Conflict(_) | StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same of a rehearsal. What lacks its route waits until there is one, and what comes after another until that is
/// delivered.
pub(super) fn error_of(admin: &Admin, told: &Json) -> Option<String> {
    if told.pointer("/replay/waits_for").is_some_and(|lead| !lead.is_null()) {
        return None;
    }
    let route = told.pointer("/replay/route")?.as_str()?;
    let error = told.pointer("/replay/error")?.as_str()?;
    admin.dispatch.plan().routes.contains_key(route).then(|| error.to_owned())
}

fn call(made: &Rehearsed) -> Json {
    let headers: Vec<Json> = made.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "request_line": made.request_line,
        "headers": headers,
        "request": made.request,
        "request_cut": made.request_cut,
        "call_sha256": hex(&made.hash),
    })
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_wish_that_contradicts_itself_or_lacks_its_reason_is_refused() {
        let edit = || Some(Edits::Fields(BTreeMap::new()));
        let because = "typo".to_owned();
        for (wish, is_fine) in [
            (Wish::default(), true),
            (Wish { edit: edit(), reason: because.clone(), ..Wish::default() }, true),
            (Wish { edit: edit(), reason: " ".to_owned(), ..Wish::default() }, false),
            (Wish { mapping: Mapped::AsItWas, ..Wish::default() }, true),
            (Wish { mapping: Mapped::AsItWas, to: Some("b".to_owned()), ..Wish::default() }, false),
            (Wish { mapping: Mapped::AsItWas, edit: edit(), reason: because, ..Wish::default() }, false),
        ] {
            assert_eq!(wish.fault(false).is_none(), is_fine, "{wish:?}");
        }
        let unsaid = Wish { edit: edit(), ..Wish::default() };
        assert!(unsaid.fault(true).is_none(), "what is only asked for needs no reason");
    }
}
