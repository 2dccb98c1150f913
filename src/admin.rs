//! What people see: the API, the metrics, health, and a page.
//!
//! On loopback and without accounts it is open to the machine; otherwise people log in, and [`access`] says what each
//! address needs of them. Strangers' web pages are kept out: where all is open the Host must be a loopback name (against
//! DNS rebinding), and changing calls must be JSON, or our own form, from the same origin (against CSRF).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpMessage, HttpResponse, web};
use tracing::Instrument as _;

use crate::clock::{SharedClock, Timestamp};
use crate::delivery::Planned;
use crate::dispatch::Dispatch;
use crate::facts::Considered;
use crate::store::{By, Deed, Edit, Edits, Store, StoreError, StoreResult, StoredNotification};
use crate::telemetry::{Alarms, Metrics, RequestId};

pub mod access;
mod adopt;
pub mod alarms;
mod api;
mod aside;
mod body;
mod day;
pub mod book;
mod bulk;
pub mod certificate;
mod entry;
mod failing;
mod find;
mod idempotency;
mod keep;
mod lanes;
mod lists;
mod login;
mod masked;
mod metrics;
pub mod moving;
mod names;
mod needs;
mod number;
pub mod oidc;
mod openapi;
mod outlook;
mod proposal;
pub mod rekey;
pub mod reload;
mod person;
mod question;
mod replay;
mod reroute;
pub mod sample;
mod series;
mod session;
mod throttle;
mod token;
mod unended;
mod unwritten;
mod views;
mod ui;
mod way;
pub mod what_if;
pub mod workbench;

pub use bulk::{Found as FoundIssues, Jobs};
pub use entry::{Door, Entry};
pub use failing::Found as FoundFailing;
pub use idempotency::Answers;
pub use keep::{ABSENCE_ALARM, Keep, Terms};
pub use proposal::Proposals;
pub use unwritten::Unwritten;

/// By which the lines of the log about a request are found.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest form: a name, a password, and what makes it ours.
const FORM_BYTES_MAX: usize = 16 << 10;

/// The deliveries that the routes make of a stored notification now; or why none can be made.
pub type Replan = Box<dyn Fn(&StoredNotification) -> Result<Vec<Planned>, String> + Send + Sync>;

/// The delivery that one route makes of a stored notification now; or why it makes none.
pub type PlanTo = Box<dyn Fn(&StoredNotification, &str) -> Result<Planned, String> + Send + Sync>;

/// Edited content; or what is wrong with it.
pub type Editor = Box<dyn Fn(&StoredNotification, &Edits) -> Result<Edit, String> + Send + Sync>;

/// What the configuration in force makes of a stored notification, route by route; or why it cannot be said.
pub type Consider = Box<dyn Fn(&StoredNotification) -> Result<Considered, String> + Send + Sync>;

/// Whether a source takes an organization; none when there is no such source.
pub type Takes = Box<dyn Fn(&str, &str) -> Option<bool> + Send + Sync>;

/// Whether the source of a stored notification takes its organization and outbound message; or why not.
pub type Admits = Box<dyn Fn(&StoredNotification) -> Result<(), String> + Send + Sync>;

/// What the public listener serves and trusts, and whose certificates it refused.
pub type EdgeShown = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the admin listener shows and changes.
pub struct Admin {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The way out.
    pub dispatch: Arc<Dispatch>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Alarms.
    pub alarms: Arc<Alarms>,
    /// Time.
    pub clock: SharedClock,
    /// Since when it shows and changes things: what began before has nobody here who ends it.
    pub since: Timestamp,
    /// Set once the gateway stops: it is no longer ready.
    pub closing: Arc<AtomicBool>,
    /// Changes of many deliveries that are under way.
    pub jobs: Jobs,
    /// Entries of the audit log that could not be written yet.
    pub unwritten: Unwritten,
    /// The issues as they were found last.
    pub issues: FoundIssues,
    /// The deliveries that fail again and again, as they were found last.
    pub failing: FoundFailing,
    /// Edits that wait for a second person.
    pub proposals: Proposals,
    /// What the routes make now of a stored notification.
    pub plan: Replan,
    /// What one route, named by itself or by its destination, makes now of a stored notification.
    pub plan_to: PlanTo,
    /// The content of a stored notification as a person wants it.
    pub edit: Editor,
    /// What the routes make of a stored notification, and why some make nothing.
    pub consider: Consider,
    /// Whether a source takes an organization.
    pub takes: Takes,
    /// Whether the source of a stored notification takes it.
    pub admits: Admits,
    /// The certificates of the public listener, and those that it refused.
    pub edge: EdgeShown,
    /// Where this machine listens for Salesforce: scheme and address.
    pub public: String,
    /// What a configuration would make of a message.
    pub trial: workbench::Try,
    /// What another configuration would make other of what is stored.
    pub what_if: what_if::WhatIf,
    /// Takes an envelope as if it had been posted.
    pub take: sample::Take,
    /// Looks at a destination from here; none where nobody can.
    pub probe: Option<book::Probe>,
    /// What reads the configuration again; none where there is no file.
    pub reload: Option<Arc<dyn reload::Reload>>,
    /// What moves the store; none where there is only one.
    pub moving: Option<Arc<dyn moving::Move>>,
    /// Who tells of alarms; none where nobody is told.
    pub herald: Option<Arc<dyn alarms::Herald>>,
    /// Who may come in.
    pub entry: Entry,
    /// What was answered to calls that may come again.
    pub answers: Answers,
    /// How long things are kept, which sources may be silent how long, the backup under way.
    pub keep: Keep,
}

impl Admin {
    /// Writes into the audit log what a person did, and in the log when that cannot be done. What it did stays done.
    pub async fn audit(&self, by: By, verb: &str, object: (&'static str, &str), count: u64, result: &str) {
        let (verb, object_id) = (verb.to_owned(), object.1.to_owned());
        self.note(Deed { verb, object: object.0, object_id, count, ..self.deed(by, result) }).await;
    }

    /// Writes into the audit log that a person has something begun, of which an entry tells later what came of it. It must not
    /// be begun before this is durable: the gateway may be killed at any moment.
    ///
    /// # Errors
    /// When it cannot be written: then nothing may be begun.
    async fn begun(
        &self,
        by: By,
        verb: &str,
        object: (&'static str, &str),
        count: u64,
        result: &str,
    ) -> StoreResult<()> {
        let nothing = |reason: String| {
            StoreError::Unavailable(format!(
                "{reason}; nothing was begun, for the audit log must have it first: try again"
            ))
        };
        // One that came before must stand before it.
        if !self.unwritten.is_empty() {
            return Err(nothing("the audit log lacks entries of before still".to_owned()));
        }
        let (verb, object_id) = (verb.to_owned(), object.1.to_owned());
        let deed = Deed { verb, object: object.0, object_id, count, ..self.deed(by, result) };
        self.store.audit(deed).await.map(drop).map_err(|error| match error {
            StoreError::Closed => StoreError::Closed,
            StoreError::Unavailable(reason) => nothing(reason),
            error @ (StoreError::Overloaded
            | StoreError::Refused(_)
            | StoreError::NotFound(_)
            | StoreError::Conflict(_)
            | StoreError::LeaseLost) => nothing(error.to_string()),
        })
    }

    /// An entry about something that somebody did now, once.
    fn deed(&self, by: By, result: &str) -> Deed {
        Deed { at: self.clock.now(), by, count: 1, result: result.to_owned(), ..Deed::default() }
    }

    /// Writes an entry. When that cannot be done, it says what it is into the log, and tries again until it can.
    async fn note(&self, deed: Deed) {
        // One that came before must stand before it.
        let is_first = self.unwritten.is_empty();
        let result =
            if is_first { self.store.audit(deed.clone()).await.map(drop) } else { Err(StoreError::Overloaded) };
        let Err(error) = result else { return };
        let Deed { by: By { who, reason }, verb, object, object_id, count, result, .. } = deed.clone();
        tracing::error!(who, verb, object, object_id, count, reason, result, %error, "no entry in the audit log yet");
        self.unwritten.keep(deed, &self.store);
    }
}

/// Registers the admin listener's services.
pub fn configure(config: &mut web::ServiceConfig, admin: Arc<Admin>) {
    config.app_data(web::Data::from(admin)).service(
        web::scope("")
            .wrap(from_fn(guard))
            .configure(ui::configure)
            .route("/login", web::get().to(login::page))
            .route("/login", web::post().to(login::login))
            .route("/login/oidc", web::get().to(oidc::begin))
            .route("/login/oidc/back", web::get().to(oidc::back))
            .route("/logout", web::post().to(login::logout))
            .route("/livez", web::get().to(metrics::livez))
            .route("/readyz", web::get().to(metrics::readyz))
            .route("/metrics", web::get().to(metrics::metrics))
            .service(
                web::scope("/api/v1")
                    .wrap(from_fn(idempotency::once))
                    .wrap(from_fn(question::refuse_unasked))
                    .configure(api::configure),
            )
            .app_data(web::FormConfig::default().limit(FORM_BYTES_MAX))
            .default_service(web::to(nothing)),
    );
}

/// Does what was asked for to its end, also when whoever asked goes away.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = StoreResult<T>> + Send + 'static) -> StoreResult<T> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|_| Err(StoreError::Refused("it broke off".to_owned())))
}

async fn nothing() -> HttpResponse {
    api::problem(404, "there is nothing at this address")
}

/// Lets in who may come in, and gives every answer the headers that it must have.
async fn guard(
    admin: web::Data<Admin>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let door = admin.entry.door;
    let id = RequestId::default();
    let handled = async {
        Ok::<_, actix_web::Error>(match entry::admit(&admin, &request).await {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.call(request).await?.map_into_left_body()
            }
            Err(response) => request.into_response(response).map_into_right_body(),
        })
    };
    let mut response = handled.instrument(id.span()).await?.map_into_boxed_body();
    if ui::is_page(response.request().path()) && ui::is_bare_error(response.response()) {
        let (request, bare) = response.into_parts();
        response = ServiceResponse::new(request, ui::error_page(bare).await);
    }
    entry::harden(response.headers_mut(), door);
    if let Ok(id) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}
