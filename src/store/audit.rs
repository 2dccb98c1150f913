//! The audit log: what people did.

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::delivery::State;

/// Who wants something, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The person, as far as it is known; empty when it is not.
    pub who: String,
    /// Why; may be empty.
    pub reason: String,
}

impl By {
    /// A person with a reason.
    #[must_use]
    pub fn new(who: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { who: who.into(), reason: reason.into() }
    }
}

/// One thing that a person did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Its number: rises by one.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: the account or token, or the user of the operating system; empty when it is not known. `the gateway` where it notes
    /// that its store is a copy that was put back.
    pub who: String,
    /// What: `replay`, `hold`, `pause`, `prune` …
    pub verb: String,
    /// To what kind of thing: `delivery`, `system`, `job` …
    pub object: String,
    /// To which one.
    pub object_id: String,
    /// To how many.
    pub count: u64,
    /// Why, as the person said it.
    pub reason: String,
    /// What came of it: `done`, or in words.
    pub result: String,
    /// How it was before; empty where that cannot be said.
    #[serde(default)]
    pub was: String,
    /// How it was afterwards.
    #[serde(default)]
    pub became: String,
    /// The link of the chain that it is: a hash over all of it and the link before. None for what is from before the chain.
    #[serde(default)]
    pub hash: Option<String>,
}

/// An entry to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// Who and why.
    pub by: By,
    /// What.
    pub verb: String,
    /// To what kind of thing.
    pub object: &'static str,
    /// To which one.
    pub object_id: String,
    /// To how many.
    pub count: u64,
    /// What came of it: `done`, or in words.
    pub result: String,
    /// How it was before; empty where that cannot be said.
    pub was: String,
    /// How it was afterwards.
    pub became: String,
}

/// What says which form of a link it is.
const FORM: &str = "omgate audit 1";

/// SHA-256 over the link before and over an entry, in hex. Each text stands behind its length, so that none can be taken
/// for a part of another.
fn link(before: &str, at: Timestamp, count: u64, texts: [&str; 8]) -> String {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(bytes);
    };
    add(FORM.as_bytes());
    add(before.as_bytes());
    add(&at.0.to_be_bytes());
    add(&count.min(i64::MAX.unsigned_abs()).to_be_bytes());
    texts.into_iter().for_each(|text| add(text.as_bytes()));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Deed {
    /// With what a delivery was before, and became.
    #[must_use]
    pub(super) fn between(self, was: State, became: State) -> Self {
        Self { was: was.to_string(), became: became.to_string(), ..self }
    }

    /// The link that it is behind another.
    #[must_use]
    pub fn link(&self, before: &str) -> String {
        let Self { at, by: By { who, reason }, verb, object, object_id, count, result, was, became } = self;
        link(before, *at, *count, [who, verb, object, object_id, reason, result, was, became])
    }
}

impl AuditEntry {
    /// The link that it must be behind another.
    #[must_use]
    pub fn link(&self, before: &str) -> String {
        let Self { id: _, at, who, verb, object, object_id, count, reason, result, was, became, hash: _ } = self;
        link(before, *at, *count, [who, verb, object, object_id, reason, result, was, became])
    }
}

/// Where the chain of hashes begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Chain {
    /// Entries up to this one were pruned, or are from before the chain.
    pub anchor_entry: i64,
    /// The link that the first entry goes on from.
    pub anchor_hash: String,
    /// The last entry that was written.
    pub head_entry: i64,
    /// Its link.
    pub head_hash: String,
}

/// More findings are counted and not told.
const FINDINGS_MAX: usize = 100;

/// Walks the chain, entry by entry, and looks whether each follows from the one before.
#[derive(Clone, Debug)]
pub struct Walk {
    chain: Chain,
    link: String,
    last: i64,
    checked: Checked,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Entries that were looked at.
    pub entries: u64,
    /// Entries from before the chain, of which nothing can be said.
    pub from_before: u64,
    /// What is wrong: the first hundred.
    pub findings: Vec<String>,
    /// How many more are wrong.
    pub more: u64,
    /// The last entry.
    pub head_entry: i64,
    /// The last link: whoever notes it elsewhere can prove later that nothing before it was changed.
    pub head_hash: String,
}

impl Walk {
    /// A walk from the anchor on.
    #[must_use]
    pub fn new(chain: Chain) -> Self {
        Self { link: chain.anchor_hash.clone(), last: chain.anchor_entry, chain, checked: Checked::default() }
    }

    /// Up to where the chain went when the walk began.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.chain.head_entry
    }

    /// Looks at the next entry. What was written after the walk began is passed by.
    pub fn look(&mut self, entry: &AuditEntry) {
        let id = entry.id;
        if id > self.chain.head_entry && entry.hash.is_some() {
            return;
        }
        self.checked.entries += 1;
        match &entry.hash {
            None if id <= self.chain.anchor_entry => self.checked.from_before += 1,
            None => self.find(format!(
                "entry {id} has no hash: it was inserted by hand, or by an omgate from before the chain"
            )),
            Some(_) if id <= self.last => {
                self.find(format!("entry {id} stands where entries were pruned or looked at already: it was inserted"));
            }
            Some(hash) => {
                if *hash != entry.link(&self.link) {
                    let last = self.last;
                    let between = if id == last + 1 {
                        String::new()
                    } else {
                        format!(", or what stood between {last} and {id} was removed")
                    };
                    self.find(format!(
                        "entry {id} does not follow from entry {last}: one of them was changed or inserted{between}"
                    ));
                }
                self.link.clone_from(hash);
                self.last = id;
            }
        }
    }

    /// What was found in all.
    #[must_use]
    pub fn finish(mut self) -> Checked {
        let Chain { head_entry, head_hash, .. } = self.chain.clone();
        if self.last != head_entry || self.link != head_hash {
            let last = self.last;
            self.find(format!("the log ends with entry {last}, and entry {head_entry} was the last: what stood behind was removed or changed"));
        }
        Checked { head_entry, head_hash, ..self.checked }
    }

    fn find(&mut self, finding: String) {
        if self.checked.findings.len() < FINDINGS_MAX {
            self.checked.findings.push(finding)
        } else {
            self.checked.more += 1
        }
    }
}

/// What people do, as the log says it; jobs over many deliveries `begin` and `end` what they do.
pub const AUDIT_VERBS: &[&str] = &[
    "acknowledge",
    "adopt",
    "approve",
    "backup",
    "begin discard",
    "begin hold",
    "begin release",
    "begin replay",
    "cancel",
    "create",
    "discard",
    "end discard",
    "end hold",
    "end release",
    "end replay",
    "forget",
    "hold",
    "login",
    "move",
    "pause",
    "propose",
    "prune",
    "refuse",
    "reject",
    "rekey",
    "release",
    "reload",
    "replay",
    "reroute",
    "restore",
    "resume",
    "revoke",
    "sample",
    "save",
    "test",
    "unmask",
];
/// What they do it to.
pub const AUDIT_OBJECTS: &[&str] = &[
    "absence",
    "account",
    "configuration",
    "day",
    "delivery",
    "job",
    "notification",
    "oidc",
    "source",
    "store",
    "system",
    "token",
    "view",
];

/// Which entries to list; newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// Whose name holds this text.
    pub who: Option<String>,
    /// With this verb.
    pub verb: Option<String>,
    /// About this kind of thing.
    pub object: Option<String>,
    /// About this one.
    pub object_id: Option<String>,
    /// Not before this moment.
    #[serde(default, deserialize_with = "crate::clock::asked_beginning")]
    pub from: Option<Timestamp>,
    /// Before this moment.
    #[serde(default, deserialize_with = "crate::clock::asked_end")]
    pub to: Option<Timestamp>,
    /// Below this id: the cursor.
    pub before: Option<i64>,
    /// At most this many (default 100, at most 1,000).
    #[param(minimum = 1, maximum = 1_000)]
    pub limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many entries.
    fn log(count: i64) -> (Chain, Vec<AuditEntry>) {
        let mut chain = Chain::default();
        let mut entries = Vec::new();
        for id in 1..=count {
            let deed = Deed {
                at: Timestamp(id * 1_000),
                verb: "hold".to_owned(),
                object: "delivery",
                object_id: id.to_string(),
                count: 1,
                ..Deed::default()
            };
            let hash = deed.link(&chain.head_hash);
            let Deed { at, verb, object_id, count, .. } = deed;
            (chain.head_entry, chain.head_hash) = (id, hash.clone());
            let empty = String::new;
            entries.push(AuditEntry {
                id,
                at,
                who: empty(),
                verb,
                object: "delivery".to_owned(),
                object_id,
                count,
                reason: empty(),
                result: empty(),
                was: empty(),
                became: empty(),
                hash: Some(hash),
            });
        }
        (chain, entries)
    }

    fn walk(chain: &Chain, entries: &[AuditEntry]) -> Checked {
        let mut walk = Walk::new(chain.clone());
        entries.iter().for_each(|entry| walk.look(entry));
        walk.finish()
    }

    #[test]
    fn what_was_changed_removed_or_inserted_is_found_and_the_rest_still_follows() {
        let (chain, whole) = log(10);
        assert_eq!(walk(&chain, &whole).findings, Vec::<String>::new());
        let mut changed = whole.clone();
        changed[4].who = "somebody else".to_owned();
        let mut removed = whole.clone();
        removed.remove(4);
        let mut cut = whole.clone();
        cut.truncate(8);
        let mut first = whole.clone();
        first.remove(0);
        let mut inserted = whole.clone();
        inserted.insert(5, AuditEntry { hash: None, ..whole[4].clone() });
        let mut forged = whole.clone();
        let link = AuditEntry { who: "forged".to_owned(), ..whole[4].clone() }.link(whole[3].hash.as_deref().unwrap());
        forged[4] = AuditEntry { who: "forged".to_owned(), hash: Some(link), ..whole[4].clone() };
        for (name, entries, word) in [
            ("changed", changed, "entry 5 does not follow from entry 4"),
            ("removed", removed, "what stood between 4 and 6 was removed"),
            ("cut", cut, "the log ends with entry 8"),
            ("first", first, "what stood between 0 and 2 was removed"),
            ("inserted", inserted, "entry 5 has no hash"),
            ("forged", forged, "entry 6 does not follow from entry 5"),
        ] {
            let found = walk(&chain, &entries).findings;
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].contains(word), "{name}: {found:?}");
        }
    }

    #[test]
    fn behind_an_anchor_the_rest_still_follows_and_what_is_from_before_is_only_counted() {
        let (chain, whole) = log(10);
        let pruned = Chain { anchor_entry: 4, anchor_hash: whole[3].hash.clone().unwrap(), ..chain };
        assert!(walk(&pruned, &whole[4..]).findings.is_empty());
        assert_eq!(walk(&pruned, &whole[5..]).findings.len(), 1);
        assert_eq!(walk(&pruned, &whole[3..]).findings.len(), 1, "it was pruned and is there again");
        let before: Vec<AuditEntry> = whole[..4]
            .iter()
            .map(|entry| AuditEntry { hash: None, ..entry.clone() })
            .chain(whole[4..].iter().cloned())
            .collect();
        let checked = walk(&pruned, &before);
        assert_eq!((checked.findings.len(), checked.from_before, checked.entries), (0, 4, 10));
    }

    #[test]
    fn texts_are_told_apart_by_where_they_end() {
        let deed = |verb: &str, object_id: &str| Deed {
            verb: verb.to_owned(),
            object_id: object_id.to_owned(),
            ..Deed::default()
        };
        assert_ne!(deed("ab", "c").link(""), deed("a", "bc").link(""));
    }
}
