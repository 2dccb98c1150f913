//! The small commands: refused POSTs, configurations, repairs, due times, receipts.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::lane;
use super::queue::Group;
use super::session::{Cells, args, read};
use super::text;
use super::work::{Engine, Job, Work};
use crate::clock::Timestamp;
use crate::delivery::ConfigVersion;
use crate::store::{RefusedPost, StoreResult, StoredConfig};

/// Refused POSTs that are kept.
const REFUSED_MAX: i64 = 1_000;

/// Refused POSTs go in groups, in the order in which they came.
pub(super) enum Refusing {}

impl Group for Refusing {
    type Command = RefusedPost;
    type Answer = ();

    fn weight(_: &RefusedPost) -> usize {
        2
    }

    fn bytes(post: &RefusedPost) -> usize {
        post.body.len()
    }

    fn run<'a>(
        engine: &'a Arc<Engine>,
        posts: Vec<&'a RefusedPost>,
    ) -> BoxFuture<'a, StoreResult<Vec<StoreResult<()>>>> {
        Box::pin(async move {
            let answers = vec![Ok(()); posts.len()];
            engine.run(&Refuses(posts)).await?;
            Ok(answers)
        })
    }
}

/// What is kept of a refused POST.
pub(super) fn cut(mut post: RefusedPost) -> RefusedPost {
    post.cut();
    post
}

/// Keeps refused POSTs.
struct Refuses<'a>(Vec<&'a RefusedPost>);

impl Job for Refuses<'_> {
    type Done = ();

    fn commands(&self) -> usize {
        self.0.len()
    }

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let text = |value: fn(&RefusedPost) -> &String| -> Vec<_> {
                self.0.iter().map(|post| text::written(value(post))).collect()
            };
            let at: Vec<i64> = self.0.iter().map(|post| post.at.0).collect();
            let dropped_at: Vec<Option<i64>> = self.0.iter().map(|post| post.dropped_at.map(|at| at.0)).collect();
            let sql = "WITH kept AS (
                           INSERT INTO refused (at, source, sender, reason, dropped_at, body)
                           SELECT at, source, sender, reason, dropped_at, body
                           FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
                               WITH ORDINALITY u (at, source, sender, reason, dropped_at, body, place)
                           ORDER BY place RETURNING id)
                       DELETE FROM refused WHERE id <= (SELECT max(id) FROM kept) - $7";
            let arguments = args![
                INT8_ARRAY at,
                TEXT_ARRAY text(|post| &post.source),
                TEXT_ARRAY text(|post| &post.sender),
                TEXT_ARRAY text(|post| &post.reason),
                INT8_ARRAY dropped_at,
                TEXT_ARRAY text(|post| &post.body),
                INT8 REFUSED_MAX,
            ];
            work.session.query(sql, arguments).await.map(|_| ())
        })
    }
}

/// Stores a configuration, or finds the one that is equal.
pub(super) struct SaveConfig {
    pub(super) config: StoredConfig,
    pub(super) now: Timestamp,
}

impl Job for SaveConfig {
    type Done = ConfigVersion;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<ConfigVersion, Failure>> {
        Box::pin(async move {
            let files = serde_json::to_string(&self.config.files)
                .map_err(|error| Failure::Fault(format!("keeping the configuration: {error}")))?;
            let digest = digest::digest(&digest::SHA256, files.as_bytes());
            let hash = digest.as_ref();
            let find = "SELECT id FROM config_version WHERE hash = $1";
            let found = work.session.query(find, args![BYTEA hash]).await?;
            if let Some(version) = read(&found, Cells::number)?.first() {
                work.idle = true;
                return Ok(ConfigVersion(*version));
            }
            let sql = "INSERT INTO config_version (hash, files, created_at) VALUES ($1, $2, $3)
                       ON CONFLICT (hash) DO UPDATE SET hash = excluded.hash RETURNING id";
            let rows = work.session.query(sql, args![BYTEA hash, TEXT text::written(&files), INT8 self.now.0]).await?;
            let version = read(&rows, Cells::number)?.first().copied();
            version.map(ConfigVersion).ok_or_else(|| Failure::Fault("the configuration got no number".to_owned()))
        })
    }
}

/// Looks again at lanes that seemed to have no head.
pub(super) struct Repair {
    pub(super) lanes: BTreeSet<i64>,
    pub(super) now: Timestamp,
}

impl Job for Repair {
    type Done = u64;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(async move {
            let repaired = lane::repair(work, &self.lanes, self.now).await?;
            work.idle = repaired == 0;
            Ok(repaired)
        })
    }
}

/// Pulls due times beyond `latest` back to it, of blocked deliveries too, and those of what was never attempted to the present, at most `limit` of
/// them; how many.
pub(super) struct PullBack {
    pub(super) now: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) limit: i64,
}

impl Job for PullBack {
    type Done = u64;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<u64, Failure>> {
        Box::pin(async move {
            let sql = "WITH far AS (
                           SELECT d.id FROM delivery d WHERE d.id = ANY(ARRAY(
                               SELECT c.id FROM way w CROSS JOIN LATERAL
                                   (SELECT id FROM delivery WHERE way = w.id AND state = 'waiting' AND due_at > $1
                                    AND (due_at > $2 OR attempts = 0) ORDER BY way, due_at DESC, id DESC LIMIT $3) c LIMIT $3))
                           AND d.state = 'waiting' ORDER BY d.id FOR UPDATE SKIP LOCKED)
                       UPDATE delivery d SET due_at = CASE d.attempts WHEN 0 THEN $1 ELSE $2 END FROM far WHERE d.id = far.id RETURNING d.id";
            let arguments = args![INT8 self.now.0, INT8 self.latest.0, INT8 self.limit];
            let mut pulled = work.session.query(sql, arguments).await?.len();
            let sql = "UPDATE delivery SET not_before = $1 WHERE id = ANY(ARRAY(
                           SELECT id FROM delivery WHERE not_before > $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
                       RETURNING id";
            pulled += work.session.query(sql, args![INT8 self.latest.0, INT8 self.limit]).await?.len();
            work.idle = pulled == 0;
            Ok(u64::try_from(pulled).unwrap_or(u64::MAX))
        })
    }
}

/// Receipts that are cleared away in one command.
pub(super) const RECEIPTS_AT_ONCE: usize = 20_000;

/// Clears away the receipts of commits whose answer nobody waits for any more; how many.
pub(super) struct ClearReceipts;

impl Job for ClearReceipts {
    type Done = usize;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<usize, Failure>> {
        Box::pin(async move {
            let sql = "DELETE FROM receipt WHERE token = ANY(ARRAY(
                           SELECT token FROM receipt WHERE at < now() - interval '1 hour' ORDER BY at LIMIT $1
                           FOR UPDATE SKIP LOCKED)) RETURNING token";
            let limit = i64::try_from(RECEIPTS_AT_ONCE).unwrap_or(i64::MAX);
            let cleared = work.session.query(sql, args![INT8 limit]).await?.len();
            work.idle = cleared == 0;
            Ok(cleared)
        })
    }
}
