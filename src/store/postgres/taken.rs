//! Which configuration was in force since when, and what brought it.

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::session::{Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::delivery::ConfigVersion;
use crate::store::{TakenBy, TakenConfig};

/// How many times are kept.
const KEPT: i64 = 1_000;

/// Keeps one more.
pub(super) struct Take(pub(super) TakenConfig);

impl Job for Take {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let TakenConfig { version, at, by, reason } = &self.0;
            let sql = "INSERT INTO config_taken (version, at, brought_by, reason) VALUES ($1, $2, $3, $4)";
            let arguments = args![INT8 version.0, INT8 at.0, TEXT by.as_str(), TEXT text::written(reason)];
            work.session.query(sql, arguments).await?;
            // Numbers may be missing between them.
            let sql =
                "DELETE FROM config_taken WHERE id <= (SELECT id FROM config_taken ORDER BY id DESC OFFSET $1 LIMIT 1)";
            work.session.query(sql, args![INT8 KEPT]).await.map(|_| ())
        })
    }
}

/// The last of them, newest first.
pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Vec<TakenConfig>, Failure> {
    let sql = "SELECT version, at, brought_by, reason FROM config_taken ORDER BY id DESC LIMIT $1";
    let rows = session.query(sql, args![INT8 i64::from(limit)]).await?;
    read(&rows, |cells| {
        let (version, at) = (ConfigVersion(cells.number()?), cells.time()?);
        let by = match cells.next::<&str>()? {
            "signal" => TakenBy::Signal,
            "file" => TakenBy::File,
            "api" => TakenBy::Api,
            // The schema knows no other.
            _ => TakenBy::Start,
        };
        Ok(TakenConfig { version, at, by, reason: cells.text()? })
    })
}
