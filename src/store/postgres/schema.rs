//! The tables in the database: looks whether it is one that omgate can work with, and brings the tables up to date.

use deadpool_postgres::{Object, Pool};

use super::failure::{self, Failure};

/// The migrations, in order; the schema's version is how many of them were run.
const MIGRATIONS: [&str; 11] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_replay.sql"),
    include_str!("migrations/0003_keep.sql"),
    include_str!("migrations/0004_move.sql"),
    include_str!("migrations/0005_not_before.sql"),
    include_str!("migrations/0006_admin.sql"),
    include_str!("migrations/0007_sealing.sql"),
    include_str!("migrations/0008_lists.sql"),
    include_str!("migrations/0009_views.sql"),
    include_str!("migrations/0010_mark.sql"),
    include_str!("migrations/0011_alive.sql"),
];

/// The oldest server that is known to do.
const SERVER_MIN: i64 = 130_000;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be reached.
    #[error("store.url: opening the store {address}: the database cannot be reached: {reason}")]
    Unreachable {
        /// As it may be shown.
        address: String,
        /// What the network, TLS or the server says.
        reason: String,
    },
    /// TLS cannot be spoken as the address wants it.
    #[error("store.url: opening the store {address}: {reason}")]
    Tls {
        /// As it may be shown.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The database is not fit.
    #[error("store.url: opening the store {address}: {reason}")]
    Unfit {
        /// As it may be shown.
        address: String,
        /// What it lacks, and what to do.
        reason: String,
    },
    /// The schema is from a later version of this program.
    #[error(
        "store.url: opening the store {address}: its schema has version {found}, and this omgate knows versions up to \
         {known}; run the omgate that wrote it, or a later one"
    )]
    Newer {
        /// As it may be shown.
        address: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
}

/// Looks at the server and brings the tables up to date, one gateway at a time.
pub(super) async fn prepare(pool: &Pool, address: &str) -> Result<(), OpenError> {
    let connected = match pool.get().await {
        Ok(connection) => connection,
        Err(error) => return Err(unreachable_for(address, Failure::from(error))),
    };
    look_at(&connected, address).await?;
    migrate(&connected, address).await
}

/// Looks whether the database has a store of this version of the schema; changes nothing.
pub(super) async fn look_from_beside(pool: &Pool, address: &str) -> Result<(), OpenError> {
    let connected = pool.get().await.map_err(|error| unreachable_for(address, Failure::from(error)))?;
    let found = version(&connected).await.map_err(|error| unreachable_for(address, Failure::from(error)))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let unfit = |reason: String| Err(OpenError::Unfit { address: address.to_owned(), reason });
    match found {
        0 => unfit("the database has no store of omgate".to_owned()),
        found if found < known => unfit(format!(
            "its schema has version {found}, and this omgate reads version {known}; start `omgate serve` of this version \
             on it once"
        )),
        found if found > known => Err(OpenError::Newer { address: address.to_owned(), found, known }),
        _ => Ok(()),
    }
}

fn unreachable_for(address: &str, failure: Failure) -> OpenError {
    let reason = failure.into_error().to_string();
    let reason = reason.strip_prefix("the store cannot write: ").unwrap_or(&reason).to_owned();
    let help = if reason.contains("certificate") || reason.contains("UnknownIssuer") {
        "; name the authority's certificate with sslrootcert=FILE behind the address"
    } else {
        ""
    };
    OpenError::Unreachable { address: address.to_owned(), reason: format!("{reason}{help}") }
}

/// Whether the database has a store at all, of this version of the schema then; changes nothing.
pub(super) async fn is_there(pool: &Pool, address: &str) -> Result<bool, OpenError> {
    let connected = pool.get().await.map_err(|error| unreachable_for(address, Failure::from(error)))?;
    look_at(&connected, address).await?;
    let found = version(&connected).await.map_err(|error| unreachable_for(address, Failure::from(error)))?;
    drop(connected);
    if found == 0 {
        return Ok(false);
    }
    look_from_beside(pool, address).await.map(|()| true)
}

async fn look_at(connection: &Object, address: &str) -> Result<(), OpenError> {
    let sql = "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
                   pg_is_in_recovery(), current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'";
    let row = connection.query_typed(sql, &[]).await.and_then(|rows| {
        let row = rows.first();
        row.map(|row| Ok((row.try_get(0)?, row.try_get::<_, String>(1)?, row.try_get(2)?, row.try_get(3)?))).transpose()
    });
    let found: Option<(i64, String, bool, bool)> =
        row.map_err(|error| unreachable_for(address, Failure::from(error)))?;
    let unfit = |reason: String| Err(OpenError::Unfit { address: address.to_owned(), reason });
    let Some((version, encoding, standby, fsync)) = found else { return Ok(()) };
    if version < SERVER_MIN {
        return unfit(format!("the server has version {version}; omgate needs PostgreSQL 13 or later"));
    }
    if encoding != "UTF8" {
        return unfit(format!("the database has the encoding {encoding}; create one with ENCODING 'UTF8'"));
    }
    if standby {
        return unfit("the server is a standby that only reads; name the primary".to_owned());
    }
    if !fsync {
        tracing::warn!("the database runs with fsync = off: what is acknowledged is lost when its machine fails");
    }
    Ok(())
}

/// Runs what is missing, all in one transaction behind a lock of its own.
async fn migrate(connection: &Object, address: &str) -> Result<(), OpenError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(connection).await.map_err(|error| unfit(address, &error))?;
    if found == known {
        return Ok(());
    }
    let newer = |found| OpenError::Newer { address: address.to_owned(), found, known };
    if found > known {
        return Err(newer(found));
    }
    let step = async {
        connection.batch_execute("BEGIN; SET LOCAL lock_timeout = 60000").await?;
        connection.query_typed("SELECT pg_advisory_xact_lock(-1869440885)::text", &[]).await?;
        // Another gateway may have done it while this one waited.
        let found = version(connection).await?;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        if found == 0 {
            create_schema(connection).await?;
        }
        connection.batch_execute("SET LOCAL search_path = omgate").await?;
        for (number, script) in MIGRATIONS.iter().enumerate().skip(done) {
            connection.batch_execute(script).await?;
            connection.batch_execute(&format!("UPDATE omgate.schema_version SET version = {}", number + 1)).await?;
        }
        connection.batch_execute("COMMIT").await?;
        Ok(found)
    };
    match step.await {
        Ok(found) if found > known => Err(newer(found)),
        Ok(_) => Ok(()),
        Err(error) => {
            // The pool gives the connection to others.
            let _ = connection.batch_execute("ROLLBACK").await;
            Err(unfit(address, &error))
        }
    }
}

async fn create_schema(connection: &Object) -> Result<(), tokio_postgres::Error> {
    let there = connection.query_typed("SELECT 1 FROM pg_namespace WHERE nspname = 'omgate'", &[]).await?;
    // Whoever may not make a schema finds one that was made for him.
    if there.is_empty() {
        connection.batch_execute("CREATE SCHEMA omgate").await?;
    }
    let sql = "CREATE TABLE omgate.schema_version (
                   only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version bigint NOT NULL);
               INSERT INTO omgate.schema_version (version) VALUES (0)";
    connection.batch_execute(sql).await
}

/// The version that this omgate works with.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// How many migrations ran.
pub(super) async fn version(connection: &Object) -> Result<i64, tokio_postgres::Error> {
    // Read from the catalogue itself: a name that was not found once would be remembered as missing.
    let there = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                WHERE n.nspname = 'omgate' AND c.relname = 'schema_version')";
    let rows = connection.query_typed(there, &[]).await?;
    if !rows.first().map(|row| row.try_get::<_, bool>(0)).transpose()?.unwrap_or(false) {
        return Ok(0);
    }
    let rows = connection.query_typed("SELECT version FROM omgate.schema_version", &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

fn unfit(address: &str, error: &tokio_postgres::Error) -> OpenError {
    let reason = format!(
        "its tables cannot be made or brought up to date: {}; the user needs a schema `omgate` of its own, or the right \
         to create one in the database",
        failure::words(error)
    );
    OpenError::Unfit { address: address.to_owned(), reason }
}
