//! Whether the gateway runs where it should, or could: both listeners, and who may reach them.

use std::error::Error as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::net::TcpStream;

use super::finding::{Findings, Judged};
use crate::admin::certificate;
use crate::cli::client::reached;
use crate::config::Server;

/// So much of an answer is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// What answers at the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    /// A gateway; whether it takes envelopes, or what it says why not.
    Gateway(Result<(), String>),
    /// Something else, or one that cannot be understood.
    Other(String),
    /// Nobody listens.
    Nobody,
}

/// Looks at both listeners; with it, whether a gateway runs.
pub(super) async fn look(server: &Server, patience: Duration) -> (Findings, bool) {
    let mut findings = Findings::about("gateway");
    let heard = ask(server, patience).await;
    let is_running = matches!(heard, Heard::Gateway(_));
    let free = if heard == Heard::Nobody { Some(try_to_bind(server.admin_listen)) } else { None };
    findings.judged("admin listener", of_admin(server.admin_listen, &heard, free));
    if is_running {
        let place = reached(server.listen);
        let connected = tokio::time::timeout(patience, TcpStream::connect(place)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        findings.judged("public listener", of_public(server.listen, connected.map(drop)));
    } else {
        findings.judged("public listener", of_port("listen", server.listen, try_to_bind(server.listen)));
    }
    findings.judged("who may reach it", exposure(server));
    (findings, is_running)
}

fn try_to_bind(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(drop)
}

async fn ask(server: &Server, patience: Duration) -> Heard {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(patience);
    let (scheme, builder) = match &server.admin_tls {
        None => ("http", builder),
        Some(tls) => match certificate::only_to(&tls.certificate) {
            Ok(tls) => ("https", builder.tls_backend_preconfigured(tls)),
            Err(reason) => return Heard::Other(reason),
        },
    };
    let client = match builder.build() {
        Ok(client) => client,
        Err(error) => return Heard::Other(error.to_string()),
    };
    let base = format!("{scheme}://{}", reached(server.admin_listen));
    match answer(&client, &format!("{base}/livez")).await {
        Err(error) if is_refused(&error) => return Heard::Nobody,
        Err(error) => return Heard::Other(inner(&error)),
        Ok((200, text)) if text.trim() == "alive" => {}
        Ok((status, _)) => return Heard::Other(format!("it answered {status} where a gateway says \"alive\"")),
    }
    match answer(&client, &format!("{base}/readyz")).await {
        Ok((200, _)) => Heard::Gateway(Ok(())),
        Ok((_, text)) => Heard::Gateway(Err(text.trim().to_owned())),
        Err(error) => Heard::Gateway(Err(format!("it did not say whether it is ready: {}", inner(&error)))),
    }
}

async fn answer(client: &reqwest::Client, url: &str) -> reqwest::Result<(u16, String)> {
    let mut response = client.get(url).send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    // What is no gateway may say anything, and any length of it.
    while body.len() < ANSWER_BYTES_MAX
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(ANSWER_BYTES_MAX);
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = inner.source();
    }
    false
}

/// The innermost reason.
fn inner(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words = inner.to_string();
        source = inner.source();
    }
    words
}

fn of_admin(address: SocketAddr, heard: &Heard, free: Option<io::Result<()>>) -> Judged {
    match (heard, free) {
        (Heard::Gateway(Ok(())), _) => Judged::ok(format!("the gateway runs at {address} and is ready")),
        (Heard::Gateway(Err(reason)), _) => Judged::failed(
            format!("the gateway runs at {address}, and says {reason:?}: it acknowledges nothing"),
            "mend what it says (`omgate status` has more); Salesforce keeps its messages for 24 hours",
        ),
        (Heard::Other(reason), _) => Judged::failed(
            format!("something is at {address} that cannot be understood as this gateway: {reason}"),
            format!(
                "find it with `ss -ltnp 'sport = :{}'`; stop it, or give server.admin_listen another port",
                address.port()
            ),
        ),
        (Heard::Nobody, free) => of_port("admin_listen", address, free.unwrap_or(Ok(()))),
    }
}

fn of_public(address: SocketAddr, connected: io::Result<()>) -> Judged {
    match connected {
        Ok(()) => Judged::ok(format!("it takes connections at {address}")),
        Err(error) => Judged::failed(
            format!("the gateway runs, and {address} takes no connection: {error}"),
            "was server.listen changed since it was started? restart it, and look at its log",
        ),
    }
}

/// A port at which nobody was heard.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system knows more errors than need advice of ours")]
fn of_port(key: &str, address: SocketAddr, free: io::Result<()>) -> Judged {
    let port = address.port();
    let error = match free {
        Ok(()) => {
            return Judged::warning(
                format!("no gateway runs at {address}; the port is free"),
                "start it with `omgate serve` (as a service: `systemctl start omgate`)",
            );
        }
        Err(error) => error,
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has it: find it with `ss -ltnp 'sport = :{port}'`; stop it, or give server.{key} \
             another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} is below 1024: give the unit AmbientCapabilities=CAP_NET_BIND_SERVICE, or server.{key} a \
             higher port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}: write one that it has into server.{key}", address.ip())
        }
        _ => format!("give server.{key} another address"),
    };
    Judged::failed(format!("no gateway runs at {address}, and it could not: {error}"), advice)
}

fn exposure(server: &Server) -> Judged {
    let Server { listen, admin_listen, admin_tls, tls, proxy, .. } = server;
    let admin = match (admin_listen.ip().is_loopback(), admin_tls) {
        (true, _) => format!("{admin_listen} is this machine's alone"),
        // Without accounts the configuration would not have loaded.
        (false, Some(_)) => format!("{admin_listen} is for others too, over TLS and by login"),
        (false, None) => {
            return Judged::failed(
                format!("people of other machines reach {admin_listen}, and it has no TLS"),
                "set [server.admin_tls] and an [[account]], or listen on 127.0.0.1",
            );
        }
    };
    if listen.ip().is_loopback() || tls.is_some() {
        return Judged::ok(format!("{admin}; Salesforce's messages come to {listen}"));
    }
    let through =
        if proxy.is_some() { "from the machines of [server.proxy] and any other" } else { "from any machine" };
    Judged::warning(
        format!("{admin}; Salesforce's messages come to {listen} {through}, without TLS"),
        "set [server.tls], or listen on an address that the reverse proxy alone reaches",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_port_is_served_free_taken_or_out_of_reach() {
        let address: SocketAddr = "127.0.0.1:8081".parse().unwrap();
        let error = |kind: io::ErrorKind| Some(Err(io::Error::from(kind)));
        for (heard, free, level, said) in [
            (Heard::Gateway(Ok(())), None, Level::Ok, "is ready"),
            (Heard::Gateway(Err("not ready: disk".into())), None, Level::Failed, "not ready: disk"),
            (Heard::Other("nonsense".into()), None, Level::Failed, "nonsense"),
            (Heard::Nobody, Some(Ok(())), Level::Warning, "the port is free"),
            (Heard::Nobody, error(io::ErrorKind::AddrInUse), Level::Failed, "another program"),
            (Heard::Nobody, error(io::ErrorKind::PermissionDenied), Level::Failed, "CAP_NET_BIND_SERVICE"),
            (Heard::Nobody, error(io::ErrorKind::AddrNotAvailable), Level::Failed, "has no address"),
        ] {
            let judged = of_admin(address, &heard, free);
            let text = format!("{judged:?}");
            assert_eq!(judged.level, level, "{text}");
            assert!(text.contains(said), "{text}");
        }
    }
}
