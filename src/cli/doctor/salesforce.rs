//! What Salesforce is told of each source: the URL to paste, and what it would refuse of it.

use reqwest::Url;

use super::finding::{Findings, Judged};
use crate::config::Loaded;
use crate::receive::Source;

/// Beside 80 and 443 an endpoint may have this port and those above.
const PORT_MIN: u16 = 1_024;

/// Where Salesforce reaches the public listener, as far as it is known.
struct Front {
    scheme: &'static str,
    /// Host and port as a URL has them.
    authority: String,
    port: u16,
    /// It was said, and not guessed.
    is_said: bool,
}

/// Looks at each source.
pub(super) fn look(loaded: &Loaded, said: Option<&Url>) -> Findings {
    let front = front(loaded, said);
    let mut findings = Findings::about("Salesforce");
    findings.judged("scheme", scheme(&front, loaded.server.tls.is_some()));
    findings.judged("port", port(&front));
    let mut all = findings;
    for source in &loaded.sources {
        let mut findings = Findings::about(format!("source {}", source.name));
        findings.judged("endpoint URL", endpoint(&front, source));
        findings.judged("path", path(&source.path.reveal()));
        findings.judged("organizations", organizations(source));
        all.list.extend(findings.list);
    }
    all
}

fn front(loaded: &Loaded, said: Option<&Url>) -> Front {
    let is_https = said.map_or(loaded.server.tls.is_some(), |url| url.scheme() == "https");
    let scheme = if is_https { "https" } else { "http" };
    match said {
        Some(url) => {
            let host = url.host_str().unwrap_or_default();
            let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
            let port = url.port_or_known_default().unwrap_or(443);
            Front { scheme, authority, port, is_said: true }
        }
        None => {
            let port = loaded.server.listen.port();
            let authority = match (is_https, port) {
                (true, 443) | (false, 80) => "HOST".to_owned(),
                (_, port) => format!("HOST:{port}"),
            };
            Front { scheme, authority, port, is_said: false }
        }
    }
}

fn scheme(front: &Front, has_tls: bool) -> Judged {
    match (front.scheme, front.is_said) {
        ("https", _) => Judged::ok("https: its certificate must come from a public authority, for that name"),
        (_, true) => Judged::warning(
            "http: whoever is on the way reads and writes the messages of your customers",
            "give Salesforce an https address: [server.tls], or a reverse proxy with TLS",
        ),
        (_, false) => Judged::warning(
            if has_tls {
                "http"
            } else {
                "there is no [server.tls], and it was not said that something before it \
                                          speaks TLS"
            },
            "say --source-url https://HOST when a reverse proxy speaks TLS; else set [server.tls]",
        ),
    }
}

/// Salesforce's rule for endpoints: 80 for http, 443 for https, 1024 and above for both.
fn port(front: &Front) -> Judged {
    let Front { scheme, port, is_said, .. } = front;
    let fits = match port {
        80 => *scheme == "http",
        443 => *scheme == "https",
        other => *other >= PORT_MIN,
    };
    if fits {
        return Judged::ok(format!("{scheme} at port {port} is one that Salesforce calls"));
    }
    let found = format!("Salesforce does not call {scheme} at port {port}");
    let advice = "it calls 80 (http), 443 (https), and 1024 and above; listen there, or have a proxy do so";
    if *is_said { Judged::failed(found, advice) } else { Judged::warning(found, advice) }
}

fn endpoint(front: &Front, source: &Source) -> Judged {
    let url = format!("{}://{}{}", front.scheme, front.authority, source.path.masked());
    let secret = if source.path.is_plain() { "" } else { ", with the secrets' values in the place of ${…}" };
    let host = if front.is_said {
        ""
    } else {
        "; HOST is the name that Salesforce reaches this machine by \
                                               (--source-url says it)"
    };
    Judged::ok(format!("paste {url} as the endpoint URL of the outbound message{secret}{host}"))
}

fn path(path: &str) -> Judged {
    let odd = if path.contains('%') {
        Some("an escape (%)")
    } else if path.contains("//") {
        Some("two slashes in a row")
    } else if path.len() > 1 && path.ends_with('/') {
        Some("a slash at its end")
    } else {
        path.chars().find(|c| "!$&'()*+,;=:@".contains(*c)).map(|_| "a sign other than letters, digits, - . _ ~")
    };
    match odd {
        None => Judged::ok("nothing in it can be written in two ways"),
        Some(odd) => Judged::warning(
            format!("it has {odd} in it: a proxy or a person may write it in another way, and it is compared as it is"),
            "take letters, digits, - and _ alone",
        ),
    }
}

fn organizations(source: &Source) -> Judged {
    match &source.organizations {
        None => Judged::warning(
            "any organization may send (\"*\"): every customer of Salesforce who learns the path can",
            "list your organizations' ids (Setup, Company Information), or have a secret in the path",
        ),
        Some(list) => Judged::ok(format!("{} listed", list.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn at(url: &str) -> Front {
        let url = Url::parse(url).unwrap();
        let scheme = if url.scheme() == "https" { "https" } else { "http" };
        let port = url.port_or_known_default().unwrap();
        Front { scheme, authority: url.host_str().unwrap().to_owned(), port, is_said: true }
    }

    #[test]
    fn an_address_is_held_to_the_ports_that_salesforce_calls() {
        for (url, level) in [
            ("https://h/", Level::Ok),
            ("http://h/", Level::Ok),
            ("https://h:8443/", Level::Ok),
            ("http://h:1024/", Level::Ok),
            ("https://h:80/", Level::Failed),
            ("http://h:443/", Level::Failed),
            ("https://h:1023/", Level::Failed),
            ("https://h:444/", Level::Failed),
        ] {
            assert_eq!(port(&at(url)).level, level, "{url}");
        }
        assert_eq!(scheme(&at("http://h/"), false).level, Level::Warning);
        assert_eq!(scheme(&at("https://h/"), false).level, Level::Ok);
    }

    #[test]
    fn a_path_that_can_be_written_in_two_ways_is_told() {
        for (text, level) in [
            ("/om/order-won", Level::Ok),
            ("/", Level::Ok),
            ("/om//a", Level::Warning),
            ("/om/", Level::Warning),
            ("/om/%41", Level::Warning),
            ("/om/a+b", Level::Warning),
        ] {
            assert_eq!(path(text).level, level, "{text}");
        }
    }

    #[test]
    fn the_url_to_paste_shows_no_secret() {
        let mut source = Source::new("orders", "/om/");
        source.path.push_secret("${OM_SECRET}", secrecy::SecretString::from("s3cr3t-path-part"));
        let told = endpoint(&at("https://hook.example.com/"), &source).found;
        assert!(told.contains("https://hook.example.com/om/${OM_SECRET}") && !told.contains("s3cr3t"), "{told}");
        assert_eq!(organizations(&Source::new("a", "/a")).level, Level::Warning);
    }
}
