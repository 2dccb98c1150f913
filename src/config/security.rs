//! `security` of a SOAP destination: its WS-Security header.

use std::time::Duration;

use self::signature::Beside;
use super::read::{Field, Section};
use crate::soap::security::{Order, PasswordForm, Security, UsernameToken};

mod signature;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a message is good by default: what most servers take at most.
const TTL: Duration = Duration::from_secs(300);

/// Reads the table; what is wrong in it alone is reported.
pub(super) fn security(section: Section<'_, '_>) -> Option<Field<Security>> {
    let token = token(&section);
    let has_signature = section.has("signature");
    let has_timestamp = section.boolean("timestamp").unwrap_or(has_signature);
    let beside = Beside { timestamp: has_timestamp, username: section.has("username") };
    let signature = section.section("signature").and_then(|table| signature::signature(table, &beside));
    let ttl = section.duration("ttl", SECOND..=24 * HOUR);
    if let Some(ttl) = &ttl
        && !has_timestamp
    {
        section.desk.error(&ttl.spot, "has no effect without timestamp = true");
    }
    let orders = [("timestamp-first", Order::TimestampFirst), ("username-first", Order::UsernameFirst)];
    let order = section.choice("order", &orders).map(|field| field.value).unwrap_or_default();
    let must_understand = section.boolean("must_understand").unwrap_or(true);
    let actor = section.plain("actor").map(|field| field.value);
    let clock_skew = section.duration("clock_skew", Duration::ZERO..=HOUR).map_or(Duration::ZERO, |field| field.value);
    let spot = section.spot.clone();
    section.finish();
    let ttl = has_timestamp.then(|| ttl.map_or(TTL, |field| field.value));
    if has_signature && signature.is_none() {
        return None;
    }
    let value = Security { token: token.ok()?, ttl, signature, order, must_understand, actor, clock_skew };
    Some(Field { value, spot })
}

/// The token; none when there is to be none. What is wrong was reported.
fn token(section: &Section<'_, '_>) -> Result<Option<UsernameToken>, ()> {
    let (username, password) = (section.text("username"), section.text("password"));
    let forms = [("text", PasswordForm::Text), ("digest", PasswordForm::Digest)];
    let form = section.choice("password_type", &forms);
    let nonce = section.boolean("nonce");
    if !section.has("username") {
        let given = ["password", "password_type", "nonce"].into_iter().find(|key| section.has(key));
        if let Some(key) = given {
            section.desk.error(&section.spot_of(key), "has no effect without username");
        }
        return if given.is_some() { Err(()) } else { Ok(None) };
    }
    if !section.has("password") {
        section.desk.error(&section.spot, "key `password` is missing");
    }
    let form = form.map_or(PasswordForm::Text, |field| field.value);
    if nonce == Some(false) && form == PasswordForm::Digest {
        section.desk.error(&section.spot_of("nonce"), "a digest is made with a nonce; leave nonce out");
    }
    let (username, password) = (username.ok_or(())?, password.ok_or(())?);
    if password.value.is_plain() {
        let reason = "stands in clear; write ${NAME} or ${file:PATH}, so that it is never stored or shown";
        section.desk.warning(&password.spot, reason);
    }
    let nonce = nonce.unwrap_or(false);
    Ok(Some(UsernameToken { username: username.value, password: password.value, form, nonce }))
}
