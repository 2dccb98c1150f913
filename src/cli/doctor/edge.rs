//! TLS of the public listener, as a client sees it: by a handshake where the gateway runs, else by its files.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use reqwest::Url;
use tokio::net::TcpStream;

use super::chain;
use super::finding::{Findings, Judged};
use crate::certificate::Certificate;
use crate::cli::client::reached;
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::deliver::look::{self, Handshake};
use crate::deliver::tls::{Tls as Trust, Version};
use crate::receive::{ClientAuth, Tls};

/// What the one who looks knows.
pub(super) struct Outlook<'o> {
    /// Whether the gateway answers.
    pub(super) is_running: bool,
    /// Under which names Salesforce reaches it; none: it was not said.
    pub(super) names: &'o [String],
    pub(super) now: Timestamp,
    pub(super) patience: Duration,
}

/// Looks at `[server.tls]`.
pub(super) async fn look(loaded: &Loaded, outlook: &Outlook<'_>) -> Findings {
    let mut findings = Findings::about("public TLS");
    let Some(tls) = &loaded.server.tls else {
        findings.skip("certificate", "there is no [server.tls]: a reverse proxy must speak TLS with Salesforce");
        return findings;
    };
    let files = look::chain_in(&tls.certificate).unwrap_or_default();
    let handshakes = if outlook.is_running { shaken(&mut findings, loaded, outlook, &files).await } else { None };
    let seen = handshakes.as_ref().and_then(|both| both.iter().find(|one| !one.chain.is_empty()));
    match seen {
        Some(seen) => findings.judged("certificate", same(&seen.chain, &files, tls)),
        None => findings.ok("certificate", format!("judged by its file, {}", tls.certificate.display())),
    }
    let served = seen.map_or(&files, |seen| &seen.chain);
    let leaf = chain::look(&mut findings, served, outlook.names, outlook.now);
    if let Some(leaf) = leaf {
        let judged = authority(&leaf, seen.and_then(|seen| seen.refused.as_deref()), loaded.server.proxy.is_some());
        findings.judged("authority", judged);
    }
    if let Some(both) = &handshakes {
        findings.judged("versions", versions(both));
    }
    findings.ok("private key", format!("{} is the key of the certificate", tls.private_key.display()));
    findings.judged("private key", key_file(&tls.private_key));
    clients(&mut findings, loaded, tls, seen.map(|seen| seen.asks), outlook.now);
    findings
}

/// A handshake by 1.2 and one by 1.3; none where the listener takes none from here.
async fn shaken(
    findings: &mut Findings,
    loaded: &Loaded,
    outlook: &Outlook<'_>,
    files: &[Vec<u8>],
) -> Option<[Handshake; 2]> {
    let place = reached(loaded.server.listen);
    let spoken = loaded.server.proxy.as_ref().filter(|proxy| proxy.protocol.is_some());
    if spoken.is_some_and(|proxy| proxy.addresses.contain(place.ip())) {
        let reason = "from this machine the listener waits for a PROXY header: its files are judged instead";
        findings.skip("handshake", reason);
        return None;
    }
    let leaf = files.first().and_then(|der| Some((der, Certificate::read(der).ok()?)));
    let own = leaf.map(|(der, leaf)| leaf.names.into_iter().find(|name| look::is_for(der, name).is_ok()));
    let own = own.flatten();
    let name = outlook.names.first().or(own.as_ref());
    let name = name.map_or("localhost", String::as_str);
    // The authorities of this machine, as a stranger would have them.
    let trusting = Trust::default();
    let one = |version| look::handshake(place, name, &trusting, Some(version), outlook.patience);
    match (one(Version::Tls12).await, one(Version::Tls13).await) {
        (Ok(old), Ok(new)) => Some([old, new]),
        (Err(reason), _) | (_, Err(reason)) => {
            findings.fail("handshake", format!("{place}: {reason}"), "look at the gateway's log");
            None
        }
    }
}

fn same(served: &[Vec<u8>], files: &[Vec<u8>], tls: &Tls) -> Judged {
    let file = tls.certificate.display();
    if served == files {
        return Judged::ok(format!("the gateway serves what is in {file}"));
    }
    Judged::warning(
        format!("the gateway serves another certificate than is in {file}"),
        "`omgate reload` takes it, or says why not",
    )
}

/// Whether Salesforce can be expected to trust it.
fn authority(leaf: &Certificate, refused: Option<&str>, is_behind_proxy: bool) -> Judged {
    if leaf.is_issued_by_itself() {
        let found = format!("{} vouches for itself, and Salesforce takes no such certificate", leaf.subject);
        let advice = "get one from a public authority (Let's Encrypt and others), for the name that Salesforce calls";
        return if is_behind_proxy {
            Judged::warning(format!("{found}; that is fine where a reverse proxy alone connects"), advice)
        } else {
            Judged::failed(found, advice)
        };
    }
    match refused {
        Some(reason) if reason.contains("UnknownIssuer") => Judged::warning(
            format!("no authority that this machine trusts stands behind {:?}, which issued it", leaf.issuer),
            "if it is your own authority, Salesforce refuses it: take a public one (the list is at \
             https://MYDOMAIN/cacerts.jsp of your organization); if it is a public one, is its intermediate missing, \
             or this machine's list old?",
        ),
        // What else is wrong with it is told beside this.
        Some(_) | None => Judged::ok(format!("{:?} issued it", leaf.issuer)),
    }
}

fn versions(both: &[Handshake; 2]) -> Judged {
    let [old, new] = both.each_ref().map(|one| !one.chain.is_empty());
    match (old, new) {
        (true, true) => Judged::ok("TLS 1.2 and 1.3 are accepted"),
        (true, false) => {
            Judged::warning("TLS 1.3 is not accepted, 1.2 is", "does something between here and there speak TLS?")
        }
        (false, true) => Judged::warning(
            "TLS 1.2 is not accepted, 1.3 is",
            "Salesforce speaks 1.2: does something between speak TLS?",
        ),
        (false, false) => {
            let reason = both.iter().find_map(|one| one.failure.clone()).unwrap_or_default();
            Judged::failed(format!("neither TLS 1.2 nor 1.3 is accepted: {reason}"), "look at the gateway's log")
        }
    }
}

/// Who may read a private key.
fn key_file(path: &Path) -> Judged {
    let Ok(about) = fs::metadata(path) else {
        return Judged::failed(
            format!("{} cannot be looked at", path.display()),
            "give it to the user that runs omgate",
        );
    };
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Judged::failed(
            format!("every user of this machine may touch {} (mode {mode:04o})", path.display()),
            format!("chmod 0600 {}, and renew certificate and key: it may have been read", path.display()),
        );
    }
    if mode & 0o020 != 0 {
        let found = format!("others than its owner may write {} (mode {mode:04o})", path.display());
        return Judged::warning(found, format!("chmod 0600 {}", path.display()));
    }
    Judged::ok(format!("{} is for its owner and group alone (mode {mode:04o})", path.display()))
}

/// What is asked of clients, in the handshake and by the configuration.
fn clients(findings: &mut Findings, loaded: &Loaded, tls: &Tls, asked: Option<bool>, now: Timestamp) {
    let rules = &tls.clients;
    let wanted = rules.auth != ClientAuth::Off;
    if let Some(asked) = asked.filter(|asked| *asked != wanted) {
        let (says, does) = if asked { ("does not ask", "asks") } else { ("asks", "does not ask") };
        findings.warn(
            "client certificates",
            format!("the configuration {says} for them, and the gateway {does}"),
            "it took another configuration: `omgate reload`",
        );
    }
    if !wanted {
        findings.ok(
            "client certificates",
            "none is asked for (client_auth = \"off\"): path and organization tell \
                                            senders apart",
        );
        return;
    }
    let how = if rules.auth == ClientAuth::Required { "required" } else { "asked for, and not required" };
    let mut accepted = Vec::new();
    if let Some(path) = &rules.authorities {
        accepted.push(format!("those of {}", path.display()));
    }
    if !rules.names.is_empty() {
        accepted.push(format!("with a name of {}", rules.names.join(", ")));
    }
    if !rules.pins.is_empty() {
        accepted.push(format!("{} pinned", rules.pins.len()));
    }
    let told = format!("{how}: {}", accepted.join(", "));
    match loaded.warnings.iter().find(|problem| problem.key == "server.tls.client_ca") {
        Some(problem) => findings.warn(
            "client certificates",
            format!("{told}; {}", problem.reason),
            "name who may send with client_names, or pin with client_pins",
        ),
        None => findings.ok("client certificates", told),
    }
    let authorities = tls.served.as_ref().and_then(|served| served.clients.as_ref());
    if let Some(authorities) = authorities.map(|clients| &clients.authorities).filter(|list| !list.is_empty()) {
        findings.judged("client authorities", chain::dates(authorities, now));
    }
}

/// Looks at the address that Salesforce calls, from here: what stands before the gateway speaks TLS there.
pub(super) async fn public(url: &Url, outlook: &Outlook<'_>) -> Findings {
    let mut findings = Findings::about("public address");
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = tokio::time::timeout(outlook.patience, tokio::net::lookup_host((bare, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            let advice = "Salesforce says UnknownHostException: publish the name in the public DNS";
            findings.fail("name", format!("{host} has no address: {error}"), advice);
            return findings;
        }
        Err(_) => {
            findings.fail("name", format!("the name service did not answer for {host}"), "look at this machine's DNS");
            return findings;
        }
    };
    if addresses.is_empty() {
        findings.fail("name", format!("{host} has no address"), "publish the name in the public DNS");
        return findings;
    }
    findings.judged("name", reachable(host, &addresses));
    let address = match first_to_connect(&addresses, outlook.patience).await {
        Ok(address) => address,
        Err(reason) => {
            let advice = "is it the right port, is a firewall in between, and may this machine reach its own public \
                          address?";
            findings.fail("connection", reason, advice);
            return findings;
        }
    };
    if url.scheme() != "https" {
        findings.ok("connection", format!("{address} takes connections"));
        return findings;
    }
    match look::handshake(address, host, &Trust::default(), None, outlook.patience).await {
        Err(reason) => findings.fail("handshake", format!("{address}: {reason}"), "does what listens there speak TLS?"),
        Ok(seen) if seen.chain.is_empty() => {
            let reason = seen.failure.unwrap_or_default();
            findings.fail("handshake", format!("{address}: {reason}"), "does what listens there speak TLS?");
        }
        Ok(seen) => {
            let leaf = chain::look(&mut findings, &seen.chain, &[host.to_owned()], outlook.now);
            if let Some(leaf) = leaf {
                findings.judged("authority", authority(&leaf, seen.refused.as_deref(), false));
            }
            let version = seen.version.map_or_else(String::new, |version| format!("TLS {version}"));
            findings.ok("handshake", format!("{version} {} at {address}", seen.cipher.unwrap_or_default()));
        }
    }
    findings
}

async fn first_to_connect(addresses: &[SocketAddr], patience: Duration) -> Result<SocketAddr, String> {
    let mut last = "it has no address".to_owned();
    for address in addresses.iter().take(4) {
        match tokio::time::timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(*address),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address} did not answer within {} s", patience.as_secs_f64()),
        }
    }
    Err(last)
}

fn reachable(host: &str, addresses: &[SocketAddr]) -> Judged {
    let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let is_inside = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let found = format!("{host} is {}", shown.join(", "));
    if addresses.iter().all(is_inside) {
        let advice = "ask for it from outside (`dig @1.1.1.1`): Salesforce must get a public address";
        return Judged::warning(format!("{found}, which is inside, as seen from here"), advice);
    }
    Judged::ok(found)
}
