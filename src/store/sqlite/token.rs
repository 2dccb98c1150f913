//! Tokens of the admin API.

use rusqlite::{Connection, OptionalExtension, Row};

use super::books::{Books, Failure};
use crate::clock::Timestamp;
use crate::store::token::FORGOTTEN_AFTER_MS;
use crate::store::{StoreError, TOKENS_MAX, Token};

/// Keeps a new one.
pub(super) fn add(books: &Books, token: &Token, hash: &str) -> Result<(), Failure> {
    let now = token.created_at.0;
    let forgotten = now.saturating_sub(FORGOTTEN_AFTER_MS);
    books.run("DELETE FROM token WHERE coalesce(revoked_at, expires_at) < ?1", [forgotten])?;
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE name = ?1 AND revoked_at IS NULL AND expires_at > ?2) FROM token";
    let counts = books.find(sql, (&token.name, now), |row| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?)))?;
    let (all, of_name) = counts.unwrap_or_default();
    if of_name > 0 {
        let reason = format!("there is a token {:?} already; revoke it first, or take another name", token.name);
        return Err(Failure::Rule(StoreError::Conflict(reason)));
    }
    if all >= TOKENS_MAX {
        let reason =
            format!("there are {TOKENS_MAX} tokens already, those that are over for less than 90 days included");
        return Err(Failure::Rule(StoreError::Conflict(reason)));
    }
    let sql = "INSERT INTO token (id, name, hash, role, rights, scope, created_at, created_by, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let Token { id, name, role, rights, scope, created_by, expires_at, .. } = token;
    books.run(sql, (id, name, hash, role, rights, scope, now, created_by, expires_at.0)).map(|_| ())
}

/// All of them, the newest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Token>> {
    let sql =
        "SELECT id, name, role, rights, scope, created_at, created_by, expires_at, used_at, revoked_at, revoked_by
               FROM token ORDER BY created_at DESC, id";
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

/// The one whose secret has this hash.
pub(super) fn find(connection: &Connection, hash: &str) -> rusqlite::Result<Option<Token>> {
    let sql =
        "SELECT id, name, role, rights, scope, created_at, created_by, expires_at, used_at, revoked_at, revoked_by
               FROM token WHERE hash = ?1";
    connection.prepare_cached(sql)?.query_row([hash], read).optional()
}

/// Ends one.
pub(super) fn revoke(books: &Books, id: &str, by: &str, now: Timestamp) -> Result<Token, Failure> {
    let sql =
        "SELECT id, name, role, rights, scope, created_at, created_by, expires_at, used_at, revoked_at, revoked_by
               FROM token WHERE id = ?1";
    let Some(token) = books.find(sql, [id], read)? else {
        return Err(Failure::Rule(StoreError::NotFound(format!("token {id}"))));
    };
    if let Some(at) = token.revoked_at {
        return Err(Failure::Rule(StoreError::Conflict(format!("token {id} was revoked at {at} already"))));
    }
    books.run("UPDATE token SET revoked_at = ?2, revoked_by = ?3 WHERE id = ?1", (id, now.0, by))?;
    Ok(Token { revoked_at: Some(now), revoked_by: Some(by.to_owned()), ..token })
}

/// Notes that one was used.
pub(super) fn used(books: &Books, id: &str, now: Timestamp) -> Result<(), Failure> {
    books.run("UPDATE token SET used_at = max(coalesce(used_at, 0), ?2) WHERE id = ?1", (id, now.0)).map(|_| ())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Token> {
    let maybe = |moment: Option<i64>| moment.map(Timestamp);
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        rights: row.get(3)?,
        scope: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        created_by: row.get(6)?,
        expires_at: Timestamp(row.get(7)?),
        used_at: maybe(row.get(8)?),
        revoked_at: maybe(row.get(9)?),
        revoked_by: row.get(10)?,
    })
}
