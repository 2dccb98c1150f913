//! A changing call that comes again under the same key is answered as it was, and not done again.
//!
//! The answers are kept in memory, within bounds, and are gone when the gateway stops; what a call does is guarded by the
//! states of what it changes besides. A call under a key goes on when whoever made it is gone, so that its answer is there
//! when it is asked for again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, web};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::admin::access::{Caller, Who};
use crate::admin::{Admin, api, body};

/// The header that names a call.
pub(super) const KEY: &str = "idempotency-key";
/// The header of an answer that was given before.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// So long an answer is kept.
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// So many are kept; the oldest gives way.
const KEYS_MAX: usize = 10_000;
/// So large may they be together, keys included.
const BYTES_MAX: usize = 64 << 20;
/// The longest key.
pub(super) const KEY_BYTES_MAX: usize = 128;

/// Who calls, and the key that was given.
type Name = (Who, String);

/// The answers to calls that had a key.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_name: HashMap<Name, Call>,
    /// Those that were answered, the oldest first.
    by_age: BTreeMap<u64, Name>,
    answered: u64,
    bytes: usize,
}

/// A call that has a key.
#[derive(Debug)]
struct Call {
    /// Hash of its method, address and body.
    what: [u8; 32],
    /// None while it is under way.
    answer: Option<Answered>,
}

#[derive(Debug)]
struct Answered {
    at: Duration,
    answer: Answer,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

/// What is known of a call before it is done.
#[derive(Debug)]
enum Before<'a> {
    /// Nothing: it is to be done, and its answer to be kept.
    Nothing(Turn<'a>),
    /// It was answered.
    Answered(Answer),
    /// It is under way.
    UnderWay,
    /// The key belongs to another call.
    Another,
}

/// The right to do a call; when it ends without an answer, the key is free again.
#[derive(Debug)]
struct Turn<'a> {
    answers: &'a Answers,
    name: Name,
}

impl Answers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call, unless it was begun.
    fn begin(&self, name: Name, what: [u8; 32], now: Duration) -> Before<'_> {
        let mut kept = self.kept();
        kept.forget_old(now);
        match kept.by_name.get(&name) {
            Some(call) if call.what != what => Before::Another,
            Some(Call { answer: Some(answered), .. }) => Before::Answered(answered.answer.clone()),
            Some(Call { answer: None, .. }) => Before::UnderWay,
            None => {
                kept.by_name.insert(name.clone(), Call { what, answer: None });
                Before::Nothing(Turn { answers: self, name })
            }
        }
    }
}

impl Turn<'_> {
    /// Keeps the answer.
    fn keep(self, answer: Answer, now: Duration) {
        let mut kept = self.answers.kept();
        kept.answered += 1;
        let place = kept.answered;
        kept.bytes += size(&self.name, &answer);
        if let Some(call) = kept.by_name.get_mut(&self.name) {
            call.answer = Some(Answered { at: now, answer });
        }
        kept.by_age.insert(place, self.name.clone());
        while kept.by_age.len() > KEYS_MAX || kept.bytes > BYTES_MAX {
            kept.forget_oldest();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut kept = self.answers.kept();
        if kept.by_name.get(&self.name).is_some_and(|call| call.answer.is_none()) {
            kept.by_name.remove(&self.name);
        }
    }
}

impl Kept {
    fn forget_old(&mut self, now: Duration) {
        while let Some((_, name)) = self.by_age.first_key_value() {
            let answered = self.by_name.get(name).and_then(|call| call.answer.as_ref());
            if answered.is_some_and(|answered| now.saturating_sub(answered.at) < AGE_MAX) {
                return;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, name)) = self.by_age.pop_first() else { return };
        if let Some(Call { answer: Some(answered), .. }) = self.by_name.remove(&name) {
            self.bytes = self.bytes.saturating_sub(size(&name, &answered.answer));
        }
    }
}

fn size((_, key): &Name, answer: &Answer) -> usize {
    key.len() + answer.body.len()
}

/// Does a call that has a key once.
pub(super) async fn once(
    admin: web::Data<Admin>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(key) = request.headers().get(KEY).filter(|_| request.method() == Method::POST).cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let key = match named(&key) {
        Ok(key) => key,
        Err(reason) => return Ok(request.into_response(api::problem(400, &reason))),
    };
    let headers = request.headers().clone();
    let body = match body::read(&headers, request.take_payload()).await {
        Ok(body) => body,
        Err(answer) => return Ok(request.into_response(answer)),
    };
    let who = request.extensions().get::<Caller>().map(|caller| caller.who.clone()).unwrap_or_default();
    let what = what(&request, &body);
    // Goes on when whoever made the call is gone: a call that broke off would be neither done nor answered.
    let done = actix_web::rt::spawn(async move {
        let turn = match admin.answers.begin((who, key), what, admin.clock.monotonic()) {
            Before::Nothing(turn) => turn,
            Before::Answered(answer) => return Ok(request.into_response(again(&answer))),
            Before::UnderWay => return Ok(request.into_response(api::problem(409, UNDER_WAY))),
            Before::Another => return Ok(request.into_response(api::problem(422, ANOTHER))),
        };
        request.set_payload(Payload::from(body));
        let (request, response) = next.call(request).await?.into_parts();
        let (head, body) = response.into_parts();
        let Ok(body) = to_bytes(body).await else {
            return Ok(ServiceResponse::new(request, api::problem(500, "the answer could not be made")));
        };
        // What could not be done now may be done the next time.
        if !head.status().is_server_error() {
            let content_type = head.headers().get(CONTENT_TYPE).cloned();
            let answer = Answer { status: head.status(), content_type, body: body.clone() };
            turn.keep(answer, admin.clock.monotonic());
        }
        Ok(ServiceResponse::new(request, head.set_body(body).map_into_boxed_body()))
    });
    done.await.unwrap_or_else(|error| Err(actix_web::error::ErrorInternalServerError(error)))
}

const UNDER_WAY: &str =
    "the first call under this Idempotency-Key is under way; ask again, under the same key, when it has ended";
const ANOTHER: &str =
    "this Idempotency-Key was given to another call: another address or another body; give each call a key of its own";

/// The key, when it is one.
fn named(key: &HeaderValue) -> Result<String, String> {
    let is_fine =
        |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let fine = key.to_str().ok().filter(is_fine);
    fine.map(str::to_owned).ok_or_else(|| {
        format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} printable ASCII characters, such as a UUID")
    })
}

fn what(request: &ServiceRequest, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [request.method().as_str().as_bytes(), request.uri().to_string().as_bytes(), body] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// An answer that was given before.
fn again(answer: &Answer) -> HttpResponse {
    let mut response = HttpResponse::build(answer.status);
    response.insert_header((HeaderName::from_static(REPLAYED), HeaderValue::from_static("true")));
    if let Some(content_type) = &answer.content_type {
        response.insert_header((CONTENT_TYPE, content_type.clone()));
    }
    response.body(answer.body.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        (Who::Machine, key.to_owned())
    }

    fn answer(body: &str) -> Answer {
        Answer { status: StatusCode::OK, content_type: None, body: Bytes::from(body.to_owned()) }
    }

    fn turn<'a>(answers: &'a Answers, name: Name, what: [u8; 32], now: Duration) -> Turn<'a> {
        match answers.begin(name, what, now) {
            Before::Nothing(turn) => turn,
            other @ (Before::Answered(_) | Before::UnderWay | Before::Another) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_is_done_once_and_answered_again_for_a_day() {
        let (answers, hour) = (Answers::default(), Duration::from_secs(3_600));
        let first = turn(&answers, name("a"), [1; 32], hour);
        assert!(matches!(answers.begin(name("a"), [1; 32], hour), Before::UnderWay));
        assert!(matches!(answers.begin(name("a"), [2; 32], hour), Before::Another));
        first.keep(answer("done"), hour);
        for (key, what, now) in [("a", [1; 32], hour), ("a", [1; 32], hour * 24)] {
            assert!(matches!(answers.begin(name(key), what, now), Before::Answered(kept) if kept == answer("done")));
        }
        assert!(matches!(answers.begin(name("a"), [2; 32], hour), Before::Another));
        let other = (Who::Token("ci".to_owned()), "a".to_owned());
        drop(turn(&answers, other, [3; 32], hour));
        drop(turn(&answers, name("a"), [1; 32], hour * 25));
    }

    #[test]
    fn a_call_that_ended_without_an_answer_may_be_made_again() {
        let answers = Answers::default();
        drop(turn(&answers, name("a"), [1; 32], Duration::ZERO));
        drop(turn(&answers, name("a"), [2; 32], Duration::ZERO));
        assert!(answers.kept().by_name.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_and_the_oldest_gives_way() {
        let answers = Answers::default();
        for number in 0..KEYS_MAX + 5 {
            turn(&answers, name(&number.to_string()), [1; 32], Duration::ZERO).keep(answer("x"), Duration::ZERO);
        }
        assert_eq!(answers.kept().by_name.len(), KEYS_MAX);
        assert!(matches!(answers.begin(name("5"), [1; 32], Duration::ZERO), Before::Answered(_)));
        drop(turn(&answers, name("4"), [1; 32], Duration::ZERO));
        let large = "x".repeat(BYTES_MAX / 2);
        for key in ["large", "larger"] {
            turn(&answers, name(key), [1; 32], Duration::ZERO).keep(answer(&large), Duration::ZERO);
        }
        let kept = answers.kept();
        assert_eq!((kept.by_name.len(), kept.by_age.len()), (1, 1));
        assert!(kept.bytes <= BYTES_MAX, "{}", kept.bytes);
        drop(kept);
        let too_large = answer(&"x".repeat(BYTES_MAX + 1));
        turn(&answers, name("huge"), [1; 32], Duration::ZERO).keep(too_large, Duration::ZERO);
        let kept = answers.kept();
        assert_eq!((kept.bytes, kept.by_name.len()), (0, 0));
    }

    #[test]
    fn a_key_is_short_printable_ascii() {
        for (key, is_fine) in [
            ("5b0c9b0e-53f2-4d0c-8f6c-0a3a1b7f2d10", true),
            ("", false),
            ("a b", true),
            ("ä", false),
            (&"x".repeat(128), true),
            (&"x".repeat(129), false),
        ] {
            let value = HeaderValue::from_bytes(key.as_bytes()).unwrap();
            assert_eq!(named(&value).is_ok(), is_fine, "{key:?}");
        }
    }
}
