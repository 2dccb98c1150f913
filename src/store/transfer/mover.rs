//! The course of a move: copy, follow, compare; then, with the origin shut, the last changes, the counters, the counts, and
//! the turn from one store to the other.
//!
//! A move that was killed goes on where it stood: what was copied is kept in the origin, and what changed is in its log.
//! The origin is marked first, then the destination: so no destination is ever marked by a move that its origin does not know.
//! The turn itself is one write in the origin. Before it the origin counts, after it the destination; killed between that
//! and the end, both refuse to be opened until the same move is begun once more.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::watch;

use super::taking::Ending;
use super::{Begun, Chunk, Destination, Mark, Noted, Origin, Page, Row, SEQUENCE, SUMS, Stage, TABLES, Table};
use crate::clock::SharedClock;
use crate::crash;
use crate::store::{StoreError, StoreResult};

/// Rows copied at once.
const CHUNK: usize = 500;
/// Changes followed at once: what changed several times meanwhile is copied once.
const CHANGES: usize = 4_000;
/// With no more changes than this waiting, the origin may be shut: they are copied in a moment.
const FEW: u64 = 2_000;
/// With more than this the origin is not shut: too long nothing would be taken.
const MANY: u64 = 40_000;
/// So many times in a row the changes that wait may be no fewer than ever before; then they come as fast as they go.
const PATIENCE: usize = 20;
/// How often a row that differs is copied once more before that is a fault.
const TRIES: usize = 20;

/// How far a move is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = MoveProgress)]
pub struct Progress {
    /// `copying`, `following`, `comparing`, `switching`, in that order.
    pub phase: &'static str,
    /// The table at hand.
    pub table: &'static str,
    /// Rows copied or compared in this phase.
    pub rows: u64,
    /// How many there were when it began.
    pub rows_in_all: u64,
    /// Changes that wait to be followed; counted no further than a hundred thousand.
    pub changes: u64,
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Moved {
    /// Where it came from.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// How many rows each table has, in both stores.
    pub tables: Vec<Counted>,
    /// How many rows were read back from the destination and found equal.
    pub compared: u64,
}

/// A table, and how many rows it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Counted {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: i64,
}

/// How far changes are followed.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// Through the one with this number.
    Number(i64),
    /// Until few enough wait.
    Few,
    /// Until none waits: nobody makes any more.
    None,
}

/// Moves one store into another.
pub struct Mover {
    origin: Box<dyn Origin>,
    destination: Box<dyn Destination>,
    clock: SharedClock,
    progress: watch::Sender<Progress>,
    compared: AtomicU64,
}

impl Mover {
    /// What moves `origin` into `destination`.
    #[must_use]
    pub fn new(
        origin: Box<dyn Origin>,
        destination: Box<dyn Destination>,
        clock: SharedClock,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self { origin, destination, clock, progress, compared: AtomicU64::new(0) }
    }

    /// Copies while the origin is at work, until little is left to be done with it shut. Goes on where an earlier one
    /// between these two stores stood.
    ///
    /// # Errors
    /// When one of the stores cannot be read or written, the destination holds something else, another move was begun, or
    /// what was read back is not what was written. What is done stays done.
    pub async fn copy(&self) -> StoreResult<()> {
        let begun = self.begin().await?;
        if begun.stage == Stage::Moved {
            return Ok(());
        }
        let in_all = self.origin.counts().await?;
        self.note(|progress| {
            progress.rows_in_all = in_all.iter().map(|count| u64::try_from(*count).unwrap_or(0)).sum();
        });
        for (place, table) in TABLES.iter().enumerate().skip(begun.table) {
            let after = if place == begun.table { begun.after.clone() } else { None };
            self.copy_table(place, table, after).await?;
        }
        // What was copied in the middle of a change may stand there twice until that change is followed.
        self.follow(Until::Number(self.origin.last_noted().await?)).await?;
        self.destination.guard(false).await?;
        self.compare().await?;
        self.follow(Until::Few).await
    }

    /// Shuts the origin, copies what is left, compares, and makes the destination the one that counts.
    ///
    /// # Errors
    /// As for [`Mover::copy`]. Then the origin counts and is open again, unless the turn itself is done already: the error
    /// says so.
    pub async fn switch(&self) -> StoreResult<Moved> {
        self.phase("switching");
        let begun = self.origin.begun().await?;
        if begun.is_some_and(|begun| begun.stage == Stage::Moved) {
            return self.end().await;
        }
        if let Err(error) = self.shut_and_check().await {
            if let Err(worse) = self.origin.open().await {
                tracing::error!(error = %worse, "the store could not be opened again after a move that failed");
            }
            return Err(error);
        }
        crash::point("move-before-turn");
        self.origin.leave(self.clock.now()).await?;
        crash::point("move-after-turn");
        self.end().await
    }

    /// Ends a move whose origin is left already, and says so: its mark, as the origin has it.
    ///
    /// # Errors
    /// When the destination is not that of this move, or cannot be written.
    pub async fn end_in(destination: &dyn Destination, mark: Mark) -> StoreResult<Ending> {
        let ending = destination.ending(mark).await?;
        if ending == Ending::Open {
            destination.guard(true).await?;
            destination.complete().await?;
        }
        Ok(ending)
    }

    /// Gives up a move that was begun.
    ///
    /// # Errors
    /// When the origin cannot be written, or the destination counts already.
    pub async fn give_up(origin: &dyn Origin) -> StoreResult<Option<Mark>> {
        let Some(begun) = origin.begun().await? else { return Ok(None) };
        if begun.stage == Stage::Moved {
            return Err(moved(&begun.mark));
        }
        origin.give_up().await?;
        Ok(Some(begun.mark))
    }

    async fn begin(&self) -> StoreResult<Begun> {
        let (from, to) = (self.origin.shown(), self.destination.shown());
        let begun_at = self.clock.now();
        let mut begun = match self.origin.begun().await? {
            Some(begun) if begun.mark.other != to && begun.stage == Stage::Moved => return Err(moved(&begun.mark)),
            Some(begun) if begun.mark.other != to => {
                return Err(another_move(&begun.mark));
            }
            Some(begun) => begun,
            None => {
                let mark = Mark { token: token(), other: to, begun_at };
                self.origin.begin(mark.clone()).await?;
                crash::point("move-marked");
                Begun::anew(mark)
            }
        };
        if let Err(error) = self.destination.begin(Mark { other: from, ..begun.mark.clone() }).await {
            self.leave_unmarked(&begun, &error).await;
            return Err(error);
        }
        crash::point("move-marked-there");
        if !begun.notes {
            self.origin.note().await?;
            begun.notes = true;
        }
        Ok(begun)
    }

    /// Takes the mark from an origin of which nothing was copied and whose destination does not do. What could not be asked
    /// may be marked all the same: then the same move goes on, or is given up.
    async fn leave_unmarked(&self, begun: &Begun, error: &StoreError) {
        if begun.notes || !matches!(error, StoreError::Conflict(_)) {
            return;
        }
        if let Err(error) = self.origin.give_up().await {
            tracing::warn!(%error, "the mark of a move that did not begin could not be taken away: give it up");
        }
    }

    async fn copy_table(&self, place: usize, table: &'static Table, mut after: Option<Row>) -> StoreResult<()> {
        self.phase("copying");
        self.note(|progress| progress.table = table.name);
        loop {
            let Chunk { rows, more } = self.origin.chunk(table, after.take(), CHUNK).await?;
            let Some(last) = rows.last() else { break };
            after = last.get(..table.key).map(<[_]>::to_vec);
            let count = rows.len();
            let units = units_of(table, &rows);
            self.destination.put(table, &units, &rows, false).await?;
            self.check_written(table, &units, rows, false).await?;
            crash::point("move-copied");
            self.origin.reached(place, after.clone()).await?;
            self.note(|progress| progress.rows += count as u64);
            // What came behind the end meanwhile is noted.
            if !more {
                break;
            }
        }
        self.origin.reached(place + 1, None).await
    }

    /// Copies what was noted.
    async fn follow(&self, until: Until) -> StoreResult<()> {
        self.note(|progress| progress.table = "");
        let (mut fewest, mut in_vain) = (u64::MAX, 0);
        loop {
            let (noted, waiting) = self.origin.noted(CHANGES).await?;
            self.note(|progress| progress.changes = waiting);
            let Some(last) = noted.last().map(|noted| noted.number) else { return Ok(()) };
            in_vain = if waiting < fewest { 0 } else { in_vain + 1 };
            fewest = fewest.min(waiting);
            match until {
                Until::Few if waiting <= FEW => return Ok(()),
                Until::Few if in_vain > PATIENCE && waiting <= MANY => return Ok(()),
                Until::Few if in_vain > PATIENCE => return Err(too_fast(waiting)),
                Until::Number(_) | Until::Few | Until::None => {}
            }
            for table in &TABLES {
                self.bring(table, changed(table, &noted)).await?;
            }
            self.origin.forget(noted.iter().map(|noted| noted.number).collect()).await?;
            if matches!(until, Until::Number(wanted) if last >= wanted) {
                return Ok(());
            }
        }
    }

    /// Copies some units as they are now.
    async fn bring(&self, table: &'static Table, units: Vec<Row>) -> StoreResult<()> {
        let mut left = units.as_slice();
        while !left.is_empty() {
            let Page { rows, units } = self.origin.rows(table, left).await?;
            let (now, then) = left.split_at(units.clamp(1, left.len()));
            self.destination.put(table, now, &rows, true).await?;
            self.check_written(table, now, rows, true).await?;
            left = then;
        }
        Ok(())
    }

    /// Reads back what was written.
    async fn check_written(
        &self,
        table: &'static Table,
        units: &[Row],
        mut written: Vec<Row>,
        whole: bool,
    ) -> StoreResult<()> {
        let mut found = self.all_rows(&*self.destination, table, units).await?;
        if !whole {
            // A unit may go on in the next chunk, or have gone on in an earlier one.
            let keys: BTreeSet<&[_]> = written.iter().filter_map(|row| row.get(..table.key)).collect();
            found.retain(|row| row.get(..table.key).is_some_and(|key| keys.contains(key)));
        }
        match differing(table, &mut written, &mut found).first() {
            Some(unit) => Err(differs(table, unit, "was written and is not what was read back")),
            None => {
                self.compared.fetch_add(written.len() as u64, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    async fn all_rows<S: super::Side + ?Sized>(
        &self,
        side: &S,
        table: &'static Table,
        units: &[Row],
    ) -> StoreResult<Vec<Row>> {
        let mut all = Vec::new();
        let mut left = units;
        while !left.is_empty() {
            let Page { rows, units } = side.rows(table, left).await?;
            all.extend(rows);
            left = left.get(units.max(1)..).unwrap_or_default();
        }
        Ok(all)
    }

    /// Compares every row of both stores. What changed meanwhile is copied again, and compared again.
    async fn compare(&self) -> StoreResult<()> {
        self.phase("comparing");
        for table in &TABLES {
            self.note(|progress| progress.table = table.name);
            let mut after = None;
            loop {
                let Chunk { rows, more } = self.origin.chunk(table, after.take(), CHUNK).await?;
                let Some(last) = rows.last() else { break };
                after = last.get(..table.key).map(<[_]>::to_vec);
                let units = units_of(table, &rows);
                let count = rows.len() as u64;
                if self.check_written(table, &units, rows, false).await.is_err() {
                    self.compare_again(table, &units).await?;
                }
                self.note(|progress| progress.rows += count);
                if !more {
                    break;
                }
            }
            self.follow(Until::Few).await?;
        }
        Ok(())
    }

    /// Looks again at those units that differ, each time at those alone that still do: one that changes all the time comes to
    /// rest some time, and a fault does not.
    async fn compare_again(&self, table: &'static Table, units: &[Row]) -> StoreResult<()> {
        let mut units = units.to_vec();
        for _ in 0..TRIES {
            let mut ours = self.all_rows(&*self.origin, table, &units).await?;
            let mut theirs = self.all_rows(&*self.destination, table, &units).await?;
            units = differing(table, &mut ours, &mut theirs);
            if units.is_empty() {
                return Ok(());
            }
            self.follow(Until::Number(self.origin.last_noted().await?)).await?;
        }
        Err(differs(table, &units.swap_remove(0), "is not the same in both stores"))
    }

    async fn shut_and_check(&self) -> StoreResult<()> {
        self.origin.shut().await?;
        crash::point("move-shut");
        self.follow(Until::None).await?;
        let sums = self.origin.sums().await?;
        self.destination.put_sums(sums.clone()).await?;
        let found = self.destination.sums().await?;
        for ((table, ours), theirs) in SUMS.iter().zip(&sums).zip(&found) {
            if table.name != SEQUENCE && ours != theirs {
                let difference = ours.iter().find(|row| !theirs.contains(row)).or(theirs.first());
                return Err(differs(table, &difference.cloned().unwrap_or_default(), "is not the same in both stores"));
            }
        }
        self.destination.guard(true).await?;
        let (ours, theirs) = (self.origin.counts().await?, self.destination.counts().await?);
        for ((table, ours), theirs) in TABLES.iter().zip(ours).zip(theirs) {
            if ours != theirs {
                return Err(StoreError::Conflict(format!(
                    "checking the move: the table {} has {ours} rows in the origin and {theirs} in the destination; the \
                     origin goes on; find out who else writes to the destination",
                    table.name
                )));
            }
        }
        Ok(())
    }

    async fn end(&self) -> StoreResult<Moved> {
        let late = |error: StoreError| {
            StoreError::Conflict(format!(
                "{} is moved, and {} could not be opened for it yet: {error}; run the same move again to end it",
                self.origin.shown(),
                self.destination.shown()
            ))
        };
        let counts = self.destination.counts().await.map_err(late)?;
        self.destination.guard(true).await.map_err(late)?;
        self.destination.complete().await.map_err(late)?;
        let count = |(table, rows): (&'static Table, i64)| Counted { table: table.name, rows };
        Ok(Moved {
            from: self.origin.shown(),
            to: self.destination.shown(),
            tables: TABLES.iter().zip(counts).map(count).collect(),
            compared: self.compared.load(Ordering::Relaxed),
        })
    }

    fn phase(&self, phase: &'static str) {
        self.note(|progress| {
            if progress.phase != phase {
                *progress = Progress { phase, rows_in_all: progress.rows_in_all, ..Progress::default() };
            }
        });
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }
}

/// A number that no other move has: the keys of the hash are random.
fn token() -> i64 {
    i64::try_from(RandomState::new().hash_one("move") >> 1).unwrap_or(i64::MAX)
}

pub(super) fn another_move(mark: &Mark) -> StoreError {
    StoreError::Conflict(format!(
        "a move to {} was begun at {} and is not finished: go on with that one, or give it up with `omgate store move \
         --give-up`",
        mark.other, mark.begun_at
    ))
}

pub(super) fn moved(mark: &Mark) -> StoreError {
    StoreError::Conflict(format!(
        "this store was moved to {}: that one counts; give [store] url its address",
        mark.other
    ))
}

fn too_fast(waiting: u64) -> StoreError {
    StoreError::Conflict(format!(
        "more changes come than can be copied: {waiting} wait; move the store when less comes in, or pause systems until it \
         is moved"
    ))
}

fn differs(table: &Table, row: &[super::Value], how: &str) -> StoreError {
    let key = row.iter().take(table.key).map(|cell| match cell {
        super::Value::Null => "none".to_owned(),
        super::Value::Integer(number) => number.to_string(),
        super::Value::Text(text) => format!("{text:?}"),
        super::Value::Bytes(_) => "(bytes)".to_owned(),
    });
    let key = key.collect::<Vec<_>>().join(", ");
    StoreError::Conflict(format!(
        "checking the move: the row {key} of the table {} {how}; nothing is switched, and the origin goes on; find out who \
         else writes to the destination, give the move up and begin it anew in an empty store",
        table.name
    ))
}

/// The units of some rows, each once.
fn units_of(table: &Table, rows: &[Row]) -> Vec<Row> {
    let units: BTreeSet<Row> = rows.iter().map(|row| table.unit_of(row)).collect();
    units.into_iter().collect()
}

/// The units of a table that changed, each once.
fn changed(table: &'static Table, noted: &[Noted]) -> Vec<Row> {
    let of_table = noted.iter().filter(|noted| std::ptr::eq(noted.table, table));
    let units: BTreeSet<Row> = of_table.map(|noted| noted.unit.clone()).collect();
    units.into_iter().collect()
}

/// The units of which only one of two has a row, or both another one.
fn differing(table: &'static Table, ours: &mut [Row], theirs: &mut [Row]) -> Vec<Row> {
    ours.sort_unstable();
    theirs.sort_unstable();
    let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
    let mut units = BTreeSet::new();
    loop {
        let odd = match (ours.peek(), theirs.peek()) {
            (None, None) => return units.into_iter().collect(),
            (Some(one), Some(other)) if table.same(one, other) => {
                ours.next();
                theirs.next();
                continue;
            }
            (Some(one), Some(other)) if one <= other => ours.next(),
            (Some(_), None) => ours.next(),
            (None | Some(_), Some(_)) => theirs.next(),
        };
        units.extend(odd.map(|row| table.unit_of(row)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::transfer::{Value, table};

    #[test]
    fn the_units_that_differ_are_those_that_changed_came_or_went() {
        let table = table("newest_delivery").unwrap();
        let row = |cells: [i64; 3]| cells.map(Value::Integer).to_vec();
        let unit = |number| vec![Value::Integer(number)];
        let all = [row([1, 1, 1]), row([2, 1, 5]), row([2, 2, 6]), row([3, 1, 9])];
        for (theirs, odd) in [
            (all.to_vec(), vec![]),
            (vec![], vec![unit(1), unit(2), unit(3)]),
            (vec![row([3, 1, 9]), row([2, 2, 6]), row([2, 1, 4]), row([1, 1, 1])], vec![unit(2)]),
            (all.iter().cloned().chain([row([4, 1, 1])]).collect(), vec![unit(4)]),
            (all[1..].to_vec(), vec![unit(1)]),
        ] {
            assert_eq!(differing(table, &mut all.to_vec(), &mut theirs.clone()), odd, "{theirs:?}");
            assert_eq!(differing(table, &mut theirs.clone(), &mut all.to_vec()), odd, "{theirs:?}");
        }
    }
}
