//! Saved views.

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::session::{Cells, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::store::view::{full, missing};
use crate::store::{SavedView, StoreError, VIEWS_MAX};

/// Saves one in place of the one that has its name; that one.
pub(super) struct Save(pub(super) SavedView);

impl Job for Save {
    type Done = Option<SavedView>;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Option<SavedView>, Failure>> {
        Box::pin(async move {
            let SavedView { list, name, query, by, at } = &self.0;
            // Numbers and the bound are counted: one after the other.
            work.session.query("LOCK TABLE saved_view IN SHARE ROW EXCLUSIVE MODE", &[]).await?;
            let before = find(&mut work.session, list, name).await?;
            let rows = work.session.query("SELECT count(*) FROM saved_view", &[]).await?;
            let count = read(&rows, |cells| cells.number())?.into_iter().next().unwrap_or_default();
            if before.is_none() && count >= i64::from(VIEWS_MAX) {
                return Err(Failure::Rule(StoreError::Conflict(full())));
            }
            let sql = "INSERT INTO saved_view (id, list, name, query, saved_by, saved_at)
                       VALUES ((SELECT coalesce(max(id), 0) + 1 FROM saved_view), $1, $2, $3, $4, $5)
                       ON CONFLICT (list, name) DO UPDATE
                       SET query = excluded.query, saved_by = excluded.saved_by, saved_at = excluded.saved_at";
            let arguments = args![
                TEXT text::written(list),
                TEXT text::written(name),
                TEXT text::written(query),
                TEXT text::written(by),
                INT8 at.0,
            ];
            work.session.query(sql, arguments).await?;
            Ok(before)
        })
    }
}

/// All of them, by list and name.
pub(super) async fn list(session: &mut Session) -> Result<Vec<SavedView>, Failure> {
    let sql = "SELECT list, name, query, saved_by, saved_at FROM saved_view ORDER BY list, name";
    read(&session.query(sql, &[]).await?, read_view)
}

/// Forgets one; what it was.
pub(super) struct Forget {
    pub(super) list: String,
    pub(super) name: String,
}

impl Job for Forget {
    type Done = SavedView;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<SavedView, Failure>> {
        Box::pin(async move {
            let Self { list, name } = self;
            let Some(view) = find(&mut work.session, list, name).await? else {
                return Err(Failure::Rule(StoreError::NotFound(missing(list, name))));
            };
            let sql = "DELETE FROM saved_view WHERE list = $1 AND name = $2";
            work.session.query(sql, args![TEXT text::written(list), TEXT text::written(name)]).await?;
            Ok(view)
        })
    }
}

async fn find(session: &mut Session, list: &str, name: &str) -> Result<Option<SavedView>, Failure> {
    let sql = "SELECT list, name, query, saved_by, saved_at FROM saved_view WHERE list = $1 AND name = $2 FOR UPDATE";
    let rows = session.query(sql, args![TEXT text::written(list), TEXT text::written(name)]).await?;
    Ok(read(&rows, read_view)?.into_iter().next())
}

fn read_view(cells: &mut Cells<'_>) -> Result<SavedView, Failure> {
    Ok(SavedView {
        list: cells.text()?,
        name: cells.text()?,
        query: cells.text()?,
        by: cells.text()?,
        at: cells.time()?,
    })
}
