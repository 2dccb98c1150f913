//! How a database stands, for somebody who looks at it from beside: nothing is written, and no store need be there.

use std::time::Duration;

use deadpool_postgres::Object;

use super::connect::Address;
use super::failure::Failure;
use super::schema;

/// All of it must be answered in this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its version as it writes it.
    pub version: String,
    /// The same as a number, such as 160004.
    pub version_number: i64,
    /// Whether the connection that it sees speaks TLS.
    pub tls: bool,
    /// Its `fsync`.
    pub fsync: String,
    /// Its `full_page_writes`.
    pub full_page_writes: String,
    /// Its `synchronous_commit`, as it holds for omgate's sessions.
    pub synchronous_commit: String,
    /// Its `idle_in_transaction_session_timeout`, as it holds for omgate's sessions.
    pub idle_in_transaction: String,
    /// The database's encoding.
    pub encoding: String,
    /// Whether it is a standby, which only reads.
    pub standby: bool,
    /// Whether two connections that are open at once meet the same session: a pooler in transaction mode is before it.
    pub is_pooled: bool,
    /// Its clock, in milliseconds since 1970.
    pub clock_ms: i64,
    /// The version of the store's schema; 0 when there is none.
    pub schema: i64,
    /// The version that this omgate works with.
    pub schema_known: i64,
}

/// Asks a database how it stands.
///
/// # Errors
/// Why it does not answer, in words that hold no secret.
pub async fn standing(address: &Address) -> Result<Standing, String> {
    let pool = address.pool(2)?;
    let asked = async {
        let first = pool.get().await.map_err(|error| words(Failure::from(error)))?;
        let second = pool.get().await.map_err(|error| words(Failure::from(error)))?;
        let is_pooled = session(&first).await.map_err(words)? == session(&second).await.map_err(words)?;
        let found = ask(&first, is_pooled).await.map_err(words)?;
        found.ok_or_else(|| "it answered nothing".to_owned())
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(found) => found,
        Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
    }
}

fn words(failure: Failure) -> String {
    let reason = failure.into_error().to_string();
    reason.strip_prefix("the store cannot write: ").unwrap_or(&reason).to_owned()
}

/// The number of the server's process that answers. Each connection has its own, unless somebody lends them out.
async fn session(connection: &Object) -> Result<i32, Failure> {
    let rows = connection.query_typed("SELECT pg_backend_pid()", &[]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
}

async fn ask(connection: &Object, is_pooled: bool) -> Result<Option<Standing>, Failure> {
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::bigint,
                   coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
                   current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
                   current_setting('server_encoding'), pg_is_in_recovery(),
                   current_setting('idle_in_transaction_session_timeout')";
    let rows = connection.query_typed(sql, &[]).await?;
    let schema = schema::version(connection).await?;
    // Asked alone and last, so that little time passes on the way.
    let clock = connection.query_typed("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[]).await?;
    let (Some(row), Some(clock)) = (rows.first(), clock.first()) else { return Ok(None) };
    Ok(Some(Standing {
        version: row.try_get(0)?,
        version_number: row.try_get(1)?,
        tls: row.try_get(2)?,
        fsync: row.try_get(3)?,
        full_page_writes: row.try_get(4)?,
        synchronous_commit: row.try_get(5)?,
        encoding: row.try_get(6)?,
        standby: row.try_get(7)?,
        idle_in_transaction: row.try_get(8)?,
        is_pooled,
        clock_ms: clock.try_get(0)?,
        schema,
        schema_known: schema::known(),
    }))
}
