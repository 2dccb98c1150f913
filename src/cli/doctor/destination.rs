//! A destination, from here to its answer: addresses, connection, TLS, credentials, and a question that changes nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::net::TcpStream;

use super::chain;
use super::clock::Reading;
use super::finding::{Findings, Judged};
use super::question::{self, Question};
use crate::clock::Timestamp;
use crate::config::Whereabouts;
use crate::deliver::Target;
use crate::deliver::look::{self, Handshake};
use crate::deliver::tls::Tls;

/// What is known of a destination before it is looked at.
pub(super) struct Patient<'p> {
    pub(super) name: &'p str,
    pub(super) target: &'p Target,
    pub(super) whereabouts: Whereabouts,
    pub(super) now: Timestamp,
    /// Of each probe.
    pub(super) patience: Duration,
}

/// Looks at everything that needs no network.
pub(super) fn at_home(patient: &Patient<'_>) -> Findings {
    let mut findings = Findings::about(format!("destination {}", patient.name));
    for (_, says) in patient.target.alarms() {
        findings.warn(
            "TLS",
            (*says).to_owned(),
            "name its authority with ca, or have it speak TLS 1.2; then take \
                                                  that key out",
        );
    }
    let ours = patient.target.certificates();
    // What signs is told below, with its key.
    for dated in ours.iter().filter(|dated| dated.key.is_some_and(|key| key.starts_with("tls."))) {
        let judged = chain::dates(&dated.certificates, patient.now);
        findings.judged("client certificate", Judged { found: format!("{}: {}", dated.place, judged.found), ..judged });
    }
    if let Some((signer, der)) = patient.target.signs_by() {
        findings.judged("signing certificate", chain::dates(std::slice::from_ref(signer), patient.now));
        let judged = chain::keys(&[der]);
        let signs = patient.target.signs().unwrap_or_default();
        findings.judged("signing key", Judged { found: format!("{signs}; {}", judged.found), ..judged });
    }
    findings
}

/// What needs no network looked at, and what the rest would do.
pub(super) fn plan(patient: &Patient<'_>) -> Findings {
    let mut findings = at_home(patient);
    let shown = &patient.whereabouts.shown;
    // As far as no message fills it in: the rest is left out of a question.
    let asked = shown.split("{{").next().unwrap_or_default().trim();
    let reached = format!("would look up the name of {asked}, connect, and shake hands where it is https");
    findings.skip("connection", reached);
    if patient.target.has_credentials() {
        findings.skip("credentials", "would be sent with the question, after a token was fetched where they need one");
    }
    let holes =
        if asked == shown.trim() { String::new() } else { format!(" (of {shown} so much as no message fills in)") };
    let question = match patient.whereabouts.operation {
        Some(_) => {
            format!("would send GET {asked}?wsdl, and OPTIONS {asked} where that gives none{holes}; never a POST")
        }
        None => format!("would send OPTIONS {asked}{holes}; never a POST"),
    };
    findings.skip("answer", question);
    findings
}

/// Looks at it over the network; what it says of the time with it.
pub(super) async fn look(patient: &Patient<'_>) -> (Findings, Option<Reading>) {
    let mut findings = at_home(patient);
    let revealed = patient.whereabouts.url.reveal();
    let Ok(url) = Url::parse(revealed.trim()) else {
        findings.fail("address", format!("{} is no URL", patient.whereabouts.shown), "look at its url or endpoint");
        return (findings, None);
    };
    let Some(address) = connected(&mut findings, patient, &url).await else {
        findings.skip("answer", "it cannot be reached");
        return (findings, None);
    };
    if let Some((_, proxy)) = patient.target.proxy() {
        findings.skip("TLS", format!("what {proxy} connects to is seen by the question alone"));
    } else if url.scheme() == "https" && patient.target.tls().legacy {
        findings.skip("certificate", "it is spoken to by the old TLS, which is not looked at");
    } else if url.scheme() == "https" {
        if !shaken(&mut findings, patient, &url, address).await {
            findings.skip("answer", "no call would take its certificate");
            return (findings, None);
        }
    } else {
        findings.judged("TLS", plain(address.ip(), patient.target.has_credentials()));
    }
    let token = tokio::time::timeout(patient.patience, patient.target.fetched_token()).await;
    match token.unwrap_or_else(|_| Some(Err("no token came in time".to_owned()))) {
        None => {}
        Some(Ok(())) => findings.ok("token", "its token endpoint gives a token"),
        Some(Err(reason)) => {
            let advice = "look at auth: token_url, client_id, the secret or key, scope; and at its server's log";
            findings.fail("token", reason, advice);
            findings.skip("answer", "without a token nothing is asked");
            return (findings, None);
        }
    }
    let asked = Question { patient, url: &url };
    let reading = question::ask(&mut findings, &asked).await;
    // Where no handshake of ours could look, the question saw what is shown there.
    if patient.target.proxy().is_some() || patient.target.tls().legacy {
        for dated in patient.target.certificates().iter().filter(|dated| dated.key.is_none()) {
            findings.judged("certificate", chain::dates(&dated.certificates, patient.now));
        }
    }
    (findings, reading)
}

/// Resolves and connects; where to, when somebody takes the connection.
async fn connected(findings: &mut Findings, patient: &Patient<'_>, url: &Url) -> Option<SocketAddr> {
    let proxy = patient.target.proxy();
    let to = proxy.as_ref().map_or(url, |(proxy, _)| *proxy);
    let shown = proxy.as_ref().map_or_else(|| host(url), |(_, shown)| format!("the proxy {shown}"));
    let found = tokio::time::timeout(patient.patience, patient.target.addresses(url)).await;
    let addresses = match found {
        Ok(Ok(found)) => found,
        Ok(Err(reason)) => {
            let advice = if reason.contains("[egress]") {
                "add it to [egress] allow if calls are to go there"
            } else {
                "look at the name, at this machine's DNS (`getent hosts`), and at /etc/hosts"
            };
            findings.fail("address", format!("{shown}: {reason}"), advice);
            return None;
        }
        Err(_) => {
            findings.fail(
                "address",
                format!("the name service did not answer for {shown}"),
                "look at this machine's DNS",
            );
            return None;
        }
    };
    let listed: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    findings.ok("address", format!("{shown} is {}, where calls may go", listed.join(", ")));
    let port = to.port_or_known_default().unwrap_or(1_080);
    let mut last = "it has no address".to_owned();
    for ip in addresses.into_iter().take(4) {
        let address = SocketAddr::new(ip, port);
        let begun = Instant::now();
        match tokio::time::timeout(patient.patience, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                let took = begun.elapsed().as_secs_f64() * 1_000.0;
                findings.ok("connection", format!("{address} takes connections, within {took:.1} ms"));
                return Some(address);
            }
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address} did not answer within {} s", patient.patience.as_secs_f64()),
        }
    }
    let advice = if last.contains("refused") {
        "nothing listens there: does the system run, and is the port right?"
    } else {
        "is a firewall in between, or the route missing?"
    };
    findings.fail("connection", last, advice);
    None
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Shakes hands as a call would; whether a call would go on.
async fn shaken(findings: &mut Findings, patient: &Patient<'_>, url: &Url, address: SocketAddr) -> bool {
    let name = url.host_str().unwrap_or_default();
    let tls = patient.target.tls();
    let seen = match look::handshake(address, name, tls, None, patient.patience).await {
        Ok(seen) => seen,
        Err(reason) => {
            findings.fail("TLS", format!("{address}: {reason}"), "does it speak TLS at that port?");
            return false;
        }
    };
    if seen.chain.is_empty() {
        findings.fail(
            "TLS",
            format!("{address}: {}", seen.failure.unwrap_or_default()),
            no_handshake(tls.identity.is_some()),
        );
        return false;
    }
    findings.judged("TLS", agreed(&seen, tls.identity.is_some()));
    findings.ok("trust", trusted(tls));
    if let Some(reason) = &seen.refused {
        findings.fail("certificate", format!("no call takes the certificate of {name}: {reason}"), mistrusted(reason));
    }
    // A name that is not meant need not fit.
    let names = if tls.accept_invalid { Vec::new() } else { vec![name.to_owned()] };
    let mut about = Findings::about("");
    chain::look(&mut about, &seen.chain, &names, patient.now);
    for finding in about.list {
        let of_chain = Judged { level: finding.level, found: finding.found, advice: finding.advice };
        findings.judged(finding.check, softened(of_chain, seen.refused.is_none()));
    }
    seen.refused.is_none() && seen.failure.is_none()
}

/// What calls take all the same is no failure of theirs.
fn softened(judged: Judged, is_taken: bool) -> Judged {
    use super::finding::Level;
    match judged.level {
        Level::Failed if is_taken => Judged { level: Level::Warning, ..judged },
        Level::Ok | Level::Warning | Level::Failed | Level::Skipped => judged,
    }
}

fn no_handshake(shows: bool) -> &'static str {
    if shows {
        "does it speak TLS 1.2 or later at that port, and does it take our client certificate? tls = \"legacy\" is \
         for older ones"
    } else {
        "does it speak TLS 1.2 or later at that port (tls = \"legacy\" is for older ones), and does it want a client \
         certificate?"
    }
}

fn mistrusted(reason: &str) -> &'static str {
    let reason = reason.to_lowercase();
    if reason.contains("expired") {
        "its owner must renew it"
    } else if reason.contains("not valid for name") || reason.contains("notvalidforname") {
        "call it by a name that it has, or have its owner get one for this name"
    } else if reason.contains("pins") {
        "was it renewed? add the new pin after asking its owner"
    } else if reason.contains("unknownissuer") {
        "name its authority with ca, or have its owner serve the intermediate certificates too"
    } else {
        "ask its owner; `openssl s_client -connect` shows it"
    }
}

fn agreed(seen: &Handshake, shows: bool) -> Judged {
    if let Some(failure) = &seen.failure {
        let asks = if seen.asks { "it asks for a client certificate, and " } else { "" };
        return Judged::failed(format!("{asks}the handshake ends: {failure}"), no_handshake(shows));
    }
    let version = seen.version.unwrap_or("1.2");
    let told = format!("TLS {version}, {}", seen.cipher.as_deref().unwrap_or_default());
    match (seen.asks, shows) {
        (true, false) => Judged::warning(
            format!("{told}; it asks for a client certificate, and none is configured"),
            "set tls.client_certificate and tls.client_key (or tls.pkcs12) where it must know us by one",
        ),
        (true, true) => Judged::ok(format!("{told}; it asks for a client certificate and is shown ours")),
        (false, true) => Judged::ok(format!("{told}; it does not ask for our client certificate")),
        (false, false) => Judged::ok(told),
    }
}

/// Whom its certificate must come from.
fn trusted(tls: &Tls) -> String {
    let authorities = match &tls.ca {
        _ if tls.accept_invalid => "any certificate is taken".to_owned(),
        Some(path) => format!("the authorities of {} alone are trusted", path.display()),
        None => "this machine's authorities are trusted".to_owned(),
    };
    match tls.pins.len() {
        0 => authorities,
        pins => format!("{authorities}, and it must be one of {pins} pinned"),
    }
}

fn plain(ip: IpAddr, has_credentials: bool) -> Judged {
    if ip.is_loopback() {
        return Judged::ok("plain HTTP, on this machine");
    }
    if has_credentials {
        return Judged::warning(
            "plain HTTP: whoever is on the way reads its calls and credentials",
            "take its https address, or put a TLS relay before it",
        );
    }
    Judged::ok("plain HTTP: whoever is on the way reads its calls")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_handshake_is_told_with_what_is_asked_of_us() {
        let seen = |asks: bool, failure: Option<&str>| Handshake {
            version: Some("1.3"),
            cipher: Some("TLS13_AES_128_GCM_SHA256".into()),
            asks,
            failure: failure.map(str::to_owned),
            ..Handshake::default()
        };
        for (seen, shows, level, said) in [
            (seen(false, None), false, Level::Ok, "TLS 1.3, TLS13_AES"),
            (seen(true, None), true, Level::Ok, "is shown ours"),
            (seen(true, None), false, Level::Warning, "client_certificate"),
            (seen(true, Some("alert")), false, Level::Failed, "asks for a client certificate, and the handshake ends"),
        ] {
            let judged = agreed(&seen, shows);
            assert_eq!(judged.level, level, "{judged:?}");
            assert!(format!("{judged:?}").contains(said), "{judged:?}");
        }
        for (ip, has, level) in
            [("127.0.0.1", true, Level::Ok), ("10.0.0.1", true, Level::Warning), ("10.0.0.1", false, Level::Ok)]
        {
            assert_eq!(plain(ip.parse().unwrap(), has).level, level, "{ip}");
        }
    }
}
