//! Destinations, each wrong in one thing: closed, slow, mistrusted, refusing, changed; and what is asked of them.

use std::path::Path;

use super::{Setup, examined, found, ran, says};
use crate::credentials::server::{Asked, HANG, Server, answer};
use crate::deliver::faults::{Client, TlsServer};
use crate::harness::free_port;

const WSDL: &str = include_str!("../../../wsdl/erp.wsdl");
const SCHEMA: &str = include_str!("../../../wsdl/erp.xsd");

fn package(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// A REST destination named `crm`, with more keys.
fn rest(url: &str, more: &str) -> String {
    format!("[[destination]]\nname = \"crm\"\nkind = \"rest\"\nurl = \"{url}\"\n{more}\n")
}

/// A SOAP destination named `crm`, whose WSDL is the project's own.
fn soap(endpoint: &str, more: &str) -> String {
    let wsdl = package("wsdl/erp.wsdl");
    format!(
        "[[destination]]\nname = \"crm\"\nkind = \"soap\"\nwsdl = \"{wsdl}\"\noperation = \"CreateOrder\"\n\
         endpoint = \"{endpoint}\"\n{more}\n"
    )
}

fn setup(destinations: &str) -> crate::harness::Process {
    Setup { destinations, ..Setup::default() }.prepare()
}

/// Hands out a WSDL and its schema as files are: by `?wsdl` and by name.
async fn offering(wsdl: String) -> Server {
    let answers = move |_: usize, asked: &Asked| match asked.target.as_str() {
        "/orders?wsdl" => answer(200, "Content-Type: text/xml; charset=utf-8\r\n", &wsdl),
        "/erp.xsd" => answer(200, "Content-Type: text/xml\r\n", SCHEMA),
        _ => answer(404, "", ""),
    };
    Server::start(answers).await
}

fn never_changed(server: &Server) {
    for asked in server.asked() {
        assert!(matches!(asked.method.as_str(), "GET" | "OPTIONS") && asked.body.is_empty(), "{asked:?}");
    }
}

#[test]
fn nobody_at_a_port_and_a_name_without_address_are_told() {
    let process = setup(&rest(&format!("http://127.0.0.1:{}/", free_port()), ""));
    let (code, document) = examined(&process, &[], &[]);
    says(&document, "destination crm", "address", "ok", &["127.0.0.1"]);
    says(&document, "destination crm", "connection", "failed", &["refused", "does the system run"]);
    says(&document, "destination crm", "answer", "skipped", &[]);
    assert_eq!(code, Some(1));
    let (code, document) = examined(&setup(&rest("http://crm.invalid/", "")), &[], &[]);
    says(&document, "destination crm", "address", "failed", &["crm.invalid", "DNS"]);
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_calls_may_not_go_nothing_is_asked() {
    let server = Server::start(|_, _| answer(204, "", "")).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let process = setup(&format!("{}\n[egress]\nallow = [\"10.0.0.0/8\"]\n", rest(&url, "")));
    let (code, document) = examined(&process, &[], &[]);
    says(&document, "destination crm", "address", "failed", &["[egress]", "if calls are to go there"]);
    assert_eq!((code, server.asked().len()), (Some(1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_nobody_is_asked_and_what_is_here_is_looked_at() {
    let server = Server::start(|_, _| answer(204, "", "")).await;
    let process = setup(&rest(&server.url("/"), "tls = { accept_invalid = true }"));
    let (_, document) = examined(&process, &["--offline"], &[]);
    says(&document, "destination crm", "network", "skipped", &["--offline"]);
    says(&document, "destination crm", "TLS", "warning", &["accept_invalid", "whoever answers there"]);
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_refused_or_missing_are_told() {
    for (status, auth, level, said) in [
        (401, "auth = { bearer = \"${CRM_TOKEN}\" }", "failed", "does not take our credentials"),
        (401, "", "failed", "set auth"),
        (403, "", "warning", "may call it"),
        (204, "auth = { bearer = \"${CRM_TOKEN}\" }", "ok", "204"),
        (503, "", "failed", "load balancer"),
    ] {
        let server = Server::start(move |_, _| answer(status, "", "")).await;
        let process = setup(&rest(&server.url("/customers/{{ record.Id }}"), auth));
        let (code, document) = examined(&process, &[], &[("CRM_TOKEN", "s3cr3t-token-of-crm")]);
        says(&document, "destination crm", "answer", level, &[said]);
        assert!(level != "failed" || code == Some(1));
        never_changed(&server);
        let asked = server.asked().pop().unwrap();
        // What only a record can say is left out.
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("OPTIONS", "/customers/"));
        assert_eq!(asked.header("authorization").is_empty(), auth.is_empty());
        assert!(!document.to_string().contains("s3cr3t"), "{document:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_an_address_are_never_shown() {
    let server = Server::start(|_, _| answer(404, "", "")).await;
    let url = format!("{}/${{CRM_PATH}}/orders", server.url(""));
    let setup = Setup {
        source: "path = \"/om/${OM_SECRET}\"",
        destinations: &rest(&url, "headers = { X-Key = \"${CRM_KEY}\" }"),
        ..Setup::default()
    };
    let secrets =
        [("CRM_PATH", "s3cr3t-path-of-crm"), ("OM_SECRET", "s3cr3t-path-of-om"), ("CRM_KEY", "s3cr3t-key-of-crm")];
    let process = setup.prepare();
    for arguments in [&[][..], &["--json"], &["--offline"]] {
        let output = ran(&process, arguments, &secrets);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains("/om/${OM_SECRET}") && !text.contains("s3cr3t"), "{text}");
    }
    assert_eq!(server.asked()[0].header("x-key"), "s3cr3t-key-of-crm");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_proxy_the_proxy_is_looked_at_and_the_question_goes_through_it() {
    let proxy = Server::start(|_, _| answer(204, "", "")).await;
    let keys = format!("proxy = \"http://omgate:${{PROXY_PASSWORD}}@{}\"", proxy.address);
    let process = setup(&rest("http://erp.invalid/orders", &keys));
    let (_, document) = examined(&process, &[], &[("PROXY_PASSWORD", "s3cr3t-of-the-proxy")]);
    says(&document, "destination crm", "address", "ok", &[&format!("the proxy http://{}", proxy.address)]);
    says(&document, "destination crm", "connection", "ok", &[&proxy.address.to_string()]);
    says(&document, "destination crm", "answer", "ok", &["204"]);
    let asked = proxy.asked().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("OPTIONS", "http://erp.invalid/orders"));
    assert!(!document.to_string().contains("s3cr3t"), "{document:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_whose_clock_differs_is_told() {
    for (date, level, said) in
        [("Sun, 06 Nov 1994 08:49:37 GMT", "failed", "ahead of that of destination crm"), ("", "skipped", "")]
    {
        let header = if date.is_empty() { String::new() } else { format!("Date: {date}\r\n") };
        let server = Server::start(move |_, _| answer(204, &header, "")).await;
        let (code, document) = examined(&setup(&rest(&server.url("/"), "")), &[], &[]);
        says(&document, "clock", "skew", level, &[said]);
        assert!(level != "failed" || code == Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operation_is_compared_with_the_wsdl_that_the_system_hands_out() {
    for (wsdl, level, said) in [
        (WSDL.to_owned(), "ok", "CreateOrder is in the WSDL"),
        (
            WSDL.replace("operation name=\"CreateOrder\"", "operation name=\"PlaceOrder\""),
            "failed",
            "no operation CreateOrder; it has",
        ),
    ] {
        let server = offering(wsdl).await;
        let (code, document) = examined(&setup(&soap(&server.url("/orders"), "")), &[], &[]);
        says(&document, "destination crm", "answer", "ok", &["WSDL is answered with 200"]);
        says(&document, "destination crm", "operation", level, &[said]);
        assert!(level != "failed" || code == Some(1));
        never_changed(&server);
    }
    // What is no WSDL is no reason to think that the operation is gone.
    let server = Server::start(|_, _| answer(200, "Content-Type: text/html\r\n", "<html>hello</html>")).await;
    let (_, document) = examined(&setup(&soap(&server.url("/orders"), "")), &[], &[]);
    says(&document, "destination crm", "operation", "warning", &["cannot be compared"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_element_that_came_since_is_told() {
    let added = "<xs:element name=\"Approver\" type=\"xs:string\"/>";
    let schema =
        SCHEMA.replacen("<xs:element name=\"OrderNumber\"", &format!("{added}<xs:element name=\"OrderNumber\""), 1);
    assert_ne!(schema, SCHEMA, "the schema has such an element");
    let answers = move |_: usize, asked: &Asked| match asked.target.as_str() {
        "/orders?wsdl" => answer(200, "", WSDL),
        _ => answer(200, "", &schema),
    };
    let server = Server::start(answers).await;
    let (_, document) = examined(&setup(&soap(&server.url("/orders"), "")), &[], &[]);
    says(&document, "destination crm", "operation", "warning", &["is another", "Approver", "omgate wsdl diff"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_wsdl_is_handed_out_the_endpoint_is_asked() {
    let server = Server::start(|_, asked| answer(if asked.method == "GET" { 404 } else { 200 }, "", "")).await;
    let security = "security = { username = \"omgate\", password = \"${ERP_PASSWORD}\" }";
    let process = setup(&soap(&server.url("/orders"), security));
    let (_, document) = examined(&process, &[], &[("ERP_PASSWORD", "s3cr3t-of-erp")]);
    says(&document, "destination crm", "operation", "skipped", &["hands out no WSDL"]);
    says(&document, "destination crm", "answer", "ok", &["OPTIONS is answered with 200"]);
    never_changed(&server);
    let methods: Vec<String> = server.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(methods, ["GET", "OPTIONS"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_and_nothing_more_is_asked() {
    let auth = |url: &str| {
        format!(
            "auth = {{ oauth2 = {{ token_url = \"{url}\", client_id = \"omgate\", client_secret = \
                 \"${{SECRET}}\" }} }}"
        )
    };
    let server = Server::start(|_, _| answer(204, "", "")).await;
    let refuses = Server::start(|_, _| answer(401, "", "{\"error\":\"invalid_client\"}")).await;
    let secret = [("SECRET", "s3cr3t-of-the-client")];
    let process = setup(&rest(&server.url("/"), &auth(&refuses.url("/token"))));
    let (code, document) = examined(&process, &[], &secret);
    says(&document, "destination crm", "token", "failed", &["invalid_client", "token_url"]);
    assert_eq!((code, server.asked().len()), (Some(1), 0));
    let token = "{\"access_token\":\"t0ken-of-today\",\"token_type\":\"Bearer\",\"expires_in\":600}";
    let gives = Server::start(move |_, _| answer(200, "", token)).await;
    let process = setup(&rest(&server.url("/"), &auth(&gives.url("/token"))));
    let (_, document) = examined(&process, &[], &secret);
    says(&document, "destination crm", "token", "ok", &["gives a token"]);
    says(&document, "destination crm", "answer", "ok", &["204"]);
    let text = document.to_string();
    assert!(!text.contains("s3cr3t") && !text.contains("t0ken"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_says_nothing_is_left_after_its_own_timeout() {
    let server = Server::start(|_, _| HANG.to_owned()).await;
    let process = setup(&rest(&server.url("/"), "timeout = \"200ms\""));
    let begun = std::time::Instant::now();
    let (code, document) = examined(&process, &[], &[]);
    says(&document, "destination crm", "answer", "failed", &["0.2 s"]);
    assert_eq!(code, Some(1));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn the_certificate_of_a_destination_is_judged_as_a_call_would() {
    let both: &[&'static rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let server = TlsServer::start(both, Client::Ignored);
    let url = format!("https://localhost:{}/", server.port);
    let ca = package("tests/it/deliver/tls/authority.pem");
    let (_, document) = examined(&setup(&rest(&url, &format!("ca = \"{ca}\""))), &[], &[]);
    says(&document, "destination crm", "TLS", "ok", &["TLS 1.3"]);
    says(&document, "destination crm", "answer", "ok", &["204"]);
    assert!(found(&document, "destination crm", "certificate").is_empty());
    let (code, document) = examined(&setup(&rest(&url, "")), &[], &[]);
    says(&document, "destination crm", "certificate", "failed", &["UnknownIssuer", "name its authority with ca"]);
    says(&document, "destination crm", "answer", "skipped", &["no call would take"]);
    assert_eq!(code, Some(1));
    let (_, document) = examined(&setup(&rest(&url, "tls = { accept_invalid = true }")), &[], &[]);
    says(&document, "destination crm", "TLS", "warning", &["accept_invalid"]);
    says(&document, "destination crm", "answer", "ok", &["204"]);
    let pinned = format!("ca = \"{ca}\"\ntls = {{ pins = [\"sha256:{}\"] }}", "0".repeat(64));
    let (_, document) = examined(&setup(&rest(&url, &pinned)), &[], &[]);
    says(&document, "destination crm", "certificate", "failed", &["not among the pins", "asking its owner"]);
}

#[test]
fn a_server_that_asks_who_we_are_is_told() {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/deliver/tls/client.pem");
    let server = TlsServer::start(&[&rustls::version::TLS12], Client::Required(client));
    let url = format!("https://localhost:{}/", server.port);
    let ca = package("tests/it/deliver/tls/authority.pem");
    let (code, document) = examined(&setup(&rest(&url, &format!("ca = \"{ca}\""))), &[], &[]);
    says(&document, "destination crm", "TLS", "failed", &["asks for a client certificate"]);
    assert_eq!(code, Some(1));
    let (certificate, key) =
        (package("tests/it/deliver/tls/client.pem"), package("tests/it/deliver/tls/client-key.pem"));
    let shown = format!("tls = {{ ca = \"{ca}\", client_certificate = \"{certificate}\", client_key = \"{key}\" }}");
    let (_, document) = examined(&setup(&rest(&url, &shown)), &[], &[]);
    says(&document, "destination crm", "TLS", "ok", &["is shown ours"]);
    says(&document, "destination crm", "client certificate", "ok", &["client.pem", "days"]);
    says(&document, "destination crm", "answer", "ok", &["204"]);
}

#[test]
fn a_port_that_speaks_no_tls_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for mut stream in listener.incoming().flatten().take(4) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (code, document) = examined(&setup(&rest(&url, "")), &[], &[]);
    says(&document, "destination crm", "TLS", "failed", &["does it speak TLS"]);
    assert_eq!(code, Some(1));
}
