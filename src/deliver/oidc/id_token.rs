//! ID tokens (OIDC Core §3.1.3.7): a signed text → what the provider says of a person, or why it does not count.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json};

use super::quoted;

/// How far the provider's clock may be from ours.
const SKEW_SECONDS: f64 = 60.0;
/// So many keys of a provider are looked at.
const KEYS_MAX: usize = 100;
/// The two coordinates of a point of P-256 are this long.
const COORDINATE_BYTES: usize = 32;
/// A point that is written in full begins with this.
const UNCOMPRESSED: u8 = 4;

/// What a provider signs with.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
}

/// The signatures that are taken. Whatever else a token names, `none` above all, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No key that is known here made its signature: the provider may have new ones.
    Key(String),
    /// It is wrong whatever the keys are.
    Wrong(String),
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// In seconds since 1970.
    pub(super) now: f64,
}

impl Keys {
    /// Those of a JSON Web Key Set (RFC 7517) that could sign a token; others are passed by.
    pub(super) fn read(document: &Json) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(KEYS_MAX).filter_map(Key::read).collect()))
    }

    /// Those that could have made a signature.
    fn of(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let named = |key: &&Key| id.is_none() || key.id.as_deref() == id;
        self.0.iter().filter(named).filter(|key| key.algorithm() == algorithm).collect()
    }
}

impl Key {
    fn read(document: &Json) -> Option<Self> {
        let text = |name: &str| document.get(name).and_then(Json::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |name: &str| text(name).and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
        let public = match text("kty")? {
            "RSA" => Public::Rsa { n: without_zeros(bytes("n")?), e: without_zeros(bytes("e")?) },
            "EC" if text("crv") == Some("P-256") => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
                    return None;
                }
                Public::P256([vec![UNCOMPRESSED], x, y].concat())
            }
            _ => return None,
        };
        let key = Self { id: text("kid").map(str::to_owned), public };
        // A key for something else signs no tokens.
        text("alg").is_none_or(|name| name == key.algorithm().name()).then_some(key)
    }

    fn algorithm(&self) -> Algorithm {
        match self.public {
            Public::Rsa { .. } => Algorithm::Rs256,
            Public::P256(_) => Algorithm::Es256,
        }
    }

    fn signed(&self, content: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            Public::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, content, signature).is_ok()
            }
            Public::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(content, signature).is_ok()
            }
        }
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Some write a number with a zero in front, so that nobody takes it for a negative one.
fn without_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

/// Looks through a token: its signature first, then what it says.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Map<String, Json>, Fault> {
    let claims = signed(token, keys)?;
    match disagreement(&claims, expected) {
        Some(reason) => Err(Fault::Wrong(reason)),
        None => Ok(claims),
    }
}

/// What stands in a token that one of the keys signed.
fn signed(token: &str, keys: &Keys) -> Result<Map<String, Json>, Fault> {
    let wrong = |reason: &str| Fault::Wrong(reason.to_owned());
    let no_token = || wrong("is no signed token of three parts");
    let (content, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
    let (header, claims) = content.split_once('.').filter(|(_, claims)| !claims.contains('.')).ok_or_else(no_token)?;
    let header = object(header).ok_or_else(no_token)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| no_token())?;
    let name = header.get("alg").and_then(Json::as_str).unwrap_or_default();
    let algorithm = Algorithm::named(name)
        .ok_or_else(|| Fault::Wrong(format!("is signed with {}, and only RS256 and ES256 are taken", quoted(name))))?;
    if header.contains_key("crit") {
        return Err(wrong("asks for something in its header that is not known here (crit)"));
    }
    let id = header.get("kid").and_then(Json::as_str);
    let candidates = keys.of(id, algorithm);
    let key = match (candidates.as_slice(), id) {
        ([], _) => return Err(Fault::Key("is signed with a key that the provider does not publish".to_owned())),
        ([key], _) => key,
        (_, Some(_)) => return Err(wrong("names a key id that several of the provider's keys have")),
        (_, None) => return Err(wrong("names no key, and the provider has several")),
    };
    if !key.signed(content.as_bytes(), &signature) {
        return Err(Fault::Key("has a signature that is not right".to_owned()));
    }
    object(claims).ok_or_else(no_token)
}

fn object(encoded: &str) -> Option<Map<String, Json>> {
    match serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()? {
        Json::Object(object) => Some(object),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
    }
}

/// What a token says other than it must; none when it is right.
fn disagreement(claims: &Map<String, Json>, expected: &Expected<'_>) -> Option<String> {
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    let number = |name: &str| claims.get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    if text("iss") != Some(expected.issuer) {
        return Some(format!("was issued by {}, not by {}", quoted(text("iss").unwrap_or_default()), expected.issuer));
    }
    if let Some(reason) = not_for_us(claims, expected.client_id) {
        return Some(reason);
    }
    // What is no number is greater than nothing, and is refused.
    let later = |moment: f64, than: f64| moment > than;
    match number("exp") {
        None => return Some("does not say when it expires".to_owned()),
        Some(exp) if !later(exp + SKEW_SECONDS, expected.now) => {
            return Some("has expired; is the clock of this machine right?".to_owned());
        }
        Some(_) => {}
    }
    for (name, word) in [("nbf", "counts from"), ("iat", "was issued at")] {
        if number(name).is_some_and(|moment| !later(expected.now + SKEW_SECONDS, moment)) {
            return Some(format!("{word} a time that has not come yet; is the clock of this machine right?"));
        }
    }
    let nonce = text("nonce").unwrap_or_default();
    if verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes()).is_err() {
        return Some("was not made for this login (nonce)".to_owned());
    }
    text("sub").unwrap_or_default().is_empty().then(|| "does not say who it is about (sub)".to_owned())
}

/// Why a token is not for this client; none when it is.
fn not_for_us(claims: &Map<String, Json>, client_id: &str) -> Option<String> {
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
    };
    let party = claims.get("azp").map(|azp| azp.as_str().unwrap_or_default());
    let is_ours = match party {
        Some(party) => party == client_id,
        // Where several may read it, it must say whom it was made for.
        None => audience.len() == 1,
    };
    let is_named = audience.contains(&client_id);
    (!is_ours || !is_named).then(|| "was made for another client than client_id (aud, azp)".to_owned())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://idp.example", client_id: "omgate", nonce: "n-0S6", now: NOW }
    }

    fn claims(change: Json) -> Json {
        let mut claims = json!({"iss": "https://idp.example", "aud": "omgate", "sub": "248289", "nonce": "n-0S6",
            "iat": NOW, "exp": NOW + 300.0});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    fn pair() -> (EcdsaKeyPair, Json) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..])});
        (pair, key)
    }

    fn token(pair: &EcdsaKeyPair, header: &Json, claims: &Json) -> String {
        let part = |value: &Json| URL_SAFE_NO_PAD.encode(value.to_string());
        let content = format!("{}.{}", part(header), part(claims));
        let signature = pair.sign(&SystemRandom::new(), content.as_bytes()).unwrap();
        format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn keys(keys: &[&Json]) -> Keys {
        Keys::read(&json!({ "keys": keys })).unwrap()
    }

    #[test]
    fn a_token_counts_when_every_claim_is_right_and_no_other_does() {
        let (pair, key) = pair();
        let header = json!({"alg": "ES256", "kid": "k1"});
        let keys = keys(&[&key]);
        for (change, wrong) in [
            (json!({}), None),
            (json!({"aud": ["omgate"]}), None),
            (json!({"aud": ["other", "omgate"], "azp": "omgate"}), None),
            (json!({"exp": NOW - 59.0}), None),
            (json!({"iat": NOW + 59.0}), None),
            (json!({"iss": "https://idp.example/"}), Some("was issued by")),
            (json!({"iss": null}), Some("was issued by")),
            (json!({"aud": "other"}), Some("another client")),
            (json!({"aud": ["omgate", "other"]}), Some("another client")),
            (json!({"aud": "omgate", "azp": "other"}), Some("another client")),
            (json!({"aud": "omgate", "azp": 7}), Some("another client")),
            (json!({"aud": null}), Some("another client")),
            (json!({"exp": NOW - 60.0}), Some("has expired")),
            (json!({"exp": "never"}), Some("has expired")),
            (json!({"exp": null}), Some("has expired")),
            (json!({"nbf": NOW + 61.0}), Some("counts from a time")),
            (json!({"iat": NOW + 61.0}), Some("was issued at a time")),
            (json!({"iat": "now"}), Some("was issued at a time")),
            (json!({"nonce": "another"}), Some("(nonce)")),
            (json!({"nonce": null}), Some("(nonce)")),
            (json!({"sub": ""}), Some("(sub)")),
        ] {
            let found = verify(&token(&pair, &header, &claims(change.clone())), &keys, &expected());
            match (found, wrong) {
                (Ok(found), None) => assert_eq!(found["sub"], "248289"),
                (Err(Fault::Wrong(reason)), Some(word)) => assert!(reason.contains(word), "{change}: {reason}"),
                (found, _) => panic!("{change}: {found:?}"),
            }
        }
        let mut timeless = claims(json!({}));
        timeless.as_object_mut().unwrap().remove("exp");
        let found = verify(&token(&pair, &header, &timeless), &keys, &expected()).unwrap_err();
        assert_eq!(found, Fault::Wrong("does not say when it expires".to_owned()));
    }

    #[test]
    fn a_signature_counts_by_one_known_key_and_one_known_algorithm_alone() {
        let (pair, key) = pair();
        let (stranger, other) = self::pair();
        let right = claims(json!({}));
        let named = json!({"alg": "ES256", "kid": "k1"});
        let anonymous = json!({"alg": "ES256"});
        let mut second = other.clone();
        second["kid"] = json!("k2");
        for (text, keys, wrong) in [
            (token(&pair, &named, &right), keys(&[&second, &key]), None),
            (token(&pair, &anonymous, &right), keys(&[&key]), None),
            (token(&pair, &anonymous, &right), keys(&[&key, &second]), Some("names no key")),
            (token(&pair, &named, &right), keys(&[&key, &other]), Some("several")),
            (token(&pair, &named, &right), keys(&[&second]), Some("does not publish")),
            (token(&pair, &named, &right), keys(&[]), Some("does not publish")),
            (token(&stranger, &named, &right), keys(&[&key]), Some("not right")),
            (token(&pair, &json!({"alg": "none", "kid": "k1"}), &right), keys(&[&key]), Some("signed with \"none\"")),
            (token(&pair, &json!({"alg": "HS256", "kid": "k1"}), &right), keys(&[&key]), Some("signed with \"HS256\"")),
            (token(&pair, &json!({"kid": "k1"}), &right), keys(&[&key]), Some("signed with \"\"")),
            (token(&pair, &json!({"alg": "RS256", "kid": "k1"}), &right), keys(&[&key]), Some("does not publish")),
            (token(&pair, &json!({"alg": "ES256", "crit": ["b64"]}), &right), keys(&[&key]), Some("(crit)")),
            ("a.b".to_owned(), keys(&[&key]), Some("three parts")),
            ("a.b.c.d.e".to_owned(), keys(&[&key]), Some("three parts")),
            (String::new(), keys(&[&key]), Some("three parts")),
        ] {
            match (verify(&text, &keys, &expected()), wrong) {
                (Ok(_), None) => {}
                (Err(Fault::Key(reason) | Fault::Wrong(reason)), Some(word)) => {
                    assert!(reason.contains(word), "{reason}");
                }
                (found, _) => panic!("{wrong:?}: {found:?}"),
            }
        }
        let text = token(&pair, &named, &right);
        let (content, signature) = text.rsplit_once('.').unwrap();
        for unsigned in [format!("{content}."), format!("{content}.{}x", &signature[1..])] {
            assert!(verify(&unsigned, &keys(&[&key]), &expected()).is_err(), "{unsigned}");
        }
        let changed = text.replacen(&URL_SAFE_NO_PAD.encode(right.to_string()), "eyJzdWIiOiJldmUifQ", 1);
        assert!(verify(&changed, &keys(&[&key]), &expected()).is_err());
    }

    #[test]
    fn keys_for_something_else_sign_no_token() {
        let (_, key) = pair();
        for (change, is_taken) in [
            (json!({}), true),
            (json!({"use": null, "alg": null}), true),
            (json!({"use": "enc"}), false),
            (json!({"alg": "ECDH-ES"}), false),
            (json!({"kty": "oct", "k": "c2VjcmV0"}), false),
            (json!({"crv": "P-521"}), false),
            (json!({"x": "AA"}), false),
            (json!({"x": "not base64!"}), false),
        ] {
            let mut changed = key.clone();
            for (name, value) in change.as_object().unwrap() {
                changed[name] = value.clone();
            }
            assert_eq!(keys(&[&changed]).0.len(), usize::from(is_taken), "{change}");
        }
        assert!(Keys::read(&json!({"keys": "none"})).is_none());
    }
}
