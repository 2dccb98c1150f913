//! What the server knows of the tables' sizes and values, by which it plans how questions are answered.
//!
//! Its autovacuum looks once a minute, or never where it was turned off; a table that grew from nothing to a million rows
//! meanwhile is still planned for as an empty one, and a page that should take milliseconds takes seconds.

use super::failure::Failure;
use super::session::{Cells, Manner, Session, read};
use deadpool_postgres::Pool;

/// The tables of which the server knows too little: more than half of what is in them came since it looked.
const OUTGROWN: &str = "SELECT quote_ident(s.relname) FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
    WHERE s.schemaname = 'omgate' AND s.n_mod_since_analyze > 10000 + greatest(c.reltuples, 0) / 2
    ORDER BY s.relname";

/// Has the server look at the tables that outgrew what it knows of them; which they were. Where another does so already it
/// is not waited for.
pub(super) async fn refresh(pool: &Pool) -> Result<Vec<String>, Failure> {
    let mut session = Session::open(pool, Manner::Read).await?;
    let outgrown = read(&session.query(OUTGROWN, &[]).await?, Cells::text)?;
    session.end().await?;
    for table in &outgrown {
        let mut session = Session::open(pool, Manner::Write).await?;
        session.query("SELECT 1", &[]).await?;
        session.commit(&format!("ANALYZE (SKIP_LOCKED) omgate.{table}"), &[]).await?;
    }
    Ok(outgrown)
}
