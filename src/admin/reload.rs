//! `POST /api/v1/reload` and `GET /api/v1/config`: the configuration in force, and another in its place.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::admin::body::Body;
use crate::admin::openapi::answers;
use crate::admin::person::Person;
use crate::admin::{Admin, api};
use crate::clock::Timestamp;
use crate::delivery::ConfigVersion;
use crate::store::{By, Deed, StoreError, TakenBy, TakenConfig, Unsettled};

/// How many of the times before are told.
const HISTORY: u32 = 20;

/// How many lines of a refusal the audit log has.
const AUDIT_LINES_MAX: usize = 100;

/// What becomes of deliveries whose route or destination is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    /// They stay, and go on when it comes back.
    Keep,
    /// They are discarded.
    Discard,
}

/// That the configuration is to be read again.
#[derive(Clone, Debug)]
pub struct Order {
    /// What asks for it.
    pub by: TakenBy,
    /// Who, for the audit log.
    pub person: String,
    /// What becomes of deliveries that it leaves without a way; none: where there are some, it is refused.
    pub orphans: Option<Orphans>,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
}

/// What reading the configuration again came to.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// Whether there was anything new.
    pub changed: bool,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The version in force now.
    pub version: ConfigVersion,
    /// Files that are new, gone, or hold something else.
    pub files: Vec<String>,
    /// What is new, such as `route won-orders`.
    pub added: Vec<String>,
    /// What is gone.
    pub removed: Vec<String>,
    /// Sources, destinations and routes that are still there and say something else.
    pub altered: Vec<String>,
    /// Systems whose limits are others.
    pub systems_changed: Vec<String>,
    /// Deliveries that lose their route or destination by it.
    pub orphans: Vec<Unsettled>,
    /// What becomes of those.
    pub orphans_are: Option<Orphans>,
    /// Deliveries that had lost theirs before, and stay.
    pub orphans_before: u64,
    /// Keys whose new values count from the next start.
    pub needs_restart: Vec<&'static str>,
    /// What is remarkable in it.
    pub warnings: Vec<String>,
}

/// Why the configuration in force stays as it is.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The new one is wrong: every mistake.
    Wrong(Vec<String>),
    /// It leaves deliveries without a way, and it was not said what becomes of them.
    Orphans(Vec<Unsettled>),
    /// The store cannot keep it.
    Store(StoreError),
    /// The gateway is stopping.
    Stopping,
    /// There is no file to read again.
    NoFile,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wrong(problems) => {
                write!(f, "the configuration is wrong; the one in force stays:\n{}", problems.join("\n"))
            }
            Self::Orphans(orphans) => {
                let count: u64 = orphans.iter().map(|orphan| orphan.count).sum();
                let plural = if count == 1 { "1 delivery" } else { &format!("{count} deliveries") };
                write!(f, "the configuration would leave {plural} without route or destination ({})", said(orphans))?;
                f.write_str("; say --orphans keep or --orphans discard (orphans in the API); the one in force stays")
            }
            Self::Store(error) => write!(f, "the configuration in force stays: {error}"),
            Self::Stopping => f.write_str("the gateway is stopping"),
            Self::NoFile => f.write_str("this gateway was not started from a configuration file"),
        }
    }
}

/// Orphans in words.
#[must_use]
pub fn said(orphans: &[Unsettled]) -> String {
    let one =
        |orphan: &Unsettled| format!("route {} to {}: {}", orphan.way.route, orphan.way.destination, orphan.count);
    let shown = orphans.iter().take(10).map(one).collect::<Vec<_>>().join(", ");
    if orphans.len() > 10 { format!("{shown}, and {} more", orphans.len() - 10) } else { shown }
}

/// Which configuration is in force, and how it came to be.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ConfigurationStanding)]
pub struct Standing {
    /// Version, since when, by what, why.
    #[serde(flatten)]
    pub taken: TakenConfig,
    /// The file.
    pub path: Option<String>,
    /// Keys whose values in the file count from the next start.
    pub needs_restart: Vec<&'static str>,
    /// The last reload, when it failed.
    pub last_failed: Option<Failed>,
}

/// A reload that failed.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = FailedReload)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Who wanted it.
    pub by: TakenBy,
    /// Why, in words.
    pub error: String,
}

/// How the files on disk differ from what is in force.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Files that are gone, or hold something else.
    pub files: Vec<String>,
    /// When the latest of them was written, as its file system says; none when all are gone.
    pub at: Option<Timestamp>,
    /// Whether they are watched, and taken without being asked for.
    pub is_watched: bool,
}

/// What reads the configuration again.
pub trait Reload: Send + Sync {
    /// Checks the new configuration whole and takes it, or leaves everything as it is.
    fn reload(&self, order: Order) -> BoxFuture<'_, Result<Reloaded, Refusal>>;
    /// Which configuration is in force.
    fn standing(&self) -> Standing;
    /// What the files of the configuration in force hold now.
    fn changed(&self) -> BoxFuture<'_, Changed>;
}

/// The body of a reload.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reload)]
pub(super) struct Wanted {
    orphans: Option<Orphans>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    reason: String,
}

/// Reads the configuration again.
#[utoipa::path(post, path = "/api/v1/reload", request_body = Wanted, responses((status = 200, body = Reloaded)))]
pub(super) async fn reload(admin: web::Data<Admin>, person: Person, wanted: Body<Wanted>) -> HttpResponse {
    let Wanted { orphans, dry_run, reason } = wanted.into_inner();
    if reason.len() > api::REASON_BYTES_MAX {
        return api::problem(400, "the reason is too long");
    }
    let by = By { who: person.0.clone(), reason: reason.clone() };
    let order = Order { by: TakenBy::Api, person: person.0, orphans, dry_run, reason };
    let version = || admin.reload.as_ref().map(|reloader| format!("version {}", reloader.standing().taken.version.0));
    let was = version().unwrap_or_default();
    let result = match &admin.reload {
        Some(reloader) => reloader.reload(order).await,
        None => Err(Refusal::NoFile),
    };
    if !dry_run {
        let result = match &result {
            Ok(reloaded) if reloaded.changed => "taken".to_owned(),
            Ok(_) => "nothing changed".to_owned(),
            Err(refusal) => shown(&refusal.to_string()),
        };
        let became = version().unwrap_or_default();
        let deed = Deed { verb: "reload".to_owned(), object: "configuration", was, became, ..admin.deed(by, &result) };
        admin.note(deed).await;
    }
    match result {
        Ok(reloaded) => HttpResponse::Ok().json(reloaded),
        Err(refusal) => refused(&refusal),
    }
}

/// A refusal as the audit log has it: all of it, unless it is very long.
fn shown(refusal: &str) -> String {
    let lines: Vec<&str> = refusal.lines().take(AUDIT_LINES_MAX).collect();
    let left = refusal.lines().count() - lines.len();
    let mut text = format!("refused: {}", lines.join("\n"));
    if left > 0 {
        text = format!("{text}\n(and {left} more)");
    }
    text
}

/// The problem, with the mistakes or the orphans one by one beside the words.
pub(super) fn refused(refusal: &Refusal) -> HttpResponse {
    let (status, key, list) = match refusal {
        Refusal::Wrong(problems) => (StatusCode::UNPROCESSABLE_ENTITY, "problems", json!(problems)),
        Refusal::Orphans(orphans) => (StatusCode::CONFLICT, "orphans", json!(orphans)),
        Refusal::Store(error) => return api::from_store(error),
        Refusal::Stopping => return api::problem(503, &refusal.to_string()),
        Refusal::NoFile => return api::problem(404, &refusal.to_string()),
    };
    let title = status.canonical_reason();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": refusal.to_string(), key: list,
    });
    HttpResponse::build(status).insert_header((CONTENT_TYPE, "application/problem+json")).body(body.to_string())
}

/// Which configuration is in force, what it leaves without a way, and what was in force before.
#[utoipa::path(get, path = "/api/v1/config", responses((status = 200, body = answers::Configuration), (status = 404)))]
pub(super) async fn config(admin: web::Data<Admin>) -> HttpResponse {
    let Some(reloader) = &admin.reload else { return api::problem(404, &Refusal::NoFile.to_string()) };
    let standing = reloader.standing();
    let (unsettled, history) = match (admin.store.unsettled().await, admin.store.taken_configs(HISTORY).await) {
        (Ok(unsettled), Ok(history)) => (unsettled, history),
        (Err(error), _) | (_, Err(error)) => return api::from_store(&error),
    };
    let is_orphan = |found: &Unsettled| {
        let way = &found.way;
        !admin.dispatch.knows(&way.route, &way.destination, &way.system).is_served()
    };
    let orphans: Vec<Unsettled> = unsettled.into_iter().filter(is_orphan).collect();
    let mut body = json!(standing);
    if let Some(body) = body.as_object_mut() {
        body.insert("orphans".to_owned(), json!(orphans));
        body.insert("history".to_owned(), json!(history));
        let Changed { files, at, is_watched } = reloader.changed().await;
        body.insert("changed_files".to_owned(), json!(files));
        body.insert("changed_at".to_owned(), json!(at));
        body.insert("watched".to_owned(), json!(is_watched));
    }
    HttpResponse::Ok().json(body)
}
