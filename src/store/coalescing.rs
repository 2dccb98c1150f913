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

/// Why a delivery gave way.
pub(super) fn reason(successor: i64) -> String {
    format!("delivery {successor} brings a newer state of the record")
}

#[cfg(test)]
mod tests {
    use super::*;

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
