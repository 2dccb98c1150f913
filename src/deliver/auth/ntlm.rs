//! The three messages of NTLM version 2 (MS-NLMP): who may call is settled with the connection, not with the request.
//!
//! No session is sealed or signed: HTTP uses NTLM only to know who is there. Version 1 is never spoken.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;
use reqwest::header::{self, HeaderValue};

use super::{AuthError, sensitive};
use crate::clock::Timestamp;
use crate::outcome::Response;
use crate::secret::Text;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

// MS-NLMP, 2.2.2.5.
const UNICODE: u32 = 0x0000_0001;
const REQUEST_TARGET: u32 = 0x0000_0004;
const NTLM: u32 = 0x0000_0200;
const ALWAYS_SIGN: u32 = 0x0000_8000;
const EXTENDED_SESSION_SECURITY: u32 = 0x0008_0000;
const TARGET_INFO: u32 = 0x0080_0000;
const KEY_128: u32 = 0x2000_0000;
const KEY_56: u32 = 0x8000_0000;
const WANTED: u32 =
    UNICODE | REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SESSION_SECURITY | TARGET_INFO | KEY_128 | KEY_56;

// Of the pairs in a challenge's target information (2.2.2.1).
const END: u16 = 0;
const FLAGS: u16 = 6;
const TIMESTAMP: u16 = 7;
const CHANNEL_BINDINGS: u16 = 10;
/// Of the flags among them: the message is protected by a MIC.
const HAS_MIC: u32 = 2;

/// Where the MIC stands, and how long the fixed part of the last message is.
const MIC_AT: usize = 72;
const FIXED: usize = 88;
/// How long a challenge may be.
const CHALLENGE_BYTES_MAX: usize = 16 << 10;
/// Between 1601, where Windows begins to count, and 1970, in 100 ns.
const EPOCH: u64 = 116_444_736_000_000_000;

/// The longest name or password, in UTF-16 units.
const LONGEST: usize = 1_024;

/// Credentials for NTLM.
#[derive(Clone, Debug)]
pub struct Ntlm {
    /// Without the domain.
    pub username: Text,
    /// As it is, blanks included.
    pub password: Text,
    /// None: the server knows by itself.
    pub domain: Option<Text>,
    /// Where the call comes from, as the server is told; none: nothing is said.
    pub workstation: Option<Text>,
}

impl Ntlm {
    /// # Errors
    /// The rule that the credentials break.
    pub(super) fn check(&self) -> Result<(), AuthError> {
        if self.username.reveal().is_empty() {
            return Err(AuthError::Empty("user name"));
        }
        let long = self.texts().into_iter().any(|text| text.reveal().encode_utf16().count() > LONGEST);
        if long {
            Err(AuthError::Missing("a name or password of NTLM is longer than 1,024 characters"))
        } else {
            Ok(())
        }
    }

    /// The texts that may hold secrets.
    pub(super) fn texts(&self) -> Vec<&Text> {
        [&self.username, &self.password].into_iter().chain(&self.domain).chain(&self.workstation).collect()
    }

    /// The header that asks for a challenge.
    pub(in crate::deliver) fn asks() -> Result<HeaderValue, String> {
        header_of(&negotiate())
    }

    /// The header that answers a challenge. `end_point` is the hash of the certificate that the connection goes to, so that
    /// what is proved here is worth nothing to who stands between.
    pub(in crate::deliver) fn answers(
        &self,
        challenge: &[u8],
        now: Timestamp,
        nonce: [u8; 8],
        end_point: Option<&[u8]>,
    ) -> Result<HeaderValue, String> {
        let shown = |text: &Option<Text>| text.as_ref().map(Text::reveal).unwrap_or_default();
        let (username, password) = (self.username.reveal(), self.password.reveal());
        let (domain, workstation) = (shown(&self.domain), shown(&self.workstation));
        let caller = Caller { username: &username, password: &password, domain: &domain, workstation: &workstation };
        header_of(&authenticate(&negotiate(), challenge, &caller, &Fresh { now: now.0, nonce, end_point })?)
    }
}

fn header_of(message: &[u8]) -> Result<HeaderValue, String> {
    sensitive(format!("NTLM {}", STANDARD.encode(message)), "NTLM message").map_err(|error| error.to_string())
}

/// The challenge in an answer; none where it asks for other credentials.
pub(in crate::deliver) fn challenge(response: &Response) -> Option<Vec<u8>> {
    let asked =
        response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header::WWW_AUTHENTICATE.as_str()));
    let mut offers = asked.flat_map(|(_, value)| value.split(',')).map(str::trim);
    offers.find_map(|offer| {
        let (scheme, message) = offer.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("NTLM") { STANDARD.decode(message.trim()).ok() } else { None }
    })
}

/// Who calls.
#[derive(Clone, Copy)]
struct Caller<'a> {
    username: &'a str,
    password: &'a str,
    /// Empty: the server knows by itself.
    domain: &'a str,
    /// Empty: not said.
    workstation: &'a str,
}

/// What makes one answer differ from the next.
#[derive(Clone, Copy)]
struct Fresh<'a> {
    /// Milliseconds since 1970.
    now: i64,
    nonce: [u8; 8],
    /// The hash of the server's certificate, where there is TLS.
    end_point: Option<&'a [u8]>,
}

/// The first message: what we speak.
fn negotiate() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&1_u32.to_le_bytes());
    message.extend_from_slice(&WANTED.to_le_bytes());
    // Neither domain nor workstation: who asks has not been challenged yet.
    message.extend_from_slice(&[0; 16]);
    message
}

/// The last message: proof that we know the password, by the server's challenge.
fn authenticate(negotiate: &[u8], challenge: &[u8], caller: &Caller<'_>, fresh: &Fresh<'_>) -> Result<Vec<u8>, String> {
    let read = Challenge::read(challenge)?;
    let key = ntowf_v2(caller);
    let ticks = u64::try_from(fresh.now).unwrap_or(0).saturating_mul(10_000).saturating_add(EPOCH);
    let stamped = read.pair(TIMESTAMP).and_then(|value| value.try_into().ok());
    let time: [u8; 8] = stamped.unwrap_or_else(|| ticks.to_le_bytes());
    let info = read.answered(stamped.is_some(), fresh.end_point);
    let nt = nt_response(&key, &read.nonce, &fresh.nonce, &time, &info);
    // Where the server says its time, the older response is nothing but zeros (3.1.5.1.2).
    let lm = if stamped.is_some() { vec![0; 24] } else { lm_response(&key, &read.nonce, &fresh.nonce) };
    let mut message = assemble(read.flags & WANTED, &lm, &nt, caller);
    if stamped.is_some() {
        let proof = nt.get(..16).unwrap_or_default();
        let mic = hmac(&hmac(&key, &[proof]), &[negotiate, challenge, &message]);
        if let Some(place) = message.get_mut(MIC_AT..FIXED) {
            place.copy_from_slice(&mic);
        }
    }
    Ok(message)
}

/// The second message, as far as it matters.
struct Challenge<'a> {
    flags: u32,
    nonce: [u8; 8],
    info: &'a [u8],
}

impl<'a> Challenge<'a> {
    fn read(message: &'a [u8]) -> Result<Self, String> {
        let wrong = |what: &str| format!("the server's NTLM challenge {what}");
        if message.len() > CHALLENGE_BYTES_MAX || !message.starts_with(SIGNATURE) || number(message, 8) != Some(2) {
            return Err(wrong("is none"));
        }
        let flags = number(message, 20).ok_or_else(|| wrong("is cut"))?;
        let nonce = message.get(24..32).and_then(|nonce| nonce.try_into().ok()).ok_or_else(|| wrong("is cut"))?;
        if flags & UNICODE == 0 {
            return Err(wrong("asks for another alphabet than Unicode"));
        }
        let length = message.get(40..42).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
        let at = number(message, 44).and_then(|at| usize::try_from(at).ok());
        let info = at.zip(length).filter(|(_, length)| flags & TARGET_INFO != 0 && *length > 0);
        let (at, length) =
            info.ok_or_else(|| wrong("says nothing of the server, as version 1 does, which is never spoken"))?;
        let info = at.checked_add(usize::from(length)).and_then(|end| message.get(at..end));
        Ok(Self { flags, nonce, info: info.ok_or_else(|| wrong("is cut"))? })
    }

    fn pairs(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.info;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(4)?;
            let [id, length] = [head.get(..2)?, head.get(2..)?].map(|two| two.try_into().map_or(0, u16::from_le_bytes));
            if id == END {
                return None;
            }
            let (value, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            Some((id, value))
        })
    }

    fn pair(&self, wanted: u16) -> Option<&'a [u8]> {
        self.pairs().find(|(id, _)| *id == wanted).map(|(_, value)| value)
    }

    /// The target information as it is answered: whether a MIC follows, and which server it is for.
    fn answered(&self, has_mic: bool, end_point: Option<&[u8]>) -> Vec<u8> {
        if !has_mic && end_point.is_none() {
            return self.info.to_vec();
        }
        let flags = self.pair(FLAGS).and_then(|value| value.try_into().ok()).map_or(0, u32::from_le_bytes);
        let mut info = Vec::with_capacity(self.info.len() + 32);
        let mut add = |id: u16, value: &[u8]| {
            info.extend_from_slice(&id.to_le_bytes());
            info.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
            info.extend_from_slice(value);
        };
        let ours = |id: u16| (id == FLAGS && has_mic) || (id == CHANNEL_BINDINGS && end_point.is_some());
        self.pairs().filter(|(id, _)| !ours(*id)).for_each(|(id, value)| add(id, value));
        if has_mic {
            add(FLAGS, &(flags | HAS_MIC).to_le_bytes());
        }
        if let Some(end_point) = end_point {
            add(CHANNEL_BINDINGS, &channel_bindings(end_point));
        }
        add(END, &[]);
        info
    }
}

/// MD5 of a `gss_channel_bindings_struct` (RFC 2744, 3.11) without addresses, whose data is that of RFC 5929, 4.
fn channel_bindings(end_point: &[u8]) -> [u8; 16] {
    let data = [b"tls-server-end-point:", end_point].concat();
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes();
    Md5::digest([&[0; 16][..], &length, &data].concat()).into()
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// HMAC-MD5 (RFC 2104).
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // Keys of any length are taken.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else { return [0; 16] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// 3.3.2, `NTOWFv2`: a key of password, user and domain.
fn ntowf_v2(caller: &Caller<'_>) -> [u8; 16] {
    let password: [u8; 16] = Md4::digest(utf16(caller.password)).into();
    hmac(&password, &[&utf16(&caller.username.to_uppercase()), &utf16(caller.domain)])
}

/// 3.3.2, `NtChallengeResponse`.
fn nt_response(key: &[u8], server: &[u8; 8], client: &[u8; 8], time: &[u8; 8], info: &[u8]) -> Vec<u8> {
    let blob = [&[1, 1, 0, 0, 0, 0, 0, 0][..], time, client, &[0; 4], info, &[0; 4]].concat();
    let proof = hmac(key, &[server, &blob]);
    [&proof[..], &blob].concat()
}

/// 3.3.2, `LmChallengeResponse`.
fn lm_response(key: &[u8], server: &[u8; 8], client: &[u8; 8]) -> Vec<u8> {
    [&hmac(key, &[server, client])[..], client].concat()
}

/// The fixed part, with places for what is long, and what is long.
fn assemble(flags: u32, lm: &[u8], nt: &[u8], caller: &Caller<'_>) -> Vec<u8> {
    let names = [caller.domain, caller.username, caller.workstation].map(utf16);
    let [domain, username, workstation] = &names;
    let mut message = Vec::with_capacity(FIXED + 512);
    message.extend_from_slice(SIGNATURE);
    message.extend_from_slice(&3_u32.to_le_bytes());
    let mut payload = Vec::new();
    // No session key is exchanged: its place is empty.
    for part in [lm, nt, domain, username, workstation, &[]] {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes();
        message.extend_from_slice(&length);
        message.extend_from_slice(&length);
        message.extend_from_slice(&u32::try_from(FIXED + payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend_from_slice(part);
    }
    message.extend_from_slice(&flags.to_le_bytes());
    // Version and MIC.
    message.resize(FIXED, 0);
    message.extend_from_slice(&payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    const CALLER: Caller<'_> =
        Caller { username: "User", password: "Password", domain: "Domain", workstation: "COMPUTER" };
    const SERVER: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const CLIENT: [u8; 8] = [0xaa; 8];
    const INFO: &str = "02000c0044006f006d00610069006e00 01000c005300650072007600650072 00 00000000";

    #[test]
    fn the_responses_are_those_of_the_specification() {
        // MS-NLMP, 4.2.4: the time is 0.
        let key = ntowf_v2(&CALLER);
        assert_eq!(key.to_vec(), bytes("0c868a403bfd7a93a3001ef22ef02e3f"));
        let lm = lm_response(&key, &SERVER, &CLIENT);
        assert_eq!(lm, bytes("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
        let nt = nt_response(&key, &SERVER, &CLIENT, &[0; 8], &bytes(INFO));
        assert_eq!(nt[..16], bytes("68cd0ab851e51c96aabc927bebef6a1c"));
        assert_eq!(hmac(&key, &[&nt[..16]]).to_vec(), bytes("8de40ccadbc14a82f15cb0ad0de95ca3"));
    }

    /// The challenge of 4.2.4.3, with this target information.
    fn challenge(info: &[u8]) -> Vec<u8> {
        let mut message =
            bytes("4e544c4d53535000 02000000 0c000c0038000000 33828ae2 0123456789abcdef 0000000000000000");
        message.extend_from_slice(&u16::try_from(info.len()).unwrap().to_le_bytes());
        message.extend_from_slice(&u16::try_from(info.len()).unwrap().to_le_bytes());
        message.extend_from_slice(&bytes("44000000 06007017 0000000f 530065007200760065007200"));
        message.extend_from_slice(info);
        message
    }

    fn part(message: &[u8], at: usize) -> Vec<u8> {
        let length = usize::from(u16::from_le_bytes(message[at..at + 2].try_into().unwrap()));
        let from = usize::try_from(number(message, at + 4).unwrap()).unwrap();
        message[from..from + length].to_vec()
    }

    #[test]
    fn the_last_message_holds_who_we_are_and_both_responses() {
        let fresh = Fresh { now: -11_644_473_600_000, nonce: CLIENT, end_point: None };
        let message = authenticate(&negotiate(), &challenge(&bytes(INFO)), &CALLER, &fresh).unwrap();
        assert_eq!(number(&message, 8), Some(3));
        assert_eq!(part(&message, 12), bytes("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
        assert_eq!(part(&message, 20).len(), 16 + 28 + bytes(INFO).len() + 4);
        assert_eq!(part(&message, 28), utf16("Domain"));
        assert_eq!(part(&message, 36), utf16("User"));
        assert_eq!(part(&message, 44), utf16("COMPUTER"));
        assert_eq!(message[MIC_AT..FIXED], [0; 16], "without a time there is no MIC");

        let time = bytes("0700 0800 0102030405060708");
        let info = [&time[..], &bytes(INFO)].concat();
        let message = authenticate(&negotiate(), &challenge(&info), &CALLER, &fresh).unwrap();
        assert_eq!(part(&message, 12), [0; 24]);
        let nt = part(&message, 20);
        assert_eq!(nt[24..32], time[4..], "the server's own time");
        assert!(nt.windows(8).any(|window| window == bytes("0600 0400 02000000")), "the MIC is announced");
        let mut without = message.clone();
        without[MIC_AT..FIXED].fill(0);
        let key = hmac(&ntowf_v2(&CALLER), &[&nt[..16]]);
        assert_eq!(message[MIC_AT..FIXED], hmac(&key, &[&negotiate(), &challenge(&info), &without]));
    }

    #[test]
    fn the_last_message_says_which_certificate_it_is_for() {
        // Example of MS-NLMP's companion: the bindings are a hash over five lengths and the data.
        let of = |end_point| Fresh { now: 0, nonce: CLIENT, end_point };
        let whole = challenge(&bytes(INFO));
        let read = Challenge::read(&whole).unwrap();
        let info = read.answered(false, Some(&[7; 32]));
        let bound = Challenge { flags: 0, nonce: [0; 8], info: &info };
        let mut data = vec![0; 16];
        data.extend_from_slice(&53_u32.to_le_bytes());
        data.extend_from_slice(b"tls-server-end-point:");
        data.extend_from_slice(&[7; 32]);
        assert_eq!(bound.pair(CHANNEL_BINDINGS).unwrap(), &<[u8; 16]>::from(Md5::digest(&data)));
        assert_eq!(bound.pairs().count(), read.pairs().count() + 1, "the server's own pairs stay");
        let caller = Caller { username: "User", password: "Password", domain: "Domain", workstation: "" };
        let one = authenticate(&negotiate(), &whole, &caller, &of(Some(&[7; 32]))).unwrap();
        let other = authenticate(&negotiate(), &whole, &caller, &of(Some(&[8; 32]))).unwrap();
        assert_ne!(one, other);
        assert_eq!(read.answered(false, None), read.info, "without TLS nothing is added");
    }

    #[test]
    fn what_is_no_challenge_is_refused_in_words_and_never_a_panic() {
        let fresh = Fresh { now: 0, nonce: CLIENT, end_point: None };
        let whole = challenge(&bytes(INFO));
        for end in 0..whole.len() {
            let _ = authenticate(&negotiate(), &whole[..end], &CALLER, &fresh);
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            let _ = authenticate(&negotiate(), &changed, &CALLER, &fresh);
        }
        for (message, expected) in [
            (Vec::new(), "is none"),
            (negotiate(), "is none"),
            (whole[..30].to_vec(), "is cut"),
            (challenge(&[]), "version 1"),
            (whole[..60].to_vec(), "is cut"),
        ] {
            let refused = authenticate(&negotiate(), &message, &CALLER, &fresh).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
