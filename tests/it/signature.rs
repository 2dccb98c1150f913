//! Signed envelopes, judged by others: xmlsec1 and python-xmlsec take what we signed, and nothing that was changed.
//!
//! A verifier that is not installed is skipped, and the reason printed; `.ci/run` installs them. WSS4J judges in `interop`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use omgate::clock::Timestamp;
use omgate::config;
use omgate::secret::Text;
use omgate::signing::{Key, Signer};
use omgate::soap::security::signature::{Signature, Signed};
use omgate::soap::security::{Fresh, Order, PasswordForm, Security, UsernameToken};

const FRESH: Fresh = Fresh { now: Timestamp(1_790_000_000_123), nonce: *b"0123456789abcdef" };
const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSA: &str = "http://www.w3.org/2005/08/addressing";

/// Past the harness's capture: a test that did not run must be seen.
pub(crate) fn skipped(reason: &str) {
    std::io::stdout().lock().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let asked = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

pub(crate) fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes `NAME.pem`, signed by itself, and its key `NAME.key`; false where there is no openssl.
pub(crate) fn certificate(folder: &Path, name: &str, algorithm: &str, days: u32) -> bool {
    if !runs("openssl", &["version"]) {
        skipped("there is no openssl to make certificates with");
        return false;
    }
    let arguments = format!(
        "req -x509 -newkey {algorithm} -nodes -days {days} -subj /CN={name} -keyout {name}.key -out {name}.pem"
    );
    openssl(folder, &arguments);
    true
}

pub(crate) const RSA: &str = "rsa:2048";
const EC: &str = "ec -pkeyopt ec_paramgen_curve:prime256v1";

pub(crate) fn signature(folder: &Path, name: &str, parts: &[&str]) -> Signature {
    let key = Key::from_pem(&fs::read_to_string(folder.join(format!("{name}.key"))).unwrap()).unwrap();
    let signer = Signer::new(&fs::read(folder.join(format!("{name}.pem"))).unwrap(), key).unwrap();
    let parts = parts.iter().map(|part| Signed::parse(part).unwrap()).collect();
    Signature { signer: Some(Arc::new(signer)), parts }
}

fn security(signature: Signature) -> Security {
    Security {
        token: Some(UsernameToken {
            username: Text::plain("omgate"),
            password: Text::plain("s3cr3t & co"),
            form: PasswordForm::Digest,
            nonce: true,
        }),
        ttl: Some(Duration::from_secs(300)),
        signature: Some(signature),
        order: Order::TimestampFirst,
        must_understand: true,
        actor: None,
        clock_skew: Duration::ZERO,
    }
}

/// Envelopes as the model writes them, and as templates may: what else is declared, meant and said in them must not
/// matter.
fn envelopes() -> Vec<(&'static str, String)> {
    let headers = format!(
        "<w:To xmlns:w=\"{WSA}\">http://erp/?a=1&amp;b=2</w:To><Action xmlns=\"{WSA}\" a=\"1\">urn:do</Action>"
    );
    vec![
        (
            "plain",
            format!(
                "<E:Envelope xmlns:E=\"{SOAP11}\"><E:Header>{headers}</E:Header><E:Body><a/></E:Body></E:Envelope>"
            ),
        ),
        (
            "newer, without prefixes",
            format!(
                "<?xml version=\"1.0\"?>\n<Envelope xmlns=\"{SOAP12}\"><Header>{headers}</Header>\r\n<Body  >\r\n<a xmlns=\"\"/></Body></Envelope>"
            ),
        ),
        (
            "types in values, and all kinds of characters",
            format!(
                "<E:Envelope xmlns:E=\"{SOAP11}\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:t=\"urn:t\"><E:Header>{headers}</E:Header>\
                 <E:Body><t:a z=\"&#13;&#10;&quot;&lt;\"\n b='1'><b xsi:type=\"xsd:string\">é &amp; &gt;&#13;\r\n<![CDATA[<&>]]></b>\
                 <!-- c --><?p q ?><c xsi:type=\"t:C\" xsi:nil='true' /></t:a></E:Body></E:Envelope>"
            ),
        ),
        (
            "prefixes that mean something else, and ids that are there",
            format!(
                "<E:Envelope xmlns:E=\"{SOAP11}\" xmlns:wsu=\"urn:other\" xmlns:ds=\"urn:ds\"><E:Header>{headers}</E:Header>\
                 <E:Body xmlns:u=\"{WSU}\" u:Id=\"own\"><wsu:a ds:b=\"wsu:c\"/></E:Body></E:Envelope>"
            ),
        ),
        (
            "the prefix of ids is declared",
            format!(
                "<E:Envelope xmlns:E=\"{SOAP11}\" xmlns:u=\"{WSU}\"><E:Header>{headers}</E:Header><E:Body><u:a/></E:Body></E:Envelope>"
            ),
        ),
    ]
}

const PARTS: [&str; 6] =
    ["timestamp", "body", "username-token", "to", "{http://www.w3.org/2005/08/addressing}Action", "certificate"];

/// Who says whether a document is signed with the key of a certificate.
#[derive(Clone, Copy, Debug)]
enum Verifier {
    Xmlsec1,
    Python(&'static str),
}

const PYTHON: &str = r#"
import sys
import xmlsec
from lxml import etree
U = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
root = etree.parse(sys.argv[1]).getroot()
context = xmlsec.SignatureContext()
for node in root.iter(etree.Element):
    if node.get("{%s}Id" % U) is not None:
        context.register_id(node, "Id", U)
context.key = xmlsec.Key.from_file(sys.argv[2], xmlsec.constants.KeyDataFormatCertPem)
context.verify(xmlsec.tree.find_node(root, xmlsec.constants.NodeSignature))
"#;

impl Verifier {
    /// Those that are installed.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        if runs("xmlsec1", &["--version"]) {
            all.push(Self::Xmlsec1);
        } else {
            skipped("xmlsec1 is not installed, and judges no signature");
        }
        match ["/usr/bin/python3", "python3"].into_iter().find(|python| runs(python, &["-c", "import xmlsec, lxml"])) {
            Some(python) => all.push(Self::Python(python)),
            None => skipped("python-xmlsec is not installed, and judges no signature"),
        }
        all
    }

    /// Whether it takes the signature, and what it says.
    fn takes(self, folder: &Path, text: &str, certificate: &str) -> (bool, String) {
        let document = folder.join("signed.xml");
        fs::write(&document, text).unwrap();
        let certificate = folder.join(format!("{certificate}.pem"));
        let mut command = match self {
            Self::Xmlsec1 => {
                let mut command = Command::new("xmlsec1");
                command.arg("--verify").arg("--pubkey-cert-pem").arg(&certificate);
                for (namespace, name) in [
                    (SOAP11, "Body"),
                    (SOAP12, "Body"),
                    (WSU, "Timestamp"),
                    (WSSE, "UsernameToken"),
                    (WSSE, "BinarySecurityToken"),
                    (WSA, "To"),
                    (WSA, "Action"),
                ] {
                    command.arg("--id-attr:Id").arg(format!("{namespace}:{name}"));
                }
                command.arg(&document);
                command
            }
            Self::Python(python) => {
                let mut command = Command::new(python);
                command.args(["-c", PYTHON]).arg(&document).arg(&certificate);
                command
            }
        };
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn others_take_what_we_sign_and_nothing_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "rsa", RSA, 90)
        || !certificate(folder, "ec", EC, 90)
        || !certificate(folder, "other", RSA, 90)
    {
        return;
    }
    let verifiers = Verifier::all();
    for (what, envelope) in envelopes() {
        for name in ["rsa", "ec"] {
            let signed = security(signature(folder, name, &PARTS)).add(&envelope, &FRESH).unwrap();
            assert_eq!(signed.matches("<ds:Reference ").count(), PARTS.len(), "{signed}");
            let created = between(&signed, "Created>", "<");
            let changed = [
                ("the Body", signed.replacen("</E:Body", " </E:Body", 1).replacen("</Body", " </Body", 1)),
                ("the Timestamp", signed.replacen(created, "2026-09-21T14:13:21.123Z", 1)),
                ("the UsernameToken", signed.replacen("omgate<", "omgatf<", 1)),
                ("To", signed.replacen("http://erp/", "http://erq/", 1)),
                ("Action", signed.replacen("urn:do<", "urn:dp<", 1)),
                ("what is signed", signed.replacen("URI=\"#TS-", "URI=\"#UT-", 1)),
            ];
            for verifier in &verifiers {
                let (takes, said) = verifier.takes(folder, &signed, name);
                assert!(takes, "{verifier:?}, {what}, {name}: {said}\n{signed}");
                for (change, text) in &changed {
                    assert_ne!(text, &signed, "{change}, {what}");
                    let (takes, said) = verifier.takes(folder, text, name);
                    assert!(!takes, "{verifier:?} takes {change} changed, {what}, {name}: {said}\n{text}");
                }
                assert!(!verifier.takes(folder, &signed, "other").0, "{verifier:?} takes another's certificate");
            }
        }
    }
}

#[test]
fn each_signature_is_made_anew_and_changes_nothing_but_ids() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "rsa", RSA, 90) {
        return;
    }
    let (_, envelope) = envelopes().remove(2);
    let security = security(signature(folder, "rsa", &PARTS));
    let first = security.add(&envelope, &FRESH).unwrap();
    assert_eq!(first, security.add(&envelope, &FRESH).unwrap(), "what is the same is signed the same");
    let later = Fresh { now: Timestamp(FRESH.now.0 + 1_000), nonce: [9; 16] };
    let second = security.add(&envelope, &later).unwrap();
    assert_ne!(between(&first, "<ds:SignatureValue>", "<"), between(&second, "<ds:SignatureValue>", "<"));
    assert!(first.contains("X509-30313233343536373839616263646566") && !second.contains("X509-3031"), "{second}");
    let names =
        ["<wsu:Timestamp ", "<wsse:UsernameToken ", "<wsse:BinarySecurityToken ", "<ds:Signature ", "</wsse:Security>"];
    let places: Vec<usize> =
        names.iter().map(|name| first.find(name).unwrap_or_else(|| panic!("{name}: {first}"))).collect();
    assert!(places.is_sorted(), "{first}");
    let body = |text: &str| text.split_once("<E:Body").unwrap().1.split_once('>').unwrap().1.to_owned();
    assert_eq!(body(&first), body(&envelope));
    assert!(first.contains("PrefixList=\"t xsd\""), "{first}");
}

#[test]
fn what_is_not_there_or_not_alone_is_not_signed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "rsa", RSA, 90) {
        return;
    }
    let plain = |inside: &str| format!("<E:Envelope xmlns:E=\"{SOAP11}\">{inside}</E:Envelope>");
    for (parts, envelope, expected) in [
        (&["to"][..], plain("<E:Body/>"), "has no To to be signed"),
        (&["{urn:x}H"], plain("<E:Body/>"), "has no {urn:x}H to be signed"),
        (&["body"], plain("<E:Header/><x/>"), "has no Body to be signed"),
        (
            &["body"],
            plain(&format!("<E:Body xmlns:u=\"{WSU}\" u:Id=\"a\"><x u:Id=\"a\"/></E:Body>")),
            "has the id \"a\" of what is to be signed more than once",
        ),
    ] {
        let refused = security(signature(folder, "rsa", parts)).add(&envelope, &FRESH).unwrap_err();
        assert_eq!(refused, expected);
    }
    let unread = Signature { signer: None, parts: vec![Signed::Body] };
    let refused = security(unread).add(&plain("<E:Body/>"), &FRESH).unwrap_err();
    assert_eq!(refused, "is to be signed, and the certificate for it was not read");
}

fn configuration(security: &str) -> String {
    let wsdl = Path::new(env!("CARGO_MANIFEST_DIR")).join("wsdl");
    format!(
        "[[source]]\nname = \"orders\"\npath = \"/om\"\norganizations = [\"00D24000000abcdEAA\"]\nwsdl = {:?}\n\
         [[destination]]\nname = \"erp\"\nkind = \"soap\"\nwsdl = {:?}\noperation = \"CreateOrder\"\n\
         endpoint = \"http://erp.internal/orders\"\naddressing = true\nsecurity = {security}\n\
         [[route]]\nname = \"orders\"\nsource = \"orders\"\ndestination = \"erp\"\n[route.map]\nOrderNumber = \"record.Name\"\n\
         Total = \"record.Amount | default(0) | decimal(2)\"\nCurrency = \"'EUR'\"\nCountry = \"'DE'\"\nCustomer.Id = \"record.Id\"\n",
        wsdl.join("order-won.wsdl"),
        wsdl.join("erp.wsdl"),
    )
}

fn written(folder: &Path, security: &str) -> PathBuf {
    let path = folder.join("omgate.toml");
    fs::write(&path, configuration(security)).unwrap();
    path
}

fn omgate(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_omgate")).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_check_tells_certificates_that_will_not_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "good", RSA, 90) || !certificate(folder, "soon", EC, 10) {
        return;
    }
    openssl(folder, "req -new -key good.key -subj /CN=over -out over.csr");
    openssl(folder, "x509 -req -in over.csr -signkey good.key -days -1 -out over.pem");
    fs::write(folder.join("empty.pem"), "nothing").unwrap();
    for (security, is_right, expected) in [
        (
            "{ signature = { certificate = \"good.pem\", private_key = \"good.key\" } }",
            true,
            "signs Timestamp, Body with RSA-SHA256 as CN=good",
        ),
        (
            "{ signature = { certificate = \"good.pem\", private_key = \"${file:good.key}\", sign = [\"body\", \"timestamp\", \"to\"] } }",
            true,
            "signs Body, Timestamp, To with RSA-SHA256",
        ),
        (
            "{ signature = { certificate = \"soon.pem\", private_key = \"soon.key\" } }",
            true,
            "warning: destination.erp.security.signature.certificate: the certificate of CN=soon expires at",
        ),
        (
            "{ signature = { certificate = \"over.pem\", private_key = \"good.key\" } }",
            true,
            "the certificate of CN=over expired at",
        ),
        (
            "{ timestamp = false, signature = { certificate = \"good.pem\", private_key = \"good.key\" } }",
            true,
            "signs no Timestamp: whoever gets hold of a message can send it again",
        ),
        (
            "{ signature = { certificate = \"good.pem\", private_key = \"soon.key\" } }",
            false,
            "security.signature.private_key: is not the private key of the certificate of CN=good",
        ),
        (
            "{ signature = { certificate = \"empty.pem\", private_key = \"good.key\" } }",
            false,
            "\"empty.pem\" has no PEM certificate in it",
        ),
        (
            "{ signature = { certificate = \"none.pem\", private_key = \"none.key\" } }",
            false,
            "security.signature.certificate: cannot read \"none.pem\": there is no such file",
        ),
    ] {
        let path = written(folder, security);
        let (succeeded, said) = omgate(&["check", "--config", path.to_str().unwrap()]);
        let flat = said.replace("│", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(succeeded == is_right && flat.contains(expected), "{security}: {said}");
    }
}

#[test]
fn a_fixture_shows_what_would_be_signed_and_a_stored_configuration_needs_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificate(folder, "good", RSA, 90) {
        return;
    }
    let path = written(folder, "{ signature = { certificate = \"good.pem\", private_key = \"good.key\" } }");
    fs::create_dir(folder.join("fixtures")).unwrap();
    fs::copy("fixtures/envelopes/create.xml", folder.join("fixtures/create.xml")).unwrap();
    let (succeeded, said) = omgate(&["test", "--config", path.to_str().unwrap(), "--update"]);
    assert!(succeeded, "{said}");
    let golden = fs::read_to_string(folder.join("fixtures/create.golden")).unwrap();
    assert!(golden.contains("    at the edge: signs Timestamp, Body with RSA-SHA256 as CN=good\n"), "{golden}");
    assert!(!golden.contains("BinarySecurityToken"), "{golden}");

    let loaded = config::load(&path).unwrap();
    assert!(!format!("{:?}", loaded.stored).contains("PRIVATE KEY"));
    fs::remove_file(folder.join("good.pem")).unwrap();
    fs::remove_file(folder.join("good.key")).unwrap();
    config::load_stored(&loaded.stored).unwrap_or_else(|problems| panic!("{problems}"));
}
