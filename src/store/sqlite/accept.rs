//! Makes an envelope durable: its notifications, their dedupe keys and their deliveries.

use std::sync::Arc;

use super::after;
use super::books::{Books, Failure};
use super::coalesce::Newcomer;
use super::lane;
use super::revise;
use super::searched;
use crate::clock::Timestamp;
use crate::delivery::{Planned, State};
use crate::store::accounts::{self, Account};
use crate::store::arrival;
use crate::store::coalescing;
use crate::store::names::{Kind, Way};
use crate::store::{Accept, Accepted, Fate, Incoming};

/// What all notifications of one envelope share.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) accept: &'a Accept,
    pub(super) source: i64,
    pub(super) organization: i64,
    /// Its row; written at the end, unless all its notifications were duplicates.
    row: i64,
    used: bool,
    woken: Vec<Arc<Way>>,
    /// Deliveries that others come after and that were superseded: those hear of it when all that takes their place is made.
    fallen: Vec<i64>,
}

/// Executes the command.
pub(super) fn accept(books: &mut Books, accept: &Accept) -> Result<Accepted, Failure> {
    books.accounts.at(accept.received_at);
    let source = books.names.number(books.connection, Kind::Source, &accept.source)?;
    let organization = books.names.number(books.connection, Kind::Organization, &accept.organization_key)?;
    let row = books.sequences.next_envelope();
    let mut envelope =
        Envelope { accept, source, organization, row, used: false, woken: Vec::new(), fallen: Vec::new() };
    let mut fates = Vec::with_capacity(accept.notifications.len());
    for incoming in &accept.notifications {
        fates.push(notification(books, &mut envelope, incoming)?);
    }
    if envelope.used {
        envelope.write(books)?;
    }
    let received = i64::try_from(fates.len()).unwrap_or(i64::MAX);
    books.accounts.add(Account::source(source, "received"), received);
    books.heard.hear(source, accept.received_at);
    Ok(Accepted { fates, woken: envelope.woken() })
}

fn notification(books: &mut Books, envelope: &mut Envelope<'_>, incoming: &Incoming) -> Result<Fate, Failure> {
    let fate = arrival::first_fate(envelope.accept, incoming);
    // Nearly every notification is new: the row itself is the question whether it is.
    let Some(row) = envelope.write_row(books, incoming, 1, fate)? else {
        return revise::came_again(books, envelope, incoming);
    };
    books.accounts.add(Account::source(envelope.source, "unique"), 1);
    books.accounts.add(Account::source(envelope.source, arrival::kind_word(fate)), 1);
    if fate == Fate::Routed {
        for planned in arrival::planned(incoming) {
            envelope.deliver(books, row, row, &incoming.record_id, planned)?;
        }
        envelope.tell_fallen(books)?;
    }
    Ok(fate)
}

impl<'a> Envelope<'a> {
    /// One that brings nothing: for deliveries of what the store has already.
    pub(super) fn of_known(accept: &'a Accept, source: i64, organization: i64) -> Self {
        Self { accept, source, organization, row: 0, used: false, woken: Vec::new(), fallen: Vec::new() }
    }
}

impl Envelope<'_> {
    /// The systems that have something new that is due.
    pub(super) fn woken(&self) -> Vec<String> {
        self.woken.iter().map(|way| way.system_name.clone()).collect()
    }

    /// When its deliveries are made and due.
    pub(super) fn now(&self) -> Timestamp {
        self.accept.received_at
    }

    /// Writes a notification's row; none when that revision is there already.
    pub(super) fn write_row(
        &mut self,
        books: &mut Books,
        incoming: &Incoming,
        revision: u32,
        fate: Fate,
    ) -> Result<Option<i64>, Failure> {
        let reason = arrival::remark(self.accept, incoming);
        let sql = "INSERT INTO notification (envelope, source, organization, notification_id, revision, kind, hash,
                   reason, record_type, record_id, xml) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                   ON CONFLICT (notification_id, organization, revision) DO NOTHING";
        let written = books.run(
            sql,
            (
                self.row,
                self.source,
                self.organization,
                &incoming.notification_id,
                revision,
                arrival::kind_word(fate),
                incoming.hash,
                reason,
                &incoming.record_type,
                &incoming.record_id,
                &incoming.xml,
            ),
        )?;
        if written == 0 {
            return Ok(None);
        }
        self.used = true;
        let row = books.connection.last_insert_rowid();
        searched::write(books, row, &incoming.search)?;
        Ok(Some(row))
    }

    /// Makes a delivery and gives it its place in its lane; its id. `first` is the row of the notification's first revision,
    /// `row` that of what it carries.
    pub(super) fn deliver(
        &mut self,
        books: &mut Books,
        first: i64,
        row: i64,
        record_id: &str,
        planned: &Planned,
    ) -> Result<i64, Failure> {
        let way = books.names.way(books.connection, planned)?;
        let id = books.sequences.next_delivery();
        let now = self.now();
        let lead = match &planned.after {
            Some(after) => after::lead(books, first, &after.route)?,
            None => None,
        };
        let dead = arrival::dead(planned, lead);
        let newer = if dead.is_none() { self.coalesced(books, &way, id, record_id, planned)? } else { None };
        let lane = arrival::lane(planned, lead, id);
        let is_occupied = || lane.as_ref().map_or(Ok(false), |lane| lane::is_occupied(books, way.system, lane));
        let state = arrival::state(dead.as_ref(), newer, lead, is_occupied)?;
        let reason = dead.or_else(|| newer.map(coalescing::reason));
        let due_at = (state == State::Waiting).then_some(now.0);
        let sql = "INSERT INTO delivery (id, notification, way, system, lane, state, unsettled, due_at, created_at,
                   changed_at, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)";
        let unsettled = arrival::is_unsettled(state);
        books.run(sql, (id, row, way.id, way.system, &lane, state.as_str(), unsettled, due_at, now.0, &reason))?;
        if let Some(after) = &planned.after {
            after::note(books, id, after, lead)?;
        }
        if let Some(coalesce) = &planned.coalesce {
            let key = self.coalesce_key(record_id);
            Newcomer { id, way: &way, key: &key, coalesce, now }.note(books, newer)?;
        }
        books.accounts.post(accounts::made(way.destination, state));
        if state == State::Waiting {
            self.wake(&way);
        }
        Ok(id)
    }

    /// Lets what waits of the same record give way; or the one that is newer, before which the new one does.
    fn coalesced(
        &mut self,
        books: &mut Books,
        way: &Arc<Way>,
        id: i64,
        record_id: &str,
        planned: &Planned,
    ) -> Result<Option<i64>, Failure> {
        let Some(coalesce) = &planned.coalesce else { return Ok(None) };
        let key = self.coalesce_key(record_id);
        let newcomer = Newcomer { id, way, key: &key, coalesce, now: self.now() };
        let newer = newcomer.take_place(books, &mut self.fallen)?;
        // Whoever stood behind what gave way may be due now.
        self.wake(way);
        Ok(newer)
    }

    /// A delivery that others come after was superseded.
    pub(super) fn fell(&mut self, delivery: i64) {
        self.fallen.push(delivery);
    }

    /// Tells those that come after what was superseded, now that all that takes its place is made.
    pub(super) fn tell_fallen(&mut self, books: &mut Books) -> Result<(), Failure> {
        for fallen in std::mem::take(&mut self.fallen) {
            for way in after::tell(books, fallen, self.now())? {
                self.wake(&way);
            }
        }
        Ok(())
    }

    fn coalesce_key(&self, record_id: &str) -> String {
        format!("{} {record_id}", self.organization)
    }

    /// A system has something new that is due.
    pub(super) fn wake(&mut self, way: &Arc<Way>) {
        if self.woken.iter().all(|other| other.system != way.system) {
            self.woken.push(Arc::clone(way));
        }
    }

    fn write(&self, books: &Books) -> Result<(), Failure> {
        let accept = self.accept;
        let sql = "INSERT INTO envelope (id, source, received_at, config_version, organization_id, action_id,
                   enterprise_url, partner_url, sender) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = (
            self.row,
            self.source,
            accept.received_at.0,
            accept.config_version.0,
            &accept.organization_id,
            &accept.action_id,
            &accept.enterprise_url,
            &accept.partner_url,
            &accept.sender,
        );
        books.run(sql, values).map(|_| ())
    }
}
