//! Makes envelopes durable: their notifications, their dedupe keys and their deliveries.
//!
//! What the database has of them is read once, under locks; then each notification is decided on in order of arrival, in
//! memory; and what came of it is written once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::after;
use super::coalesce::{self, Newcomer};
use super::failure::Failure;
use super::lane::{Place, Scene};
use super::locks::{self, Class, Gate, Keys};
use super::names::Wanted;
use super::queue::Group;
use super::revise;
use super::searched;
use super::session::{args, read};
use super::text;
use super::work::{Engine, Job, Work};
use crate::clock::Timestamp;
use crate::delivery::{Planned, State};
use crate::store::accounts::{self, Account};
use crate::store::arrival;
use crate::store::coalescing;
use crate::store::lead::Lead;
use crate::store::names::{Kind, Way};
use crate::store::{Accept, Accepted, Fate, Incoming, StoreResult};

/// Envelopes go in groups.
pub(super) enum Accepting {}

impl Group for Accepting {
    type Command = Accept;
    type Answer = Accepted;

    fn weight(accept: &Accept) -> usize {
        keys_of(accept)
    }

    fn bytes(accept: &Accept) -> usize {
        accept.notifications.iter().map(|incoming| incoming.xml.len() + 512).sum()
    }

    fn run<'a>(
        engine: &'a Arc<Engine>,
        accepts: Vec<&'a Accept>,
    ) -> BoxFuture<'a, StoreResult<Vec<StoreResult<Accepted>>>> {
        Box::pin(async move {
            let accepted = engine.run(&Accepts(accepts)).await?;
            Ok(accepted.into_iter().map(Ok).collect())
        })
    }
}

/// Envelopes that are accepted in one transaction.
pub(super) struct Accepts<'a>(pub(super) Vec<&'a Accept>);

/// A notification's number in the books: its organization and its id.
pub(super) type Key = (i64, String);

/// The newest content of a notification that Salesforce sent, and its first.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) row: i64,
    /// The newest revision, of whomever.
    pub(super) revision: i64,
    pub(super) hash: [u8; 32],
    /// What a person made of it since: then that too is known.
    pub(super) edited: Option<[u8; 32]>,
    pub(super) first: i64,
    pub(super) first_source: i64,
    pub(super) first_kind: String,
    /// How often the newest came again in this transaction.
    pub(super) came_again: i64,
    pub(super) kind_changed: bool,
}

impl Known {
    /// Whether this content is known already.
    pub(super) fn has(&self, hash: &[u8; 32]) -> bool {
        self.hash == *hash || self.edited == Some(*hash)
    }
}

/// A notification's new row.
struct Row<'a> {
    id: i64,
    envelope: i64,
    source: i64,
    organization: i64,
    revision: i64,
    kind: Fate,
    incoming: &'a Incoming,
    reason: Option<&'a str>,
}

/// All that a transaction knows and makes.
pub(super) struct Desk<'a> {
    pub(super) scene: Scene,
    pub(super) known: HashMap<Key, Known>,
    /// The newest delivery of each route of what was revised: (first revision, route) → delivery.
    pub(super) newest: BTreeMap<(i64, i64), i64>,
    pub(super) newest_changed: BTreeSet<(i64, i64)>,
    /// What waits of a record: (way, key) → deliveries.
    pub(super) waiting: HashMap<(i64, i64), BTreeSet<i64>>,
    /// What stands in a lane for a record, of which something was revised: each delivery with the first revision of its
    /// notification.
    pub(super) mates: BTreeMap<revise::Spot, Vec<(i64, i64)>>,
    /// Deliveries that stand in the place of another notification's.
    pub(super) standing_for_others: BTreeSet<i64>,
    /// Deliveries that others come after and that were superseded: those hear of it when all that takes their place is made.
    pub(super) fallen: Vec<i64>,
    rows: Vec<Row<'a>>,
    /// How often revisions came again that are not the newest any more: (row, times).
    repeats: Vec<(i64, i64)>,
    numbers: Numbers,
}

/// Numbers that were drawn for this transaction.
#[derive(Debug, Default)]
struct Numbers {
    envelopes: Vec<i64>,
    notifications: Vec<i64>,
    deliveries: Vec<i64>,
}

/// What all notifications of one envelope share.
pub(super) struct Envelope<'a> {
    pub(super) accept: &'a Accept,
    pub(super) source: i64,
    pub(super) organization: i64,
    row: Option<i64>,
}

impl Job for Accepts<'_> {
    type Done = Vec<Accepted>;

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for accept in &self.0 {
            wanted.name(Kind::Source, &accept.source);
            wanted.name(Kind::Organization, &accept.organization_key);
            for planned in accept.notifications.iter().flat_map(|incoming| &incoming.deliveries) {
                wanted.way(planned);
            }
        }
        wanted
    }

    fn commands(&self) -> usize {
        self.0.len()
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|command| Accepting::bytes(command)).sum()
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Vec<Accepted>, Failure>> {
        Box::pin(async move {
            let mut desk = Desk::open(work, &self.0).await?;
            let mut accepted = Vec::with_capacity(self.0.len());
            let mut used = Vec::new();
            for accept in &self.0 {
                let before = std::mem::take(&mut work.woken);
                let mut envelope = Envelope::of(work, accept)?;
                work.accounts.at(accept.received_at);
                work.accounts.hear(envelope.source, accept.received_at);
                let mut fates = Vec::with_capacity(accept.notifications.len());
                for incoming in &accept.notifications {
                    fates.push(desk.notification(work, &mut envelope, incoming)?);
                }
                let received = i64::try_from(fates.len()).unwrap_or(i64::MAX);
                work.accounts.add(Account::source(envelope.source, "received"), received);
                accepted.push(Accepted { fates, woken: work.woken.clone(), envelope: envelope.row });
                used.extend(envelope.row.map(|row| (row, envelope)));
                for system in before {
                    work.wake(&system);
                }
            }
            write_envelopes(work, &used).await?;
            desk.write(work).await?;
            Ok(accepted)
        })
    }
}

impl<'a> Envelope<'a> {
    fn of(work: &Work, accept: &'a Accept) -> Result<Self, Failure> {
        let source = work.names.number(Kind::Source, &accept.source)?;
        let organization = work.names.number(Kind::Organization, &accept.organization_key)?;
        Ok(Self { accept, source, organization, row: None })
    }

    /// One that brings nothing: for deliveries of what the store has already.
    pub(super) fn of_known(accept: &'a Accept, source: i64, organization: i64) -> Self {
        Self { accept, source, organization, row: None }
    }

    /// When its deliveries are made and due.
    pub(super) fn now(&self) -> Timestamp {
        self.accept.received_at
    }
}

/// The lane's key of a planned delivery.
pub(super) fn lane_key(way: &Way, planned: &Planned) -> Option<i64> {
    planned.lane.as_ref().map(|lane| locks::key(way.system, lane))
}

/// How many keys some envelopes lock: their notifications, and the records and lanes of their deliveries.
pub(super) fn keys_of(accept: &Accept) -> usize {
    accept.notifications.iter().map(|incoming| 1 + 2 * incoming.deliveries.len()).sum()
}

impl<'a> Desk<'a> {
    /// Locks and reads what the envelopes concern.
    async fn open(work: &mut Work, accepts: &[&'a Accept]) -> Result<Self, Failure> {
        let gate = Gate::for_keys(accepts.iter().map(|accept| keys_of(accept)).sum());
        let mut keys = Keys::default();
        let mut asked: BTreeSet<Key> = BTreeSet::new();
        let mut coalescing: BTreeSet<(i64, i64)> = BTreeSet::new();
        for accept in accepts {
            let organization = work.names.number(Kind::Organization, &accept.organization_key)?;
            for incoming in &accept.notifications {
                keys.add(Class::Notification, locks::key(organization, &incoming.notification_id));
                asked.insert((organization, incoming.notification_id.clone()));
                for planned in incoming.deliveries.iter().filter(|planned| planned.coalesce.is_some()) {
                    let way = work.names.way(planned)?;
                    let key = coalesce::key(organization, &incoming.record_id);
                    keys.add(Class::Record, coalesce::lock(way.id, key));
                    coalescing.insert((way.id, key));
                }
            }
        }
        locks::enter(&mut work.session, gate, &keys).await?;
        let known = read_known(work, &asked).await?;
        let mut desk = Self {
            scene: Scene::default(),
            known,
            newest: BTreeMap::new(),
            newest_changed: BTreeSet::new(),
            waiting: HashMap::new(),
            mates: BTreeMap::new(),
            standing_for_others: BTreeSet::new(),
            fallen: Vec::new(),
            rows: Vec::new(),
            repeats: Vec::new(),
            numbers: Numbers::default(),
        };
        let old = desk.read_old(work, accepts, &coalescing).await?;
        desk.enter_lanes(work, accepts, gate, &old).await?;
        desk.numbers = desk.draw(work, accepts).await?;
        Ok(desk)
    }

    /// What an envelope may move besides making new deliveries: each delivery with its lane.
    async fn read_old(
        &mut self,
        work: &mut Work,
        accepts: &[&Accept],
        coalescing: &BTreeSet<(i64, i64)>,
    ) -> Result<BTreeMap<i64, Option<i64>>, Failure> {
        let mut old = BTreeMap::new();
        let revised = self.revised(work, accepts)?;
        if !revised.is_empty() {
            revise::read_newest(work, &revised, &mut self.newest, &mut old).await?;
            let newest: Vec<i64> = old.keys().copied().collect();
            if !newest.is_empty() {
                self.standing_for_others = revise::read_standing(work, &newest).await?;
            }
        }
        if !coalescing.is_empty() {
            coalesce::read_waiting(work, coalescing, &mut self.waiting, &mut old).await?;
        }
        if old.is_empty() {
            return Ok(old);
        }
        let concerned: Vec<i64> = old.into_keys().collect();
        after::with_followers(&mut work.session, &concerned).await
    }

    /// The first revisions of what comes again with other content.
    fn revised(&self, work: &Work, accepts: &[&Accept]) -> Result<Vec<i64>, Failure> {
        let mut revised = BTreeSet::new();
        for accept in accepts {
            let organization = work.names.number(Kind::Organization, &accept.organization_key)?;
            for incoming in &accept.notifications {
                let known = self.known.get(&(organization, incoming.notification_id.clone()));
                revised.extend(known.filter(|known| !known.has(&incoming.hash)).map(|known| known.first));
            }
        }
        Ok(revised.into_iter().collect())
    }

    /// Locks the lanes and reads who stands in them: only whether anybody does, when nobody there may have to move.
    async fn enter_lanes(
        &mut self,
        work: &mut Work,
        accepts: &[&Accept],
        gate: Gate,
        old: &BTreeMap<i64, Option<i64>>,
    ) -> Result<(), Failure> {
        let mut lanes: BTreeSet<i64> = old.values().filter_map(|lane| *lane).collect();
        for planned in accepts.iter().flat_map(|accept| &accept.notifications).flat_map(|incoming| &incoming.deliveries)
        {
            lanes.extend(lane_key(work.names.way(planned)?.as_ref(), planned));
        }
        self.scene = enter_lanes(work, gate, &lanes, old).await?;
        if self.newest.is_empty() || lanes.is_empty() {
            return Ok(());
        }
        let mut records = BTreeMap::new();
        for accept in accepts {
            let organization = work.names.number(Kind::Organization, &accept.organization_key)?;
            for incoming in accept.notifications.iter().filter(|incoming| !incoming.record_id.is_empty()) {
                if self.known.contains_key(&(organization, incoming.notification_id.clone())) {
                    let record = (organization, incoming.record_id.clone());
                    records.insert(record, coalesce::key(organization, &incoming.record_id));
                }
            }
        }
        revise::read_mates(work, &records, &lanes, &mut self.mates).await
    }

    /// How many routes that are not in force have a delivery of a notification that comes again: each may get one more.
    fn absent(&self, key: &Key, accept: &Accept) -> usize {
        let Some(first) = self.known.get(key).map(|known| known.first) else { return 0 };
        let newest =
            self.newest.range((first, i64::MIN)..=(first, i64::MAX)).filter_map(|(_, id)| self.scene.find(*id));
        newest.filter(|place| !accept.routes_in_force.contains_key(&place.way.route_name)).count()
    }

    /// Draws numbers: for deliveries while their lanes are locked, so that they rise within a lane.
    async fn draw(&self, work: &mut Work, accepts: &[&Accept]) -> Result<Numbers, Failure> {
        let keyed = |accept: &Accept| work.names.number(Kind::Organization, &accept.organization_key);
        // Once a notification differs, what comes of it later in the same transaction may be a revision too.
        let mut differing: BTreeSet<Key> = BTreeSet::new();
        for accept in accepts {
            let organization = keyed(accept)?;
            for incoming in &accept.notifications {
                let key = (organization, incoming.notification_id.clone());
                if self.known.get(&key).is_none_or(|known| !known.has(&incoming.hash)) {
                    differing.insert(key);
                }
            }
        }
        let (mut notifications, mut deliveries) = (0, 0);
        for accept in accepts {
            let organization = keyed(accept)?;
            for incoming in &accept.notifications {
                let key = (organization, incoming.notification_id.clone());
                if differing.contains(&key) {
                    notifications += 1;
                    let made = incoming.deliveries.len() + self.absent(&key, accept);
                    deliveries += if accept.quarantine.is_some() { 0 } else { made };
                }
            }
        }
        let envelopes = if notifications > 0 { accepts.len() } else { 0 };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        draw(work, number(envelopes), notifications, number(deliveries)).await
    }

    fn notification(
        &mut self,
        work: &mut Work,
        envelope: &mut Envelope<'a>,
        incoming: &'a Incoming,
    ) -> Result<Fate, Failure> {
        let key = (envelope.organization, incoming.notification_id.clone());
        if self.known.contains_key(&key) {
            return revise::came_again(self, work, envelope, incoming, &key);
        }
        let fate = arrival::first_fate(envelope.accept, incoming);
        let row = self.add_row(envelope, incoming, 1, fate)?;
        self.known.insert(
            key,
            Known {
                row,
                revision: 1,
                hash: incoming.hash,
                edited: None,
                first: row,
                first_source: envelope.source,
                first_kind: arrival::kind_word(fate).to_owned(),
                came_again: 0,
                kind_changed: false,
            },
        );
        work.accounts.add(Account::source(envelope.source, "unique"), 1);
        work.accounts.add(Account::source(envelope.source, arrival::kind_word(fate)), 1);
        if fate == Fate::Routed {
            for planned in arrival::planned(incoming) {
                let made = self.deliver(work, envelope, row, row, &incoming.record_id, planned)?;
                let route = work.names.number(Kind::Route, &planned.route)?;
                // Known in case that it comes again in this very transaction; it is not written.
                self.newest.insert((row, route), made);
            }
            self.tell_fallen(work, envelope.now())?;
        }
        Ok(fate)
    }

    /// Makes a notification's row.
    pub(super) fn add_row(
        &mut self,
        envelope: &mut Envelope<'a>,
        incoming: &'a Incoming,
        revision: i64,
        kind: Fate,
    ) -> Result<i64, Failure> {
        let reason = arrival::remark(envelope.accept, incoming);
        let row = match envelope.row {
            Some(row) => row,
            None => next(&mut self.numbers.envelopes)?,
        };
        envelope.row = Some(row);
        let id = next(&mut self.numbers.notifications)?;
        let (source, organization) = (envelope.source, envelope.organization);
        self.rows.push(Row { id, envelope: row, source, organization, revision, kind, incoming, reason });
        Ok(id)
    }

    /// How often a revision came again that is the newest no more.
    pub(super) fn note_repeats(&mut self, repeats: (i64, i64)) {
        self.repeats.push(repeats);
    }

    /// The newest delivery that a route made of a notification.
    fn lead(&self, work: &Work, first: i64, route: &str) -> Result<Option<Lead>, Failure> {
        let route = work.names.number(Kind::Route, route)?;
        Ok(after::lead(&self.scene, &self.newest, first, route))
    }

    /// Tells those that come after what was superseded, now that all that takes its place is made.
    pub(super) fn tell_fallen(&mut self, work: &mut Work, now: Timestamp) -> Result<(), Failure> {
        for fallen in std::mem::take(&mut self.fallen) {
            after::tell(work, &mut self.scene, fallen, now)?;
        }
        Ok(())
    }

    /// Makes a delivery and gives it its place in its lane; its id. `first` is the row of the notification's first revision,
    /// `notification` that of what it carries.
    pub(super) fn deliver(
        &mut self,
        work: &mut Work,
        envelope: &Envelope<'_>,
        first: i64,
        notification: i64,
        record_id: &str,
        planned: &Planned,
    ) -> Result<i64, Failure> {
        let way = work.names.way(planned)?;
        let id = next(&mut self.numbers.deliveries)?;
        let now = envelope.now();
        let coalesce_key = planned.coalesce.as_ref().map(|_| coalesce::key(envelope.organization, record_id));
        let lead = planned.after.as_ref().map(|after| self.lead(work, first, &after.route)).transpose()?.flatten();
        let dead = arrival::dead(planned, lead);
        let newer = match (&planned.coalesce, coalesce_key) {
            (Some(coalesce), Some(key)) if dead.is_none() => {
                coalesce::take_place(self, work, Newcomer { id, first, way: &way, key }, coalesce, now)?
            }
            _ => None,
        };
        let lane = arrival::lane(planned, lead, id);
        let lane_key = lane.as_ref().map(|lane| locks::key(way.system, lane));
        let is_occupied = || Ok::<_, Failure>(lane_key.is_some_and(|lane| self.scene.is_occupied(lane)));
        let state = arrival::state(dead.as_ref(), newer, lead, is_occupied)?;
        count_new(work, &way, state);
        if let (Some(lane), false) = (lane_key, record_id.is_empty()) {
            let spot = (lane, coalesce::key(envelope.organization, record_id));
            self.mates.entry(spot).or_default().push((id, first));
        }
        if let Some(key) = coalesce_key {
            self.waiting.entry((way.id, key)).or_default().insert(id);
        }
        if let Some(lead) = lead {
            after::lead_on(&mut self.scene, lead.id)?;
        }
        self.scene.add(Place {
            id,
            notification,
            lane,
            lane_key,
            state,
            unsettled: arrival::is_unsettled(state),
            due_at: (state == State::Waiting).then_some(now.0),
            reason: dead.or_else(|| newer.map(coalescing::reason)),
            coalesce_key,
            mark: planned.coalesce.as_ref().and_then(|coalesce| coalesce.mark.clone()),
            superseded_by: newer,
            comes_after: lead.map(|lead| lead.id),
            holds: planned.after.as_ref().is_some_and(|after| after.holds_lane),
            ..Place::fresh(&way, now)
        });
        Ok(id)
    }

    async fn write(&self, work: &mut Work) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            write_rows(work, &self.rows).await?;
            let fields = self.rows.iter().map(|row| (row.id, &row.incoming.search));
            searched::write(&mut work.session, fields).await?;
        }
        revise::write_known(work, self.known.values(), &self.repeats).await?;
        revise::write_newest(work, &self.newest, &self.newest_changed).await?;
        self.scene.write(work).await
    }

    /// For deliveries of what the store has already, in lanes that are locked and read.
    pub(super) async fn of_scene(work: &mut Work, scene: Scene, deliveries: usize) -> Result<Self, Failure> {
        let deliveries = i64::try_from(deliveries).unwrap_or(i64::MAX);
        Ok(Self {
            scene,
            known: HashMap::new(),
            newest: BTreeMap::new(),
            newest_changed: BTreeSet::new(),
            waiting: HashMap::new(),
            mates: BTreeMap::new(),
            standing_for_others: BTreeSet::new(),
            fallen: Vec::new(),
            rows: Vec::new(),
            repeats: Vec::new(),
            numbers: draw(work, 0, 0, deliveries).await?,
        })
    }

    pub(super) async fn finish(self, work: &mut Work) -> Result<(), Failure> {
        self.write(work).await
    }
}

impl Place {
    /// One that is being made.
    fn fresh(way: &Arc<Way>, now: Timestamp) -> Self {
        Self {
            id: 0,
            notification: 0,
            way: Arc::clone(way),
            lane: None,
            lane_key: None,
            state: State::Waiting,
            unsettled: false,
            due_at: None,
            lease: None,
            attempts: 0,
            excused: 0,
            first_attempt_active_ms: None,
            created_at: now.0,
            changed_at: now.0,
            status: None,
            same_bytes_as: None,
            repeat_count: 0,
            repeat_key: None,
            reason: None,
            coalesce_key: None,
            mark: None,
            superseded_by: None,
            even_if_newer: false,
            comes_after: None,
            has_followers: false,
            holds: false,
            replay_of: None,
            as_it_was: None,
        }
    }
}

/// Counts a new delivery.
fn count_new(work: &mut Work, way: &Way, state: State) {
    work.accounts.post(accounts::made(way.destination, state));
    if state == State::Waiting {
        work.wake(&way.system_name);
    }
}

/// Locks lanes and reads who stands in them. `old` are the deliveries that may have to move, with their lanes.
pub(super) async fn enter_lanes(
    work: &mut Work,
    gate: Gate,
    lanes: &BTreeSet<i64>,
    old: &BTreeMap<i64, Option<i64>>,
) -> Result<Scene, Failure> {
    locks::take(&mut work.session, gate, &Keys::lanes(lanes.iter().copied())).await?;
    if old.is_empty() {
        let keys: Vec<i64> = lanes.iter().copied().collect();
        let sql = "SELECT k.key FROM unnest($1::bigint[]) k (key) WHERE EXISTS
                   (SELECT 1 FROM delivery d WHERE d.lane_key = k.key AND d.unsettled)";
        let rows = work.session.query(sql, args![INT8_ARRAY keys]).await?;
        let occupied = read(&rows, super::session::Cells::number)?.into_iter().collect();
        return Ok(Scene::of_lanes(lanes, &occupied));
    }
    after::read_scene(work, old, lanes).await
}

fn next(numbers: &mut Vec<i64>) -> Result<i64, Failure> {
    numbers.pop().ok_or_else(|| Failure::Fault("too few numbers were drawn".to_owned()))
}

async fn draw(work: &mut Work, envelopes: i64, notifications: i64, deliveries: i64) -> Result<Numbers, Failure> {
    let sql = "SELECT 0, nextval('envelope_id') FROM generate_series(1, $1)
               UNION ALL SELECT 1, nextval('notification_row') FROM generate_series(1, $2)
               UNION ALL SELECT 2, nextval('delivery_id') FROM generate_series(1, $3)";
    let rows = work.session.query(sql, args![INT8 envelopes, INT8 notifications, INT8 deliveries]).await?;
    let mut numbers = Numbers::default();
    for (kind, number) in read(&rows, |cells| Ok((cells.next::<i32>()?, cells.number()?)))? {
        match kind {
            0 => numbers.envelopes.push(number),
            1 => numbers.notifications.push(number),
            _ => numbers.deliveries.push(number),
        }
    }
    // The lowest is taken first.
    for numbers in [&mut numbers.envelopes, &mut numbers.notifications, &mut numbers.deliveries] {
        numbers.sort_unstable_by(|one, other| other.cmp(one));
    }
    Ok(numbers)
}

async fn read_known(work: &mut Work, asked: &BTreeSet<Key>) -> Result<HashMap<Key, Known>, Failure> {
    let organizations: Vec<i64> = asked.iter().map(|(organization, _)| *organization).collect();
    let ids: Vec<_> = asked.iter().map(|(_, id)| text::written(id)).collect();
    // Salesforce repeats what it sent, and knows nothing of what a person made of it.
    let sql =
        "SELECT k.organization, k.id, s.id, n.revision, s.hash, CASE WHEN n.edited_from IS NOT NULL THEN n.hash END,
                   f.id, f.source, f.kind
               FROM unnest($1::bigint[], $2::text[]) k (organization, id)
               CROSS JOIN LATERAL (SELECT revision, hash, edited_from FROM notification
                   WHERE notification_id = k.id AND organization = k.organization
                   ORDER BY revision DESC LIMIT 1) n
               CROSS JOIN LATERAL (SELECT id, hash FROM notification
                   WHERE notification_id = k.id AND organization = k.organization AND edited_from IS NULL
                   ORDER BY revision DESC LIMIT 1) s
               JOIN notification f ON f.notification_id = k.id AND f.organization = k.organization AND f.revision = 1";
    let rows = work.session.query(sql, args![INT8_ARRAY organizations, TEXT_ARRAY ids]).await?;
    let known = read(&rows, |cells| {
        let key = (cells.number()?, cells.text()?);
        let (row, revision) = (cells.number()?, cells.number()?);
        let whole =
            |hash: Vec<u8>| hash.try_into().map_err(|_| Failure::Fault(format!("notification row {row} has no hash")));
        let hash = whole(cells.next()?)?;
        let edited = cells.next::<Option<Vec<u8>>>()?.map(whole).transpose()?;
        let (first, first_source, first_kind) = (cells.number()?, cells.number()?, cells.next()?);
        let (came_again, kind_changed) = (0, false);
        Ok((key, Known { row, revision, hash, edited, first, first_source, first_kind, came_again, kind_changed }))
    })?;
    Ok(known.into_iter().collect())
}

async fn write_envelopes(work: &mut Work, used: &[(i64, Envelope<'_>)]) -> Result<(), Failure> {
    if used.is_empty() {
        return Ok(());
    }
    let text = |value: fn(&Accept) -> &String| -> Vec<_> {
        used.iter().map(|(_, envelope)| text::written(value(envelope.accept))).collect()
    };
    let number =
        |value: fn(&Envelope<'_>) -> i64| -> Vec<i64> { used.iter().map(|(_, envelope)| value(envelope)).collect() };
    let rows: Vec<i64> = used.iter().map(|(row, _)| *row).collect();
    let sql =
        "INSERT INTO envelope (id, source, received_at, config_version, organization_id, action_id, enterprise_url,
                   partner_url, sender)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[],
                   $7::text[], $8::text[], $9::text[])";
    let arguments = args![
        INT8_ARRAY rows,
        INT8_ARRAY number(|envelope| envelope.source),
        INT8_ARRAY number(|envelope| envelope.now().0),
        INT8_ARRAY number(|envelope| envelope.accept.config_version.0),
        TEXT_ARRAY text(|accept| &accept.organization_id),
        TEXT_ARRAY text(|accept| &accept.action_id),
        TEXT_ARRAY text(|accept| &accept.enterprise_url),
        TEXT_ARRAY text(|accept| &accept.partner_url),
        TEXT_ARRAY text(|accept| &accept.sender),
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}

async fn write_rows(work: &mut Work, rows: &[Row<'_>]) -> Result<(), Failure> {
    let number = |value: fn(&Row<'_>) -> i64| -> Vec<i64> { rows.iter().map(value).collect() };
    let text = |value: fn(&Incoming) -> &String| -> Vec<_> {
        rows.iter().map(|row| text::written(value(row.incoming))).collect()
    };
    let kinds: Vec<&str> = rows.iter().map(|row| arrival::kind_word(row.kind)).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| row.incoming.hash.as_slice()).collect();
    let reasons: Vec<_> = rows.iter().map(|row| row.reason.map(text::written)).collect();
    let sql =
        "INSERT INTO notification (id, envelope, source, organization, revision, notification_id, kind, hash, reason,
                   record_type, record_id, xml)
               SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
                   $7::text[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[])";
    let arguments = args![
        INT8_ARRAY number(|row| row.id),
        INT8_ARRAY number(|row| row.envelope),
        INT8_ARRAY number(|row| row.source),
        INT8_ARRAY number(|row| row.organization),
        INT8_ARRAY number(|row| row.revision),
        TEXT_ARRAY text(|incoming| &incoming.notification_id),
        TEXT_ARRAY kinds,
        BYTEA_ARRAY hashes,
        TEXT_ARRAY reasons,
        TEXT_ARRAY text(|incoming| &incoming.record_type),
        TEXT_ARRAY text(|incoming| &incoming.record_id),
        TEXT_ARRAY text(|incoming| &incoming.xml),
    ];
    work.session.query(sql, arguments).await.map(|_| ())
}
