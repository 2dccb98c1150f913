//! Fresh Salesforce ids, and the seeded chance behind every choice.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::envelope::whole_id;

/// What an id is written with; its order is its worth.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// How many bodies of 12 characters there are.
const BODIES: u128 = 62_u128.pow(12);

/// A run's own stretch of ids: one number, one id; another seed, another stretch among 62^12.
#[derive(Clone, Copy, Debug)]
pub(super) struct FreshIds {
    notifications: u128,
    records: u128,
}

impl FreshIds {
    /// The ids of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut base = || (u128::from(chance.next()) << 64 | u128::from(chance.next())) % BODIES;
        Self { notifications: base(), records: base() }
    }

    /// The id of the n-th notification: `04l`, 12 characters, and the suffix.
    pub(super) fn notification(self, number: u64) -> String {
        finish("04l", &body(self.notifications, number))
    }

    /// The 12 characters of the n-th record's id, to be put behind its key prefix.
    pub(super) fn record_body(self, number: u64) -> String {
        body(self.records, number)
    }
}

/// Makes an 18-character id of a key prefix and a body, 15 characters together.
pub(super) fn finish(key_prefix: &str, body: &str) -> String {
    let id = format!("{key_prefix}{body}");
    whole_id(&id).unwrap_or(id)
}

fn body(base: u128, number: u64) -> String {
    let mut rest = (base + u128::from(number)) % BODIES;
    let mut digits = [b'0'; 12];
    for digit in digits.iter_mut().rev() {
        let worth = usize::try_from(rest % 62).unwrap_or(0);
        *digit = DIGITS.get(worth).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// A sequence that looks like chance and repeats with its seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    /// The sequence of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; zero when `end` is.
    fn below(&mut self, end: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(end)) >> 64).unwrap_or(0)
    }
}

/// A seed that no other run has.
pub(super) fn random_seed() -> u64 {
    // The keys of a fresh hasher come from the system's source of randomness.
    // 53 bits of it survive every JSON reader.
    RandomState::new().build_hasher().finish() >> 11
}

/// Picks an exact share of a known number of things, one after the other, every choice of that size being as likely.
#[derive(Clone, Debug)]
pub(super) struct Picker {
    chance: Chance,
    left: u64,
    wanted: u64,
}

impl Picker {
    /// Will pick `percent` of `total`, rounded.
    pub(super) fn new(seed: u64, total: u64, percent: f64) -> Self {
        Self { chance: Chance::new(seed), left: total, wanted: share(total, percent) }
    }

    /// Will pick `percent` of `total`, but only among `eligible` of them, which alone are then asked for.
    pub(super) fn among(seed: u64, total: u64, percent: f64, eligible: u64) -> Self {
        Self { chance: Chance::new(seed), left: eligible, wanted: share(total, percent).min(eligible) }
    }

    /// Whether the next one is picked.
    pub(super) fn pick(&mut self) -> bool {
        if self.wanted == 0 || self.left == 0 {
            return false;
        }
        let picked = self.chance.below(self.left) < self.wanted;
        self.left -= 1;
        self.wanted -= u64::from(picked);
        picked
    }

    /// How many are still to be picked.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted
    }
}

/// `percent` of `total`, rounded to the nearest; percents are counted in millionths.
fn share(total: u64, percent: f64) -> u64 {
    // Saturates at both ends, and NaN is 0.
    let millionths = (percent.clamp(0.0, 100.0) * 1_000_000.0).round() as u64;
    let whole = 100_000_000_u128;
    u64::try_from((u128::from(total) * u128::from(millionths) + whole / 2) / whole).unwrap_or(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_tells_the_case_of_the_first_fifteen() {
        // Ids with a suffix that is printed in public Salesforce documents' style: all lower and digits make AAA.
        assert_eq!(finish("001", "000000000000"), "001000000000000AAA");
        assert_eq!(finish("ABC", "DE0000000000"), "ABCDE00000000005AA");
        assert_eq!(finish("00D", "A00000000000"), "00DA00000000000MAA");
    }

    #[test]
    fn fresh_ids_have_eighteen_characters_and_never_meet() {
        let ids = FreshIds::new(7);
        let all: std::collections::HashSet<String> = (0..10_000).map(|number| ids.notification(number)).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|id| id.len() == 18 && id.starts_with("04l")));
        assert!(!all.contains(&FreshIds::new(8).notification(0)));
        assert_eq!(ids.notification(3), FreshIds::new(7).notification(3));
        assert_ne!(random_seed(), random_seed());
    }

    #[test]
    fn a_picker_picks_exactly_its_share() {
        for (total, percent, expected) in [
            (10, 0.0, 0),
            (10, 100.0, 10),
            (10, 30.0, 3),
            (1_000, 0.25, 3),
            (3, 50.0, 2),
            (0, 50.0, 0),
            (7, f64::NAN, 0),
        ] {
            let mut picker = Picker::new(5, total, percent);
            let picked = (0..total + 5).filter(|_| picker.pick()).count();
            assert_eq!(picked, expected, "{percent} % of {total}");
        }
    }
}
