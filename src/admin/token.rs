//! Tokens: how scripts and commands come in, for a while and for some of it.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::account::{self, Right, Rights, Role};
use crate::admin::access::{self, Caller, Who};
use crate::admin::body::{Because, Body};
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::{Admin, api};
use crate::store::{By, Deed, TOKEN_LIFE, Token};

/// What every token begins with, so that it is known for one where it does not belong.
pub(super) const PREFIX: &str = "omg_";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/tokens", web::get().to(list))
        .route("/tokens", web::post().to(create))
        .route("/tokens/{id}/revoke", web::post().to(revoke));
}

/// The body of a call that makes a token.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewToken)]
pub(super) struct Wanted {
    name: String,
    #[serde(default = "viewer")]
    role: String,
    #[serde(default)]
    rights: Vec<String>,
    /// The areas of the API that it is for; none: all.
    #[serde(default)]
    scope: Vec<String>,
    /// How long it counts.
    expires_in_s: u64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    dry_run: bool,
}

fn viewer() -> String {
    Role::Viewer.as_str().to_owned()
}

impl Wanted {
    /// What is wrong with it, if anything is.
    fn fault(&self, caller: &Caller) -> Option<String> {
        if let Some(fault) = account::fault_of_name(&self.name) {
            return Some(fault);
        }
        if Role::named(&self.role).is_none() {
            let roles = Role::ALL.map(Role::as_str).join(", ");
            return Some(format!("{:?} is no role; those are {roles}", self.role));
        }
        if let Some(word) = self.rights.iter().find(|word| Right::added(word).is_none()) {
            let rights = Right::ADDED.map(Right::as_str).join(", ");
            return Some(format!("{word:?} is no right that can be added; those are {rights}"));
        }
        let areas = access::areas();
        if let Some(word) = self.scope.iter().find(|word| !areas.contains(word.as_str())) {
            let areas = areas.into_iter().collect::<Vec<_>>().join(", ");
            return Some(format!("{word:?} is nothing that a token could be for; those are {areas}"));
        }
        if !TOKEN_LIFE.contains(&Duration::from_secs(self.expires_in_s)) {
            return Some("a token counts from 1 minute to 731 days: say how long in expires_in_s".to_owned());
        }
        if self.reason.len() > api::REASON_BYTES_MAX {
            return Some("the reason is too long".to_owned());
        }
        // Nobody makes a key to more doors than their own opens.
        let is_within =
            self.scope.iter().all(|word| caller.reaches(word)) && (!self.scope.is_empty() || caller.reaches_all());
        (!is_within).then(|| "a token cannot make one whose scope is wider than its own".to_owned())
    }
}

/// Makes a token. Its secret is told this once.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    request_body = Wanted,
    responses((status = 200, body = answers::TokenForecast), (status = 201, body = answers::TokenMade))
)]
pub(super) async fn create(
    admin: web::Data<Admin>,
    wanted: Body<Wanted>,
    caller: Caller,
    person: Person,
) -> HttpResponse {
    let wanted = wanted.into_inner();
    if let Some(fault) = wanted.fault(&caller) {
        return api::problem(400, &fault);
    }
    let Ok(secret) = account::secret() else { return api::problem(503, "the machine gives no random numbers") };
    let secret = format!("{PREFIX}{secret}");
    let hash = hash(&secret);
    let now = admin.clock.now();
    let token = Token {
        id: hash.get(..12).unwrap_or_default().to_owned(),
        name: wanted.name,
        role: wanted.role,
        rights: wanted.rights.join(" "),
        scope: wanted.scope.join(" "),
        created_at: now,
        created_by: person.0.clone(),
        expires_at: now.plus(Duration::from_secs(wanted.expires_in_s)),
        used_at: None,
        revoked_at: None,
        revoked_by: None,
    };
    if wanted.dry_run {
        return HttpResponse::Ok().json(json!({"dry_run": true, "name": token.name, "expires_at": token.expires_at}));
    }
    if let Err(error) = admin.store.add_token(token.clone(), hash).await {
        return api::from_store(&error);
    }
    note(&admin, By::new(person.0, wanted.reason), "create", &token, (String::new(), said(&token))).await;
    let mut answer = json!(token);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("token".to_owned(), json!(secret));
    }
    HttpResponse::Created().json(answer)
}

/// The tokens, less their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", responses((status = 200, body = Vec<Token>)))]
pub(super) async fn list(admin: web::Data<Admin>) -> HttpResponse {
    api::answer(admin.store.tokens().await)
}

/// Ends a token at once.
#[utoipa::path(
    post,
    path = "/api/v1/tokens/{id}/revoke",
    params(("id" = String, Path)),
    request_body = Because,
    responses((status = 200, body = Token))
)]
pub(super) async fn revoke(
    admin: web::Data<Admin>,
    id: web::Path<String>,
    because: Body<Because>,
    person: Person,
) -> HttpResponse {
    let Because { reason, dry_run } = because.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    if dry_run {
        let found = admin.store.tokens().await.map(|all| all.into_iter().find(|token| token.id == *id));
        return match found {
            Ok(Some(token)) => HttpResponse::Ok().json(token),
            Ok(None) => api::problem(404, &format!("token {id} is not in the store")),
            Err(error) => api::from_store(&error),
        };
    }
    let revoked = admin.store.revoke_token(id.into_inner(), person.0.clone(), admin.clock.now()).await;
    if let Ok(token) = &revoked {
        note(&admin, By::new(person.0, reason), "revoke", token, (said(token), "revoked".to_owned())).await;
    }
    api::answer(revoked)
}

async fn note(admin: &Admin, by: By, verb: &str, token: &Token, (was, became): (String, String)) {
    let deed = Deed {
        verb: verb.to_owned(),
        object: "token",
        object_id: token.id.clone(),
        was,
        became,
        ..admin.deed(by, "done")
    };
    admin.note(deed).await;
}

/// What a token may, in words.
fn said(token: &Token) -> String {
    let Token { name, role, rights, scope, expires_at, .. } = token;
    format!("name {name}, role {role}, rights {rights:?}, scope {scope:?}, until {expires_at}")
}

/// What is kept of a secret, in hex.
fn hash(secret: &str) -> String {
    account::fingerprint(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who shows a secret; or the answer to one whose secret does not count.
pub(super) async fn caller(admin: &Admin, secret: &str) -> Result<Caller, (String, HttpResponse)> {
    let refusal = |name: &str, reason: &str| (name.to_owned(), super::entry::unauthorized(reason));
    let unknown = || refusal("(no such token)", "the token is not known to this gateway");
    if !secret.starts_with(PREFIX) || secret.len() > 100 {
        return Err(unknown());
    }
    let found = admin.store.token(hash(secret)).await;
    let token = match found {
        Ok(Some(token)) => token,
        Ok(None) => return Err(unknown()),
        Err(error) => return Err((String::new(), api::from_store(&error))),
    };
    let now = admin.clock.now();
    if let Some(reason) = token.over(now) {
        return Err(refusal(&token.id, &reason));
    }
    if admin.entry.is_news(&token.id, admin.clock.monotonic()) {
        let (store, id) = (std::sync::Arc::clone(&admin.store), token.id.clone());
        // Nobody waits for that, and it is no harm when it fails.
        tokio::spawn(async move { store.use_token(id, now).await });
    }
    let added: Vec<Right> = token.rights.split_whitespace().filter_map(Right::added).collect();
    let rights = Role::named(&token.role).map_or_else(Rights::default, |role| Rights::of(role, &added));
    let scope = token.scope.split_whitespace().map(str::to_owned).collect();
    Ok(Caller { who: Who::Token(token.name), rights, form: None, scope })
}
