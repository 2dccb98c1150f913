//! Which of several waiting updates of one record goes out: `coalesce = true`.

use crate::delivery::Coalesce;
use crate::stale;

/// How many waiting updates of a record are looked at: never more than a few wait.
pub(super) const WAITING_MAX: i64 = 100;

/// The first of what waits of a record, each with its mark, that is newer than a newcomer: that one gives way to it. None:
/// the newcomer takes the place of all.
pub(super) fn newer(newcomer: &Coalesce, waiting: &[(i64, Option<String>)]) -> Option<i64> {
    let is_newer = |mark: &Option<String>| match (&newcomer.mark, mark) {
        (Some(mine), Some(its)) => stale::is_older(mine, its),
        _ => false,
    };
    waiting.iter().find(|(_, mark)| is_newer(mark)).map(|(id, _)| *id)
}

/// An update of a record that may go out: the delivery, and the row of its content, which tells what came last.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) id: i64,
    pub(super) row: i64,
    pub(super) mark: Option<String>,
}

/// The delivery of the newest of some updates: of what came last, unless its mark is the older.
pub(super) fn newest(updates: &[Update]) -> Option<i64> {
    let mut updates: Vec<&Update> = updates.iter().collect();
    updates.sort_unstable_by_key(|update| update.row);
    let later = |one: &'_ Update, other: &'_ Update| match (&one.mark, &other.mark) {
        (Some(one), Some(other)) => stale::is_older(other, one),
        _ => false,
    };
    updates.into_iter().reduce(|one, other| if later(one, other) { one } else { other }).map(|update| update.id)
}

/// Why a delivery gave way.
pub(super) fn reason(successor: i64) -> String {
    format!("delivery {successor} brings a newer state of the record")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_came_last_unless_its_mark_is_older() {
        for (updates, expected) in [
            (&[][..], None),
            (&[(1, 7, ""), (2, 8, "")], Some(2)),
            (&[(1, 9, ""), (2, 8, "")], Some(1)),
            (&[(1, 7, "6"), (2, 8, "5"), (3, 9, "5")], Some(1)),
            (&[(1, 7, "6"), (2, 8, ""), (3, 9, "6")], Some(3)),
        ] {
            let update = |&(id, row, mark): &(i64, i64, &str)| {
                let mark = Some(mark.to_owned()).filter(|mark| !mark.is_empty());
                Update { id, row, mark }
            };
            let updates: Vec<Update> = updates.iter().map(update).collect();
            assert_eq!(newest(&updates), expected, "{updates:?}");
        }
    }

    #[test]
    fn a_newcomer_gives_way_to_a_later_mark_alone() {
        let mark = |mark: &str| Some(mark.to_owned()).filter(|mark| !mark.is_empty());
        for (mine, others, expected) in [
            ("5", &[][..], None),
            ("5", &[(1, "4"), (2, "6"), (3, "7")], Some(2)),
            ("5", &[(1, "5"), (2, "")], None),
            ("", &[(1, "6")], None),
        ] {
            let waiting: Vec<_> = others.iter().map(|(id, its)| (*id, mark(its))).collect();
            assert_eq!(newer(&Coalesce { mark: mark(mine) }, &waiting), expected, "{mine:?} against {others:?}");
        }
    }
}
