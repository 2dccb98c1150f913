//! Secrets of every kind, planted in one configuration and its traffic: whatever the gateway then says, keeps, shows or
//! exports, none of them is in it, in no form.
//!
//! The destinations repeat whatever they are sent, as bad ones do: in bodies, in faults, in headers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use omgate::account;
use omgate::admin::access::ADDRESSES;
use omgate::config;
use serde_json::{Value, json};

use crate::credentials::server::{Asked, Server, answer};
use crate::edge::{has_openssl, self_signed};
use crate::harness::{ACTION, ORGANIZATION, Process};

const PATIENCE: Duration = Duration::from_secs(60);

/// What is planted, by where it comes from.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("PLANTED_BASIC", "pl4nted-basic & <word> +/\u{e9}"),
    ("PLANTED_OAUTH", "pl4nted%oauth/client+secret"),
    ("PLANTED_WSSE", "pl4nted-usernametoken-\"word\""),
    ("PLANTED_NTLM", "pl4nted-ntlm-password"),
    ("PLANTED_PROXY", "pl4nted-proxy-password"),
    ("PLANTED_P12", "pl4nted-pkcs12-password"),
    ("PLANTED_SEGMENT", "pl4nted-secret-segment"),
    ("PLANTED_POSTGRES", "pl4nted-postgres-password"),
    ("PLANTED_MAPPED", "pl4nted-constant-of-a-mapping"),
    ("PLANTED_MAIL", "pl4nted-password-of-a-mailbox"),
];
const FILES: [(&str, &str); 7] = [
    ("bearer", "pl4nted-bearer-token"),
    ("api-key", "pl4nted-api-key-by-a-program"),
    ("hmac", "whsec_cGw0bnRlZC1zaWduaW5nLXNlY3JldC1vZi1hLXdlYmhvb2s="),
    ("oidc", "pl4nted-oidc-client-secret"),
    ("header", "pl4nted-header-of-a-table"),
    ("query", "pl4nted-query-of-an-address"),
    ("notify", "pl4nted-signing-secret-of-notices"),
];
const CREDENTIAL: &str = "pl4nted-digest-password";
const ACCESS_TOKEN: &str = "pl4nted-access-token";
const PASSWORD: &str = "pl4nted-password-of-an-account";
const SESSION: &str = "pl4ntedSessionIdOfSalesforce.Q7";

/// A secret, and in which forms it might be found.
struct Needle {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    fn new(name: &str, secret: &str) -> Self {
        let percent = |bytes: &str, upper: bool| -> String {
            bytes
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                    _ if upper => format!("%{byte:02X}"),
                    _ => format!("%{byte:02x}"),
                })
                .collect()
        };
        let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let json = Value::from(secret).to_string();
        let mut forms =
            vec![secret.to_owned(), xml.replace('"', "&quot;"), xml, percent(secret, true), percent(secret, false)];
        let numeric = [('<', "&#60;"), ('>', "&#62;"), ('"', "&#34;"), ('\'', "&#39;")];
        let numeric =
            numeric.iter().fold(secret.replace('&', "&#38;"), |text, (plain, shown)| text.replace(*plain, shown));
        forms.extend([json[1..json.len() - 1].to_owned(), hex.to_uppercase(), hex, numeric]);
        for (before, first) in [(0, 0), (1, 2), (2, 3)] {
            let bytes = [&vec![0; before][..], secret.as_bytes()].concat();
            let piece = STANDARD_NO_PAD.encode(&bytes)[first..bytes.len() * 8 / 6].to_owned();
            forms.extend([piece.replace('+', "-").replace('/', "_"), piece]);
        }
        Self { name: name.to_owned(), forms: forms.into_iter().map(String::into_bytes).collect() }
    }

    fn is_in(&self, text: &[u8]) -> bool {
        self.forms.iter().any(|form| memchr::memmem::find(text, form).is_some())
    }
}

/// Everything that was heard, and where.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn add(&mut self, whence: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((whence.into(), text.into()));
    }

    fn output(&mut self, whence: &str, output: Output) -> String {
        self.add(format!("{whence} (stdout)"), output.stdout.clone());
        self.add(format!("{whence} (stderr)"), output.stderr);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// All files below a folder, save those in which secrets are meant to be.
    fn files(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if ["secrets", "credentials", "fixtures"].contains(&name.as_str())
                || name.ends_with(".key")
                || name.ends_with(".p12")
            {
                continue;
            }
            if path.is_dir() {
                self.files(&path)
            } else {
                self.add(path.display().to_string(), fs::read(&path).unwrap())
            }
        }
    }
}

/// What a destination says: all that it was sent, in every way in which one might.
fn repeated(asked: &Asked) -> String {
    let headers: String = asked.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let basic = asked.headers.iter().find_map(|(name, value)| {
        let encoded = value.strip_prefix("Basic ").filter(|_| name.ends_with("authorization"))?;
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()
    });
    let said = format!("{} {}\n{headers}\n{}\n{}", asked.method, asked.target, basic.unwrap_or_default(), asked.body);
    let escaped = said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let authorization = asked.headers.iter().find(|(name, _)| name == "authorization");
    let echo = authorization.map(|(_, value)| format!("X-Echo: {value}\r\n")).unwrap_or_default();
    let path = asked.target.rsplit("//").next().unwrap_or_default().to_owned();
    let asks = |scheme: &str| answer(401, &format!("WWW-Authenticate: {scheme}\r\n{echo}"), &said);
    if path.contains("/token") {
        let token = json!({"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600});
        return answer(200, "Content-Type: application/json\r\n", &token.to_string());
    }
    if path.contains("/digest") && authorization.is_none() {
        return asks("Digest realm=\"r\", qop=\"auth\", nonce=\"n\", algorithm=SHA-256");
    }
    if path.contains("/ntlm") {
        return asks("NTLM");
    }
    if path.contains("/soap") {
        let body = format!(
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body><e:Fault><faultcode>e:Client</faultcode>\
             <faultstring>{escaped}</faultstring><faultactor>{escaped}</faultactor><detail><d xmlns=''>{escaped}</d></detail></e:Fault></e:Body></e:Envelope>"
        );
        return answer(500, &format!("Content-Type: text/xml\r\n{echo}"), &body);
    }
    let status = if path.contains("/taken") { 200 } else { 400 };
    let body = json!({"said": said, "escaped": escaped}).to_string();
    answer(status, &format!("Content-Type: application/json\r\n{echo}"), &body)
}

/// The configuration: a source with a secret segment, and a destination of each kind.
fn configuration(server: &Server, log: &str, accounts: &str) -> String {
    let (url, wsdl) = (server.url(""), Path::new(env!("CARGO_MANIFEST_DIR")).join("wsdl/erp.wsdl"));
    let kinds = [
        ("basic", "auth = { basic = { username = \"u\", password = \"${PLANTED_BASIC}\" } }"),
        ("bearer", "auth = { bearer = \"${file:secrets/bearer}\" }"),
        ("api-key", "auth = { header = \"X-Api-Key\", value = \"${command:cat secrets/api-key}\" }"),
        ("digest", "auth = { digest = { username = \"u\", password = \"${credential:digest}\" } }"),
        (
            "oauth",
            "auth = { oauth2 = { token_url = \"{url}/token\", client_id = \"c\", client_secret = \"${PLANTED_OAUTH}\" } }",
        ),
        (
            "jwt",
            "auth = { oauth2 = { token_url = \"{url}/token\", client_id = \"c\", jwt_bearer = { key = \"${file:secrets/jwt.key}\" } } }",
        ),
        ("hmac", "auth = { hmac = { secret = \"${file:secrets/hmac}\" } }"),
        ("ntlm", "auth = { ntlm = { username = \"u\", password = \"${PLANTED_NTLM}\" } }"),
        ("header", "headers = { X-Key = \"${file:secrets/header}\" }"),
        ("proxy", "proxy = \"http://u:${PLANTED_PROXY}@{address}\""),
        ("pkcs12", "tls = { pkcs12 = { file = \"client.p12\", password = \"${PLANTED_P12}\" } }"),
    ];
    let mut text = format!(
        r#"
[server]
listen = "127.0.0.1:{{public}}"
admin_listen = "127.0.0.1:{{admin}}"
watch = false
log = "{log}"
log_level = "trace"
{accounts}
[store]
url = "sqlite:omgate.db"

[[source]]
name = "orders"
path = "/om/${{PLANTED_SEGMENT}}"
organizations = ["{ORGANIZATION}"]
"#
    );
    for (name, keys) in kinds {
        let keys = keys.replace("{url}", &url).replace("{address}", &server.address.to_string());
        text.push_str(&format!(
            "\n[[destination]]\nname = \"{name}\"\nkind = \"rest\"\nmethod = \"POST\"\nurl = \"{url}/{name}?key=${{file:secrets/query}}\"\n{keys}\n\
             [[route]]\nname = \"{name}\"\nsource = \"orders\"\ndestination = \"{name}\"\n[route.map]\na = \"'${{PLANTED_MAPPED}}'\"\n"
        ));
    }
    text.push_str(&format!(
        r#"
[[destination]]
name = "taken"
kind = "rest"
url = "{url}/taken"
auth = {{ bearer = "${{file:secrets/bearer}}" }}
keep = {{ said = "response.body.said | truncate(900)", echo = "response.headers['x-echo']" }}
[[route]]
name = "taken"
source = "orders"
destination = "taken"

[[destination]]
name = "soap"
kind = "soap"
wsdl = "{}"
operation = "CreateOrder"
endpoint = "{url}/soap"
addressing = true
security = {{ username = "u", password = "${{PLANTED_WSSE}}", signature = {{ certificate = "signing.pem", private_key = "${{file:secrets/signing.key}}" }} }}
[[route]]
name = "soap"
source = "orders"
destination = "soap"
[route.map]
OrderNumber = "'${{PLANTED_MAPPED}}'"
Total = "1"
Currency = "'EUR'"
Customer.Id = "record.Id"
"#,
        wsdl.display()
    ));
    for path in ["taken", "refused"] {
        text.push_str(&format!(
            "[[notify]]\nname = \"{path}\"\nkind = \"webhook\"\nurl = \"{url}/{path}?key=${{file:secrets/query}}\"\nsecret = \"${{file:secrets/notify}}\"\n"
        ));
    }
    text.push_str(&format!(
        "[[notify]]\nname = \"mail\"\nkind = \"email\"\nserver = \"{}\"\nprivacy = \"none\"\nusername = \"u\"\n\
         password = \"${{PLANTED_MAIL}}\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\ntimeout = \"1s\"\n",
        server.address
    ));
    text
}

fn accounts(hash: &str) -> String {
    format!(
        "[server.oidc]\nissuer = \"http://127.0.0.1:9/\"\nclient_id = \"omgate\"\nclient_secret = \"${{file:secrets/oidc}}\"\n\
         role_claim = \"groups\"\n[[server.oidc.grant]]\nvalue = \"a\"\nrole = \"viewer\"\n\n\
         [[account]]\nname = \"chief\"\npassword = \"{hash}\"\nrole = \"admin\"\nrights = [\"payload\"]\n"
    )
}

/// Puts the secrets where the configuration finds them; the needles to look for.
fn plant(folder: &Path) -> Vec<Needle> {
    for name in ["secrets", "credentials"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let private = |path: PathBuf, text: &str| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (name, secret) in FILES {
        private(folder.join("secrets").join(name), secret);
    }
    private(folder.join("credentials/digest"), CREDENTIAL);
    self_signed(folder, "jwt", 30, "");
    let rsa = "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=signing -keyout signing.key -out signing.pem";
    let p12 = format!("pkcs12 -export -in jwt.pem -inkey jwt.key -out client.p12 -passout pass:{}", ENVIRONMENT[5].1);
    for arguments in [rsa, &p12] {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut needles: Vec<Needle> =
        ENVIRONMENT.iter().chain(&FILES).map(|(name, secret)| Needle::new(name, secret)).collect();
    for (name, secret) in [
        ("digest", CREDENTIAL),
        ("access token", ACCESS_TOKEN),
        ("password", PASSWORD),
        ("SessionId", SESSION),
        ("hmac, less its prefix", FILES[2].1.trim_start_matches("whsec_")),
        ("hmac, decoded", "pl4nted-signing-secret-of-a-webhook"),
    ] {
        needles.push(Needle::new(name, secret));
    }
    for name in ["jwt.key", "signing.key"] {
        let pem = fs::read_to_string(folder.join(name)).unwrap();
        fs::rename(folder.join(name), folder.join("secrets").join(name)).unwrap();
        // What comes first in a short key and last in a long one is private; in between the public half stands too.
        let lines: Vec<_> = pem.lines().filter(|line| line.len() == 64 && !line.starts_with("-----")).collect();
        let private = if lines.len() > 4 { &lines[lines.len() - 2..] } else { &lines[..1] };
        needles.extend(private.iter().map(|line| Needle::new(name, line)));
    }
    needles
}

/// Envelopes as Salesforce sends them with a `SessionId`: whole ones, one with a broken record, and what is refused.
fn envelopes(round: &str) -> Vec<String> {
    let whole = |id: &str, name: &str| {
        format!(
            "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body><notifications \
             xmlns=\"http://soap.sforce.com/2005/09/outbound\"><OrganizationId>{ORGANIZATION}</OrganizationId><ActionId>{ACTION}</ActionId>\
             <SessionId>00D24000000abcd!{SESSION}</SessionId><Notification><Id>{id}</Id><sObject xsi:type=\"sf:Opportunity\" \
             xmlns:sf=\"urn:sobject.enterprise.soap.sforce.com\"><sf:Id>006{id}</sf:Id><sf:Name>{name}</sf:Name></sObject>\
             </Notification></notifications></soapenv:Body></soapenv:Envelope>"
        )
    };
    vec![
        whole(&format!("04l1{round}"), "A"),
        whole(&format!("04l2{round}"), "B"),
        whole("", "no id"),
        whole("04l3", "A").replace(ORGANIZATION, "00D24000000zzzzEAA"),
        whole("04l4", "A").replace("</soapenv:Envelope>", ""),
        whole("04l5", "&nothing;"),
        format!("SessionId=00D24000000abcd!{SESSION}"),
        format!("<SessionId>{SESSION}"),
    ]
}

/// Runs a command of omgate in the gateway's folder, with its environment.
fn omgate(process: &Process, token: &str, arguments: &[&str]) -> Output {
    let folder = process.folder.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_omgate"));
    command.args(arguments).current_dir(folder).envs(ENVIRONMENT).stdin(Stdio::null());
    command.env("CREDENTIALS_DIRECTORY", folder.join("credentials"));
    if !token.is_empty() {
        command.env("OMGATE_TOKEN", token);
    }
    command.output().unwrap()
}

/// What people and machines see of a gateway that runs.
async fn looked_at(process: &Process, token: &str, heard: &mut Heard) {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let address = |path: &str| format!("http://127.0.0.1:{}{path}", process.admin);
    for (method, path, _) in ADDRESSES {
        for id in ["1", "3", "04l1text"] {
            let path = path.replace("{id}", id).replace("{verb}", "hold").replace("{name}", "orders");
            let request = match *method {
                "GET" => http.get(address(&path)),
                _ if ["move", "backup", "reload", "revoke"].iter().any(|word| path.contains(word)) => continue,
                _ => http.post(address(&path)).json(&json!({"nonsense": true})),
            };
            let answer = request.bearer_auth(token).send().await.unwrap();
            heard.add(format!("{method} {path}, headers"), format!("{:?}", answer.headers()));
            heard.add(format!("{method} {path}"), answer.bytes().await.unwrap());
        }
    }
    for command in [
        "status",
        "status --json",
        "notifications list",
        "notifications list --json",
        "notifications show 04l1text",
        "deliveries list",
        "deliveries list --json",
        "dead list",
        "issues list",
        "issues list --json",
        "jobs list",
        "systems list",
        "alarms list",
        "alarms test",
        "ledger",
        "ledger --by-day --format csv",
        "sources gaps",
        "audit list",
        "audit list --json",
        "audit verify",
        "audit export exported.json",
        "token list",
        "store verify",
    ] {
        heard.output(command, omgate(process, token, &command.split(' ').collect::<Vec<_>>()));
    }
    for id in [1, 2, 5, 8, 12, 13] {
        let id = id.to_string();
        heard.output("deliveries show", omgate(process, token, &["deliveries", "show", &id]));
        heard.output("deliveries show --json", omgate(process, token, &["deliveries", "show", &id, "--json"]));
        heard.output("why", omgate(process, token, &["why", &id]));
    }
}

/// What needs no gateway.
fn tried(process: &Process, token: &str, heard: &mut Heard) {
    let fixture = process.folder.path().join("fixtures");
    fs::create_dir_all(&fixture).unwrap();
    fs::write(fixture.join("one.xml"), &envelopes("")[0]).unwrap();
    for command in ["check", "check --json", "test fixtures --update", "test fixtures", "what-if --config omgate.toml"]
    {
        heard.output(command, omgate(process, token, &command.split(' ').collect::<Vec<_>>()));
    }
    for name in [
        "basic", "bearer", "api-key", "digest", "oauth", "jwt", "hmac", "ntlm", "header", "proxy", "pkcs12", "taken",
        "soap",
    ] {
        for more in [&["--dry-run"][..], &["--json"]] {
            let sets = ["OrderNumber=1", "Total=1", "Currency=EUR", "Customer.Id=1"]
                .into_iter()
                .flat_map(|set| ["--set", set]);
            let sets: Vec<&str> = if name == "soap" { sets.collect() } else { Vec::new() };
            heard.output(&format!("call {name}"), omgate(process, token, &[&["call", name][..], more, &sets].concat()));
        }
    }
    for command in
        ["", "serve", "check", "call", "status", "token", "token create", "store", "store move", "deliveries", "send"]
    {
        let words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).chain(["--help"]).collect();
        heard.output(&format!("{command} --help"), omgate(process, token, &words));
    }
}

/// The same text without what is said again below, in the same section.
fn last_of_each_key(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let section = lines.iter().rposition(|known| known.starts_with('[')).unwrap_or(0);
        let key = line.split(" = ").next().filter(|key| *key != line);
        let mut place = 0;
        lines.retain(|known| {
            place += 1;
            place <= section || key.is_none() || known.split(" = ").next() != key
        });
        lines.push(line);
    }
    lines.join("\n")
}

/// Secrets in places where none belongs.
fn misplaced(process: &Process, heard: &mut Heard) -> usize {
    let source = "[[source]]\nname = \"s\"\npath = \"/s\"\norganizations = [\"*\"]\n";
    let rest = "[[destination]]\nname = \"d\"\nkind = \"rest\"\nurl = \"http://127.0.0.1:9/\"\n";
    let route = "[[route]]\nsource = \"s\"\ndestination = \"d\"\n";
    let wrong = [
        "[server]\nlisten = \"S\"",
        "[server]\nadmin_listen = \"S\"",
        "[server]\ndrain = \"S\"",
        "[server]\nlog = \"S\"",
        "[server]\nlog_level = \"S=S\"",
        "[server]\nlog_level = \"omgate=S\"",
        "[server.limits]\nbody = \"S\"",
        "[server.tls]\ncertificate = \"S\"\nprivate_key = \"S\"",
        "[server.tls]\nclient_pins = [\"S\"]",
        "[server.proxy]\naddresses = [\"S\"]",
        "[server.proxy]\naddresses = [\"10.0.0.1\"]\ncertificate_header = \"S S\"",
        "[server.oidc]\nissuer = \"S\"\nclient_id = \"S\"\nrole_claim = \"S\"",
        "[[account]]\nname = \"S\"\npassword = \"S\"",
        "[[account]]\nname = \"a\"\npassword = \"S\"\nrole = \"S\"",
        "[store]\nurl = \"S\"",
        "[store]\nurl = \"postgres://u:S@[/x\"",
        "[store]\nurl = \"postgres://u:S@h/d?S=1\"",
        "[egress]\nallow = [\"S/99\"]",
        "[retention]\ndedupe = \"S\"",
        "[[source]]\nname = \"S S\"\npath = \"S\"\norganizations = [\"S S\"]",
        "[[source]]\nname = \"x\"\npath = \"/x\"\norganizations = [\"*\"]\nwsdl = \"S\"",
        "[[source]]\nname = \"x\"\npath = \"/x\"\norganizations = [\"*\"]\naddresses = [\"S\"]",
        "[[source]]\nname = \"x\"\npath = \"no/S\"\norganizations = [\"*\"]",
        "D\nurl = \"S\"",
        "D\nurl = \"ht!tp://S\"",
        "D\nurl = \"http://S.S:99999/\"",
        "D\nurl = \"http://h/{{ record.S }\"",
        "D\nmethod = \"S\"",
        "D\ntimeout = \"S\"",
        "D\nrate = \"S\"",
        "D\nheaders = { \"X-S y\" = \"a\" }",
        "D\nheaders = { X = \"{{ S\" }",
        "D\nproxy = \"S\"",
        "D\nproxy = \"http://u:S@\"",
        "D\nca = \"S\"",
        "D\ntls = { pins = [\"S\"] }",
        "D\ntls = { client_certificate = \"S\", client_key = \"S\" }",
        "D\ntls = { pkcs12 = { file = \"client.p12\", password = \"S\" } }",
        "D\nauth = { header = \"S S\", value = \"S\" }",
        "D\nauth = { bearer = \"S\", basic = { username = \"S\" } }",
        "D\nauth = { oauth2 = { token_url = \"S\", client_id = \"S\", client_secret = \"S\" } }",
        "D\nauth = { oauth2 = { token_url = \"http://h/\", client_id = \"S\", jwt_bearer = { key = \"S\" } } }",
        "D\nauth = { oauth2 = { token_url = \"http://h/\", client_id = \"S\", jwt_bearer = { key = \"-----BEGIN S\" } } }",
        "D\nretry = { first = \"S\" }",
        "D\ncalendar = { time_zone = \"S\", open = [\"S\"] }",
        "D\nretry_when = \"response.S +\"",
        "D\nkeep = { a = \"response.body | S\" }",
        "D\nsystem = \"S S\"",
        "D\nkind = \"S\"",
        "[[destination]]\nname = \"x\"\nkind = \"soap\"\nwsdl = \"S\"\noperation = \"S\"",
        "R\nwhen = \"record.Name == 'S\"",
        "R\nwhen = \"S\"",
        "R\nlane = \"record.Id | S\"",
        "R\nsource = \"S\"",
        "R\nafter = \"S\"",
        "R\n[route.map]\na = \"lookup('S')\"",
        "R\n[route.map]\na = \"'S' | lookup('nothing')\"",
        "R\n[route.map]\na = \"'S' | decimal(2)\"",
        "R\n[route.map]\n\"S..a\" = \"1\"",
        "R\ntemplate = \"S\"",
        "[[table]]\nname = \"t\"\nfile = \"S\"\nkey = \"S\"\nvalue = \"S\"",
        "unknown = \"S\"",
        "[server]\nnonsense = \"S\"",
        "[server]\nlisten = \"${file:S}\"",
        "[server]\nlisten = \"${S\"",
    ];
    let path = process.folder.path().join("wrong.toml");
    for text in wrong {
        for reference in ["${file:secrets/bearer}", "${command:cat secrets/api-key}"] {
            let text = text.replace('S', reference);
            let text = text.replace("D\n", &format!("{route}{rest}")).replace("R\n", &format!("{rest}{route}"));
            let source = if text.contains("[[source]]") { "" } else { source };
            fs::write(&path, format!("{}\n{source}", last_of_each_key(&text))).unwrap();
            let said = match config::load(&path) {
                Ok(loaded) => serde_json::to_string(&(&loaded.warnings, &loaded.stored)).unwrap(),
                Err(problems) => format!("{problems}\n{}", serde_json::to_string(&problems.0).unwrap()),
            };
            heard.add(format!("a check of {text}"), said);
        }
    }
    fs::remove_file(path).unwrap();
    wrong.len()
}

fn environment(folder: &Path) -> Vec<(String, String)> {
    let credentials = ("CREDENTIALS_DIRECTORY".to_owned(), folder.join("credentials").display().to_string());
    ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain([credentials]).collect()
}

async fn start(process: &mut Process) {
    let environment = environment(process.folder.path());
    let pairs: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    process.start(&pairs).await;
}

/// A session at the page: what its cookie holds.
async fn session(process: &Process, heard: &mut Heard) -> Option<String> {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let url = format!("http://127.0.0.1:{}/login", process.admin);
    let page = http.get(&url).send().await.unwrap();
    let cookies = |answer: &reqwest::Response| -> Vec<String> {
        let all = answer.headers().get_all("set-cookie").iter();
        all.filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::to_owned)).collect()
    };
    let cookie = cookies(&page).join("; ");
    let text = page.text().await.unwrap();
    let form = text.split("name=\"form\" value=\"").nth(1)?.split('"').next()?.to_owned();
    for password in ["pl4nted-but-wrong", PASSWORD] {
        let fields = [("name", "chief"), ("password", password), ("form", &form)];
        let answer = http.post(&url).header("Cookie", &cookie).form(&fields).send().await.unwrap();
        let session = cookies(&answer).into_iter().find(|cookie| cookie.contains("session"));
        heard.add("a login", answer.bytes().await.unwrap());
        if let Some(session) = session {
            let (_, value) = session.split_once('=')?;
            let page = http.get(url.replace("/login", "/")).header("Cookie", &session).send().await.unwrap();
            assert_eq!(page.status(), 200);
            heard.add("the page", page.bytes().await.unwrap());
            return Some(value.to_owned());
        }
    }
    None
}

/// Reloads that fail, and a move that cannot be.
fn failed(process: &Process, token: &str, heard: &mut Heard) {
    let good = fs::read_to_string(process.config()).unwrap();
    for (old, new) in
        [("method = \"POST\"", "method = \"${PLANTED_BASIC}\""), ("${PLANTED_NTLM}", "${PLANTED_NOTHING}")]
    {
        fs::write(process.config(), good.replacen(old, new, 1)).unwrap();
        heard.output("reload", omgate(process, token, &["reload"]));
        process.hang_up();
    }
    fs::write(process.config(), good).unwrap();
    for command in [
        "reload --dry-run",
        "store move --to postgres://u:${PLANTED_POSTGRES}@127.0.0.1:9/omgate --reason test",
        "store backup backup.db --reason test",
        "store prune --reason test",
        "systems pause basic --reason test",
    ] {
        heard.output(command, omgate(process, token, &command.split(' ').collect::<Vec<_>>()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_are_nowhere_in_what_is_said_kept_shown_or_exported() {
    if !has_openssl() {
        return;
    }
    let server = Server::start(|_, asked| repeated(asked)).await;
    let mut process = Process::prepare("");
    let mut needles = plant(process.folder.path());
    let mut heard = Heard::default();
    process.configure(&configuration(&server, "text", ""));
    start(&mut process).await;
    let created =
        omgate(&process, "", &["token", "create", "--name", "planted", "--role", "admin", "--rights", "payload"]);
    let text = String::from_utf8_lossy(&created.stdout).into_owned();
    let token =
        text.split_whitespace().find(|word| word.starts_with("omg_")).unwrap_or_else(|| panic!("{text}: {created:?}"));
    let token = token.trim_matches(['"', ',', '.']).to_owned();
    needles.push(Needle::new("token", &token));
    process.stop().await;

    for (log, dead) in [("text", 20), ("json", 38)] {
        process.configure(&configuration(&server, log, &accounts(&account::hash(PASSWORD).unwrap())));
        start(&mut process).await;
        for (number, body) in envelopes(log).into_iter().enumerate() {
            let path = format!("/om/{}", ENVIRONMENT[6].1);
            let answered = process.post(&path, body.clone()).await.unwrap();
            heard.add("an answer to Salesforce", answered.body.clone());
            assert!(answered.is_ack() || number > 1, "{body}: {answered:?}");
            heard.add("another", process.post("/om/pl4nted", body).await.unwrap().body);
        }
        settled(&process, &token, dead).await;
        let cookie = session(&process, &mut heard).await.expect("a session");
        needles.push(Needle::new("session", &cookie));
        failed(&process, &token, &mut heard);
        looked_at(&process, &token, &mut heard).await;
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
        heard.files(process.folder.path());
        process.stop().await;
    }
    tried(&process, &token, &mut heard);
    assert!(misplaced(&process, &mut heard) > 50);
    heard.files(process.folder.path());

    // The secrets did go where they belong, and came back: otherwise nothing was tried.
    let asked: String = server.asked().iter().map(|asked| format!("{asked:?}\n")).collect();
    for secret in [FILES[0].1, FILES[1].1, FILES[4].1, FILES[5].1, ACCESS_TOKEN, "pl4nted-usernametoken"] {
        assert!(asked.contains(secret), "{secret} was never sent");
    }
    let found: Vec<String> = heard
        .0
        .iter()
        .flat_map(|(whence, text)| {
            let found = needles.iter().filter(|needle| needle.is_in(text));
            found.map(move |needle| format!("{} is in {whence}", needle.name))
        })
        .collect();
    println!(
        "{} needles in {} places, {} bytes",
        needles.len(),
        heard.0.len(),
        heard.0.iter().map(|(_, text)| text.len()).sum::<usize>()
    );
    assert!(needles.len() >= 25 && heard.0.len() > 300, "{} {}", needles.len(), heard.0.len());
    assert!(
        found.is_empty(),
        "{} of {}:\n{}",
        found.len(),
        heard.0.len(),
        found.into_iter().take(60).collect::<Vec<_>>().join("\n")
    );
}

/// Until nothing more happens by itself: every delivery was tried.
async fn settled(process: &Process, token: &str, dead_least: u64) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let output = omgate(process, token, &["status", "--json"]);
        let ledger: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let dead = ledger["deliveries"]["dead"].as_u64().unwrap_or(0);
        let delivered = ledger["deliveries"]["delivered"].as_u64().unwrap_or(0);
        if dead >= dead_least && delivered >= 2 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{ledger:#}\n{}", process.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_needle_is_found_in_every_form() {
    let needle = Needle::new("n", "pl4nted & <\"word\">");
    for text in ["a pl4nted & <\"word\"> b", "pl4nted &amp; &lt;\"word\"&gt;", "pl4nted%20%26%20%3C%22word%22%3E"] {
        assert!(needle.is_in(text.as_bytes()), "{text}");
    }
    for user in ["", "u:", "us:", "use:"] {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{user}pl4nted & <\"word\">"));
        assert!(needle.is_in(basic.as_bytes()), "{basic}");
    }
    assert!(!needle.is_in(b"planted & word"));
}

/// Whatever the machine says of cores.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_aborts_leaves_no_core() {
    let process = Process::prepare(
        "[server]\nlisten = \"127.0.0.1:{public}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n[store]\nurl = \"sqlite:omgate.db\"\n\
         [[source]]\nname = \"s\"\npath = \"/s\"\norganizations = [\"*\"]\n[[destination]]\nname = \"d\"\nkind = \"rest\"\n\
         url = \"http://127.0.0.1:9/\"\n[[route]]\nsource = \"s\"\ndestination = \"d\"\n",
    );
    let script = format!(
        "ulimit -c unlimited; exec {} serve --config {}",
        env!("CARGO_BIN_EXE_omgate"),
        process.config().display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(process.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut ready = false;
    while !ready && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ready = process.is_ready().await;
    }
    let sent = Command::new("kill").args([if ready { "-ABRT" } else { "-KILL" }, &child.id().to_string()]).status();
    let status = child.wait().unwrap();
    assert!(ready && sent.unwrap().success(), "it did not start");
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false), "{status}");
    let left = fs::read_dir(process.folder.path()).unwrap().flatten();
    let cores = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
}
