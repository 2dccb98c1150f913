//! A chain of certificates as it is served: order, signatures, names, dates, keys.

use super::finding::{Findings, Judged};
use crate::certificate::strength::Strength;
use crate::certificate::{self, Certificate};
use crate::clock::Timestamp;
use crate::deliver::look;

/// Judges a chain, by its DER in the order served, against the names that it should be for; none: whatever it is for. Whether
/// anybody trusts it is for others to say. With it, whose it is.
pub(super) fn look(
    findings: &mut Findings,
    served: &[Vec<u8>],
    names: &[String],
    now: Timestamp,
) -> Option<Certificate> {
    let read: Result<Vec<Certificate>, String> = served.iter().map(|der| Certificate::read(der)).collect();
    let chain = match read {
        Ok(chain) => chain,
        Err(reason) => {
            findings.fail(
                "chain",
                format!("a certificate of it cannot be read: {reason}"),
                "get it anew from its authority",
            );
            return None;
        }
    };
    let (Some(leaf), Some(leaf_der)) = (chain.first(), served.first()) else {
        findings.fail("chain", "no certificate is served", "look at server.tls.certificate");
        return None;
    };
    findings.judged("chain", order(&chain, look::unproven(served, now)));
    findings.judged("names", named(leaf, leaf_der, names));
    findings.judged("dates", dates(&chain, now));
    // A root vouches for itself: nobody looks at how.
    let signed: Vec<&Vec<u8>> = served
        .iter()
        .zip(&chain)
        .enumerate()
        .filter(|(at, (_, certificate))| *at == 0 || !certificate.is_issued_by_itself())
        .map(|(_, (der, _))| der)
        .collect();
    findings.judged("key", keys(&signed));
    Some(leaf.clone())
}

fn order(chain: &[Certificate], unproven: Option<String>) -> Judged {
    let subjects: Vec<&str> = chain.iter().map(|certificate| certificate.subject.as_str()).collect();
    let served = format!("served in this order: {}", subjects.join(", then "));
    let faults = certificate::faults(chain);
    if !faults.is_empty() {
        let advice = "put the certificate itself first, each one's issuer right after it, and leave the root out";
        return Judged::failed(format!("{}; {served}", faults.join("; ")), advice);
    }
    if let Some(reason) = unproven {
        return Judged::failed(
            format!("the certificates name each other, and the chain does not stand all the same: {reason}; {served}"),
            "an intermediate of the same name and another key? get the chain anew from the authority",
        );
    }
    match chain {
        [_, .., root] if root.is_issued_by_itself() => Judged::warning(
            format!("the root is sent along, and nobody needs it; {served}"),
            "take the last certificate out of the file: whoever trusts the root has it",
        ),
        _ => Judged::ok(served),
    }
}

fn named(leaf: &Certificate, der: &[u8], names: &[String]) -> Judged {
    let own = if leaf.names.is_empty() { "none".to_owned() } else { leaf.names.join(", ") };
    for name in names {
        if let Err(reason) = look::is_for(der, name) {
            return Judged::failed(
                format!("the certificate of {} is not for {name} ({reason}); its names are {own}", leaf.subject),
                "get one with that name among its alternative names (SAN); the common name alone counts no more",
            );
        }
    }
    if names.is_empty() {
        return Judged::ok(format!("its names are {own}; --source-url or --name has them compared"));
    }
    Judged::ok(format!("it is for {}; its names are {own}", names.join(" and ")))
}

/// Of a chain the certificate that ends first counts.
pub(super) fn dates(chain: &[Certificate], now: Timestamp) -> Judged {
    let Some(first) = chain.iter().min_by_key(|certificate| certificate.not_after) else {
        return Judged::ok("there is no certificate");
    };
    let dated = chain.iter().find(|certificate| now < certificate.not_before).unwrap_or(first);
    match dated.term(now) {
        None => {
            let days = certificate::days(dated.not_after.since(now));
            Judged::ok(format!("{} holds until {}, for {days} days", dated.subject, dated.not_after))
        }
        Some(term) => {
            let (found, advice) = term.rsplit_once(": ").unwrap_or((&term, "renew it"));
            if now < dated.not_before || dated.not_after < now {
                Judged::failed(found, advice)
            } else {
                Judged::warning(found, advice)
            }
        }
    }
}

/// The keys of some certificates, the first one's told.
pub(super) fn keys(chain: &[impl AsRef<[u8]>]) -> Judged {
    let read: Vec<Strength> = chain.iter().filter_map(|der| Strength::read(der.as_ref()).ok()).collect();
    let Some(first) = read.first() else { return Judged::ok("it cannot be read") };
    let weak: Vec<&str> = read.iter().flat_map(|strength| &strength.weaknesses).map(String::as_str).collect();
    if weak.is_empty() {
        return Judged::ok(format!("{}, signed as clients of today take it", first.key));
    }
    Judged::warning(
        format!("{}; {}", first.key, weak.join("; ")),
        "get a certificate with another key (ECDSA P-256, RSA 2048)",
    )
}
