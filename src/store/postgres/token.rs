//! Tokens of the admin API.

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::session::{Cells, Session, args, read};
use super::text;
use super::work::{Job, Work};
use crate::clock::Timestamp;
use crate::store::token::FORGOTTEN_AFTER_MS;
use crate::store::{StoreError, TOKENS_MAX, Token};

const COLUMNS: &str =
    "id, name, role, rights, scope, created_at, created_by, expires_at, used_at, revoked_at, revoked_by";

/// Keeps a new one.
pub(super) struct Add {
    pub(super) token: Token,
    pub(super) hash: String,
}

impl Job for Add {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let Token { id, name, role, rights, scope, created_at, created_by, expires_at, .. } = &self.token;
            let forgotten = created_at.0.saturating_sub(FORGOTTEN_AFTER_MS);
            let sql = "DELETE FROM token WHERE coalesce(revoked_at, expires_at) < $1";
            work.session.query(sql, args![INT8 forgotten]).await?;
            let sql = "SELECT count(*), count(*) FILTER (WHERE name = $1 AND revoked_at IS NULL AND expires_at > $2) FROM token";
            let rows = work.session.query(sql, args![TEXT text::written(name), INT8 created_at.0]).await?;
            let counts = read(&rows, |cells| Ok((cells.number()?, cells.number()?)))?.into_iter().next();
            let (all, of_name) = counts.unwrap_or_default();
            if of_name > 0 {
                let reason = format!("there is a token {name:?} already; revoke it first, or take another name");
                return Err(Failure::Rule(StoreError::Conflict(reason)));
            }
            if all >= i64::from(TOKENS_MAX) {
                let reason = format!(
                    "there are {TOKENS_MAX} tokens already, those that are over for less than 90 days included"
                );
                return Err(Failure::Rule(StoreError::Conflict(reason)));
            }
            let sql = "INSERT INTO token (id, name, hash, role, rights, scope, created_at, created_by, expires_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let arguments = args![
                TEXT text::written(id),
                TEXT text::written(name),
                TEXT text::written(&self.hash),
                TEXT text::written(role),
                TEXT text::written(rights),
                TEXT text::written(scope),
                INT8 created_at.0,
                TEXT text::written(created_by),
                INT8 expires_at.0,
            ];
            work.session.query(sql, arguments).await.map(|_| ())
        })
    }
}

/// All of them, the newest first.
pub(super) async fn list(session: &mut Session) -> Result<Vec<Token>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM token ORDER BY created_at DESC, id");
    read(&session.query(&sql, &[]).await?, read_token)
}

/// The one whose secret has this hash.
pub(super) async fn find(session: &mut Session, hash: &str) -> Result<Option<Token>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM token WHERE hash = $1");
    Ok(read(&session.query(&sql, args![TEXT text::written(hash)]).await?, read_token)?.into_iter().next())
}

/// Ends one.
pub(super) struct Revoke {
    pub(super) id: String,
    pub(super) by: String,
    pub(super) now: Timestamp,
}

impl Job for Revoke {
    type Done = Token;

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<Token, Failure>> {
        Box::pin(async move {
            let Self { id, by, now } = self;
            let sql = format!("SELECT {COLUMNS} FROM token WHERE id = $1 FOR UPDATE");
            let rows = work.session.query(&sql, args![TEXT text::written(id)]).await?;
            let Some(token) = read(&rows, read_token)?.into_iter().next() else {
                return Err(Failure::Rule(StoreError::NotFound(format!("token {id}"))));
            };
            if let Some(at) = token.revoked_at {
                let reason = format!("token {id} was revoked at {at} already");
                return Err(Failure::Rule(StoreError::Conflict(reason)));
            }
            let sql = "UPDATE token SET revoked_at = $2, revoked_by = $3 WHERE id = $1";
            work.session.query(sql, args![TEXT text::written(id), INT8 now.0, TEXT text::written(by)]).await?;
            Ok(Token { revoked_at: Some(*now), revoked_by: Some(by.clone()), ..token })
        })
    }
}

/// Notes that one was used.
pub(super) struct Use {
    pub(super) id: String,
    pub(super) now: Timestamp,
}

impl Job for Use {
    type Done = ();

    fn run<'a>(&'a self, work: &'a mut Work) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let sql = "UPDATE token SET used_at = greatest(coalesce(used_at, 0), $2) WHERE id = $1";
            work.session.query(sql, args![TEXT text::written(&self.id), INT8 self.now.0]).await.map(|_| ())
        })
    }
}

fn read_token(cells: &mut Cells<'_>) -> Result<Token, Failure> {
    Ok(Token {
        id: cells.text()?,
        name: cells.text()?,
        role: cells.text()?,
        rights: cells.text()?,
        scope: cells.text()?,
        created_at: cells.time()?,
        created_by: cells.text()?,
        expires_at: cells.time()?,
        used_at: cells.maybe_time()?,
        revoked_at: cells.maybe_time()?,
        revoked_by: cells.maybe_text()?,
    })
}
