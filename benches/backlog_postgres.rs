//! What claim, settlement, accept, ledger and pruning cost behind a small and behind a large backlog, on PostgreSQL.
//!
//! `cargo bench --bench backlog_postgres [-- --large N] [--small N] [--ops N]`: starts a PostgreSQL of its own on 127.0.0.1
//! (or uses the one that `OMGATE_TEST_POSTGRES` names), fills a database with N waiting deliveries, one to a lane, and
//! measures one operation at a time, so that no two share a transaction: how long it takes, and how many pages of the
//! store's tables and indexes the server looks at for it, whether they are in its memory or not (`pg_statio_user_tables`).
//! The server's own rounds of vacuum are off meanwhile, and done before. With `--large 1000000` the temporary folder needs
//! some 3 GB.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, clippy::allow_attributes_without_reason)]

use std::sync::Arc;
use std::time::Duration;

use omgate::clock::SystemClock;
use omgate::store::Store;
use omgate::store::postgres::{Options, PostgresStore};

use self::postgres::{address, connect, until};
use self::support::Outcome;
use self::support::backlog::{Measured, Size, Worker, compare, fill, measure};
use self::support::figures::Used;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/postgres.rs"]
mod postgres;
mod support;

/// The server leaves the store's tables alone.
const NO_VACUUM: &str = "DO $$ DECLARE found record; BEGIN
        FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'omgate' LOOP
            EXECUTE format('ALTER TABLE omgate.%I SET (autovacuum_enabled = false)', found.tablename);
        END LOOP;
    END $$";

/// The ledger is added up over the shards of those connections that ever wrote: filling a large store takes more of them. So
/// both have a row in each.
const ALL_SHARDS: &str = "INSERT INTO omgate.counter (kind, owner, account, shard, value)
    SELECT kind, owner, account, shard, 0 FROM (SELECT DISTINCT kind, owner, account FROM omgate.counter) c
    CROSS JOIN generate_series(0, 31) shard ON CONFLICT DO NOTHING";

fn main() -> Outcome<()> {
    let (mut small, mut large, mut ops) = (1_000, 1_000_000, 500);
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--small" => small = value.parse()?,
            "--large" => large = value.parse()?,
            "--ops" => ops = value.parse()?,
            _ => return Err(format!("{word} is not known: --small, --large, --ops").into()),
        }
    }
    // Without a server it is said why, and nothing is measured.
    if postgres::server().is_none() {
        return Ok(());
    }
    postgres::runtime().block_on(async {
        let size = |backlog| Size { backlog, ops, at_once: 1 };
        let pair = [OnServer::filled(size(small)).await?, OnServer::filled(size(large)).await?];
        compare([small, large], &measure(pair, size(large)).await?, "pages")
    })
}

async fn open(url: &str) -> Outcome<Arc<PostgresStore>> {
    Ok(PostgresStore::open(Options::new(address(url), SystemClock::shared())).await?)
}

/// A store that is opened for each kind of operation: its connections tell what they looked at when they end.
struct OnServer {
    url: String,
    admin: tokio_postgres::Client,
    before: i64,
}

impl OnServer {
    /// A database with a backlog.
    async fn filled(size: Size) -> Outcome<Self> {
        let url = postgres::database().ok_or("there is no database")?;
        let filled = open(&url).await?;
        fill(&*filled, size).await?;
        filled.close().await;
        let admin = connect(&url).await;
        for sql in [NO_VACUUM, ALL_SHARDS, "VACUUM (FULL) omgate.counter", "VACUUM (ANALYZE)", "CHECKPOINT"] {
            admin.batch_execute(sql).await?;
        }
        Ok(Self { url, admin, before: 0 })
    }

    /// Pages that were looked at so far.
    async fn pages(&self) -> Outcome<i64> {
        let sql = "SELECT sum(coalesce(heap_blks_read, 0) + coalesce(heap_blks_hit, 0) + coalesce(idx_blks_read, 0)
                       + coalesce(idx_blks_hit, 0) + coalesce(toast_blks_read, 0) + coalesce(toast_blks_hit, 0)
                       + coalesce(tidx_blks_read, 0) + coalesce(tidx_blks_hit, 0))::bigint
                   FROM pg_statio_user_tables WHERE schemaname = 'omgate'";
        let rows = self.admin.query_typed(sql, &[]).await?;
        Ok(rows[0].try_get::<_, Option<i64>>(0)?.unwrap_or(0))
    }
}

impl Measured for OnServer {
    async fn begin(&mut self, _: Worker) -> Outcome<Arc<dyn Store>> {
        self.before = self.pages().await?;
        let store: Arc<dyn Store> = open(&self.url).await?;
        Ok(store)
    }

    fn used(&self) -> Used {
        Used::default()
    }

    async fn end(&mut self, store: Arc<dyn Store>) -> Outcome<Used> {
        // As if it died: one that closes gives up what it has leased.
        drop(store);
        until("the store's connections end", Duration::from_secs(20), async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
            let rows = self.admin.query_typed(sql, &[]).await.unwrap();
            rows[0].get::<_, i64>(0) == 0
        })
        .await;
        let pages = self.pages().await? - self.before;
        Ok(Used { cpu: Duration::ZERO, pages: pages as f64 })
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        postgres::remove(&self.url);
    }
}
