//! A store on PostgreSQL: whether it answers, keeps what it says it wrote, and who stands between.

use std::time::Duration;

use super::clock::Reading;
use super::finding::{Findings, Judged};
use crate::clock::SystemClock;
use crate::store::postgres::{Address, Standing, standing};

/// The oldest that will do.
const SERVER_MIN: i64 = 130_000;

/// Asks the database how it stands; with it, what its clock said.
pub(super) async fn look(findings: &mut Findings, address: &Address) -> Option<Reading> {
    let clock = SystemClock::shared();
    let found = standing(address).await;
    let answered = clock.now().0;
    let found = match found {
        Ok(found) => found,
        Err(reason) => {
            findings.fail(
                "database",
                format!("{} cannot be asked: {reason}", address.shown()),
                "does it run, may this machine reach it (pg_hba.conf, firewall), and is the password right? try \
                 `psql` with the same address",
            );
            return None;
        }
    };
    findings.judged("database", server(address.shown(), &found));
    findings.judged("TLS", encrypted(&found));
    for judged in durability(&found) {
        findings.judged("durability", judged);
    }
    findings.judged("pooler", pooler(&found));
    findings.judged("schema", schema(&found));
    findings.skip("contents", "`omgate store verify` compares every counter with its rows");
    Some(Reading::of(
        &format!("the database {}", address.shown()),
        found.clock_ms,
        answered,
        answered,
        Duration::from_secs(1),
    ))
}

fn server(shown: &str, found: &Standing) -> Judged {
    let Standing { version, version_number, encoding, standby, .. } = found;
    let told = format!("{shown} is PostgreSQL {version}");
    if *version_number < SERVER_MIN {
        return Judged::failed(told, "take PostgreSQL 13 or later");
    }
    if encoding != "UTF8" {
        return Judged::failed(format!("{told}, in {encoding}"), "create a database with ENCODING 'UTF8'");
    }
    if *standby {
        return Judged::failed(
            format!("{told}, a standby that only reads"),
            "name the primary, or give several hosts with target_session_attrs=read-write",
        );
    }
    Judged::ok(told)
}

fn encrypted(found: &Standing) -> Judged {
    if found.tls {
        return Judged::ok("the database's connection speaks TLS");
    }
    Judged::warning(
        "the connection that the database sees speaks no TLS",
        "on another machine than the database, add sslmode=verify-full to store.url; on the same one it is no harm",
    )
}

fn durability(found: &Standing) -> Vec<Judged> {
    let mut all = Vec::new();
    if found.fsync == "off" {
        all.push(Judged::failed(
            "fsync is off: what was acknowledged is lost when the database's machine fails",
            "ALTER SYSTEM SET fsync = on, and restart it",
        ));
    }
    if found.full_page_writes == "off" {
        all.push(Judged::failed(
            "full_page_writes is off: a page that was half written when the power failed stays broken",
            "ALTER SYSTEM SET full_page_writes = on, and reload it, unless its file system never tears a page",
        ));
    }
    if found.synchronous_commit == "off" {
        all.push(Judged::warning(
            "synchronous_commit is off by default here; omgate turns it on for each of its own transactions",
            "ALTER ROLE … SET synchronous_commit = on for omgate's user, so that nothing depends on that",
        ));
    }
    if all.is_empty() {
        let found = format!("fsync and full_page_writes are on, synchronous_commit is {}", found.synchronous_commit);
        all.push(Judged::ok(found));
    }
    all
}

fn pooler(found: &Standing) -> Judged {
    if found.is_pooled {
        return Judged::ok(
            "a pooler in transaction mode (PgBouncer) is between: omgate works with it; its signals between gateways \
             do not pass, so another gateway's work is found by looking, a moment later",
        );
    }
    Judged::ok("each connection has a session of its own: no pooler in transaction mode is between")
}

fn schema(found: &Standing) -> Judged {
    let Standing { schema, schema_known, .. } = found;
    match schema {
        0 => Judged::ok("there is no store in it yet; the first start makes it"),
        found if found < schema_known => Judged::warning(
            format!("its schema has version {found}, and this omgate works with {schema_known}"),
            "the next start of `omgate serve` brings it up to date; back it up before (pg_dump)",
        ),
        found if found > schema_known => Judged::failed(
            format!("its schema has version {found}, and this omgate knows versions up to {schema_known}"),
            "run the omgate that wrote it, or a later one",
        ),
        found => Judged::ok(format!("its schema has version {found}, that of this omgate")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn fine() -> Standing {
        Standing {
            version: "16.4".to_owned(),
            version_number: 160_004,
            tls: true,
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            idle_in_transaction: "15s".to_owned(),
            encoding: "UTF8".to_owned(),
            standby: false,
            is_pooled: false,
            clock_ms: 0,
            schema: 6,
            schema_known: 6,
        }
    }

    #[test]
    fn what_a_database_lacks_is_told() {
        let all = |found: &Standing| {
            let mut all = vec![server("db", found), encrypted(found), pooler(found), schema(found)];
            all.extend(durability(found));
            all
        };
        assert!(all(&fine()).iter().all(|judged| judged.level == Level::Ok));
        let off = || "off".to_owned();
        for (found, level, said) in [
            (Standing { fsync: off(), ..fine() }, Level::Failed, "SET fsync = on"),
            (Standing { full_page_writes: off(), ..fine() }, Level::Failed, "full_page_writes = on"),
            (Standing { synchronous_commit: off(), ..fine() }, Level::Warning, "turns it on"),
            (Standing { standby: true, ..fine() }, Level::Failed, "primary"),
            (Standing { encoding: "LATIN1".to_owned(), ..fine() }, Level::Failed, "UTF8"),
            (Standing { version_number: 120_001, ..fine() }, Level::Failed, "13 or later"),
            (Standing { tls: false, ..fine() }, Level::Warning, "sslmode"),
            (Standing { schema: 7, ..fine() }, Level::Failed, "a later one"),
            (Standing { schema: 5, ..fine() }, Level::Warning, "up to date"),
        ] {
            let judged: Vec<Judged> = all(&found).into_iter().filter(|judged| judged.level != Level::Ok).collect();
            assert_eq!(judged.len(), 1, "{judged:?}");
            assert_eq!(judged[0].level, level, "{judged:?}");
            assert!(format!("{judged:?}").contains(said), "{judged:?}");
        }
        assert!(pooler(&Standing { is_pooled: true, ..fine() }).found.contains("PgBouncer"));
    }
}
