//! One exchange with the credentials that it takes: what asks for them is answered, and is no outcome yet.

use std::sync::Arc;

use reqwest::header::{self, HeaderValue};
use reqwest::tls::TlsInfo;
use reqwest::{Method, Request, Url};

use super::auth::digest::Digest;
use super::auth::ntlm::{self, Ntlm};
use super::auth::oauth::{OAuth, Token, TokenError};
use super::auth::{Added, Outgoing, Ready};
use super::{Departure, Failure, Target, chain, place, read, request, whole};
use crate::call::Call;
use crate::certificate;
use crate::outcome::Response;

/// What stands for a token wherever an answer repeats it.
const HIDDEN_TOKEN: &str = "${token}";

/// Adds the destination's credentials and makes the call; again where an answer asks for others. Only the last answer is one
/// to the call: those before it were refusals to look at it.
pub(super) async fn exchange(target: &Target, call: &Call, left: &Departure) -> Result<Response, Failure> {
    match &target.credentials {
        Ready::None => once(target, call, left, &|_| Ok(Added::new())).await,
        Ready::Fixed(name, value) => once(target, call, left, &|_| Ok(vec![(name.clone(), value.clone())])).await,
        Ready::Signed(webhook) => {
            let now = target.freshness.clock.now();
            once(target, call, left, &|outgoing| webhook.added(outgoing, now)).await
        }
        Ready::Digest(digest) => digested(target, call, left, digest).await,
        Ready::Token(oauth) => with_token(target, call, left, oauth).await,
        Ready::Ntlm(ntlm) => negotiated(target, call, left, ntlm).await,
    }
}

/// What credentials make of a request that is about to leave.
type Adds<'a> = &'a (dyn Fn(&Outgoing<'_>) -> Result<Added, String> + Send + Sync);

async fn once(target: &Target, call: &Call, left: &Departure, adds: Adds<'_>) -> Result<Response, Failure> {
    let request = request(target, call, left, adds).map_err(Failure::NotMade)?;
    read(target, &target.client, request, target.response_bytes_max).await
}

/// RFC 7616: the first 401 tells what is asked for; one more that calls the answer stale is answered too. What was asked
/// for last is answered without being asked again.
async fn digested(target: &Target, call: &Call, left: &Departure, digest: &Arc<Digest>) -> Result<Response, Failure> {
    let mut answers = 0;
    loop {
        let cnonce = random_hex(target).map_err(Failure::NotMade)?;
        let response = once(target, call, left, &|outgoing| digest.added(outgoing, &cnonce)).await?;
        let Ok(url) = Url::parse(&call.url.reveal()) else { return Ok(response) };
        match digest.learn(&url, &response) {
            Some(stale) if answers == 0 || (answers == 1 && stale) => answers += 1,
            Some(_) | None => return Ok(response),
        }
    }
}

/// Asks for a challenge without a body, and answers it with the whole call, both over one connection: the server knows who
/// calls by the connection. It is the call's own, so no other call meets it between the two.
async fn negotiated(target: &Target, call: &Call, left: &Departure, ntlm: &Ntlm) -> Result<Response, Failure> {
    let client = target.blueprint.pinned().map_err(Failure::NotMade)?;
    let header = Ntlm::asks().map_err(Failure::NotMade)?;
    let mut first = request(target, call, left, &|_| Ok(authorized(&header))).map_err(Failure::NotMade)?;
    left.took_back();
    *first.body_mut() = None;
    first.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(0));
    let answer = client.execute(first).await.map_err(Failure::Request)?;
    let shown = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
    let binding = shown.map(certificate::end_point).transpose().map_err(Failure::NotMade)?;
    let response = whole(answer, target.response_bytes_max).await?;
    if response.status != 401 {
        let place = place(&call.url);
        let reason = format!(
            "{place} answered {} to a request without a body, and did not ask who calls: it takes no NTLM there",
            response.status
        );
        return Err(Failure::NotMade(reason));
    }
    let Some(challenge) = ntlm::challenge(&response) else { return Ok(response) };
    let nonce = (target.freshness.nonces)().and_then(|nonce| nonce.first_chunk().copied());
    let nonce = nonce.ok_or_else(|| Failure::NotMade("the machine gives no random bytes for a nonce".to_owned()))?;
    let now = target.freshness.clock.now();
    let header = ntlm.answers(&challenge, now, nonce, binding.as_deref()).map_err(Failure::NotMade)?;
    let second = request(target, call, left, &|_| Ok(authorized(&header))).map_err(Failure::NotMade)?;
    read(target, &client, second, target.response_bytes_max).await
}

fn authorized(header: &HeaderValue) -> Added {
    vec![(header::AUTHORIZATION, header.clone())]
}

/// A token that the destination refuses is thrown away, and one more is fetched.
async fn with_token(target: &Target, call: &Call, left: &Departure, oauth: &Arc<OAuth>) -> Result<Response, Failure> {
    let token = left.credentials(oauth.token(target, None)).await?;
    let response = once(target, call, left, &|_| Ok(bearing(&token))).await?;
    if response.status != 401 {
        return Ok(without(response, &token));
    }
    left.took_back();
    let token = left.credentials(oauth.token(target, Some(&token))).await?;
    let response = once(target, call, left, &|_| Ok(bearing(&token))).await?;
    Ok(without(response, &token))
}

fn bearing(token: &Token) -> Added {
    vec![(header::AUTHORIZATION, token.header.clone())]
}

/// The answer without the token, which no configuration knows and no mask hides.
fn without(mut response: Response, token: &Token) -> Response {
    for (_, value) in &mut response.headers {
        if value.contains(&token.text) {
            *value = value.replace(&token.text, HIDDEN_TOKEN);
        }
    }
    let finder = memchr::memmem::Finder::new(&token.text);
    if finder.find(&response.body).is_some() {
        let mut body = Vec::new();
        let mut rest = &response.body[..];
        while let Some(at) = finder.find(rest) {
            body.extend_from_slice(rest.get(..at).unwrap_or_default());
            body.extend_from_slice(HIDDEN_TOKEN.as_bytes());
            rest = rest.get(at + token.text.len()..).unwrap_or_default();
        }
        body.extend_from_slice(rest);
        response.body = body.into();
    }
    response
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotNow(reason) => Self::NoCredentials { reason, is_refused: false },
            TokenError::Refused(reason) => Self::NoCredentials { reason, is_refused: true },
        }
    }
}

fn random_hex(target: &Target) -> Result<String, String> {
    super::random_hex(&target.freshness.nonces)
}

/// A request to whoever vouches for others: a token endpoint, a provider of logins.
pub(super) struct Asked {
    pub(super) url: Url,
    pub(super) authorization: Option<HeaderValue>,
    /// `application/x-www-form-urlencoded`; none: something is looked at.
    pub(super) form: Option<String>,
}

/// Asks, over the target's own connection.
pub(super) async fn ask(target: &Target, asked: Asked, answer_bytes_max: usize) -> Result<Response, String> {
    target.gate.admit(&asked.url).map_err(|refusal| refusal.to_string())?;
    let method = if asked.form.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::new(method, asked.url);
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(authorization) = asked.authorization {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    if let Some(form) = asked.form {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.into());
    }
    read(target, &target.client, request, answer_bytes_max).await.map_err(|failure| match failure {
        Failure::Request(error) | Failure::Body(_, error) => chain(&error),
        Failure::Timeout(_) => "it took too long".to_owned(),
        #[cfg(feature = "legacy-tls")]
        Failure::Broken(words) => words,
        Failure::Words(words) | Failure::NotMade(words) | Failure::NoCredentials { reason: words, .. } => words,
    })
}
