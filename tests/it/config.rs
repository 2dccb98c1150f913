//! Wrong configurations say everything that is wrong, at its place; right ones survive being stored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that meets the unexpected fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use omgate::clock::Timestamp;
use omgate::config;
use omgate::expression::Subject;
use omgate::map::{self, Identity};
use omgate::parse;

const FOLDER: &str = "fixtures/config-errors";

fn files(extension: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn wrong_configurations_say_everything_that_is_wrong() {
    let update = std::env::var_os("OMGATE_UPDATE").is_some();
    let mut goldens = files("txt");
    let mut failures = Vec::new();
    let configurations = files("toml");
    assert!(configurations.len() >= 25);
    for path in configurations {
        let actual = match config::load(&path) {
            Ok(_) => panic!("{} was taken", path.display()),
            Err(problems) => format!("{problems}\n"),
        };
        let golden = path.with_extension("txt");
        goldens.remove(&golden);
        if update {
            fs::write(&golden, &actual).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != actual {
            failures.push(format!("{} differs; it gives now:\n{actual}", golden.display()));
        }
    }
    assert!(goldens.is_empty(), "golden files without a configuration: {goldens:?}");
    assert!(failures.is_empty(), "{}\n(OMGATE_UPDATE=1 writes them anew)", failures.join("\n"));
}

#[test]
fn a_stored_configuration_makes_the_same_calls() {
    let loaded = config::load(Path::new("fixtures/omgate.toml")).unwrap();
    let again = config::load_stored(&loaded.stored).unwrap();
    assert_eq!(again.stored.files, loaded.stored.files);
    let names: Vec<&str> = loaded.stored.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["", ".", "../wsdl/erp.wsdl", "../wsdl/erp.xsd", "../wsdl/order-won.wsdl", "countries.csv"]);

    let body = fs::read("fixtures/envelopes/create.xml").unwrap();
    let types = loaded.sources[0].record_types.as_deref();
    let envelope = parse::envelope(&body, None, &parse::Limits::default(), types).unwrap();
    let subject = Subject {
        record: envelope.notifications[0].record(),
        notification_id: "04l1",
        received_at: Timestamp(0),
        organization_id: "00D1",
        action_id: "04k1",
        enterprise_url: "",
        partner_url: "",
        source: "order-won",
        after: None,
    };
    let identity = Identity { idempotency_key: "key".to_owned() };
    for (name, route) in &loaded.plan.routes {
        let call = map::call(&route.mapping, &subject, &identity).unwrap();
        let same = map::call(&again.plan.routes[name].mapping, &subject, &identity).unwrap();
        assert_eq!((call.url.reveal(), &call.body), (same.url.reveal(), &same.body));
        assert_eq!(format!("{:?}", call.headers), format!("{:?}", same.headers));
    }
}

#[test]
fn secrets_are_used_and_masked_and_never_stored() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "s3cr3t-key\n").unwrap();
    let text = r#"
        [[source]]
        name = "s"
        path = "/s"
        organizations = ["00D24000000abcdEAA"]
        [[destination]]
        name = "d"
        kind = "rest"
        url = "http://h/x?key=${file:key}"
        headers = { X-Key = "${file:key}", X-Plain = "$${file:key}" }
        [[route]]
        source = "s"
        destination = "d"
        [route.map]
        a = "'${file:key}'"
    "#;
    let path = folder.path().join("omgate.toml");
    fs::write(&path, text).unwrap();
    let loaded = config::load(&path).unwrap();
    assert!(!format!("{:?}", loaded.stored).contains("s3cr3t"));
    assert!(!format!("{loaded:?}").contains("s3cr3t"));
    let subject = Subject {
        record: None,
        notification_id: "04l1",
        received_at: Timestamp(0),
        organization_id: "00D1",
        action_id: "04k1",
        enterprise_url: "",
        partner_url: "",
        source: "s",
        after: None,
    };
    let identity = Identity { idempotency_key: "key".to_owned() };
    let call = map::call(&loaded.plan.routes["s → d"].mapping, &subject, &identity).unwrap();
    assert_eq!(call.url.reveal(), "http://h/x?key=s3cr3t-key");
    assert_eq!(call.url.masked(), "http://h/x?key=${file:key}");
    let headers: Vec<_> = call.headers.iter().map(|(name, value)| format!("{name}: {}", value.reveal())).collect();
    assert_eq!(
        headers,
        ["Content-Type: application/json", "Idempotency-Key: key", "X-Key: s3cr3t-key", "X-Plain: ${file:key}"]
    );
    assert_eq!(loaded.plan.mask.apply(std::str::from_utf8(&call.body).unwrap()), r#"{"a":"${file:key}"}"#);
}

#[test]
fn the_admin_address_is_found_whatever_else_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    fs::write(&path, "[server]\nadmin_listen = \"127.0.0.1:9999\"\nnonsense = 1\n[[route]]\n").unwrap();
    assert_eq!(config::admin_address(&path).unwrap().listen.port(), 9999);
    fs::write(&path, "").unwrap();
    assert_eq!(config::admin_address(&path).unwrap().listen.port(), 8081);
    assert!(config::admin_address(&folder.path().join("absent.toml")).unwrap_err().contains("no such file"));
}

/// The warnings of a configuration with these accounts.
fn warnings_of(accounts: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("omgate.toml");
    let flow = "[[source]]\nname = \"a\"\npath = \"/a\"\norganizations = [\"00D24000000abcdEAA\"]\n\
                [[destination]]\nname = \"b\"\nkind = \"rest\"\nurl = \"http://127.0.0.1/\"\n\
                [[route]]\nsource = \"a\"\ndestination = \"b\"\n";
    fs::write(&path, format!("{flow}{accounts}")).unwrap();
    let loaded = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn accounts_of_whom_none_may_do_what_has_to_be_done_are_warned_of() {
    let hash = omgate::account::hash("a long enough password").unwrap();
    let account = |name: &str, more: &str| format!("[[account]]\nname = \"{name}\"\npassword = \"{hash}\"\n{more}\n");
    let oidc = "[server.oidc]\nissuer = \"https://login.example.com\"\nclient_id = \"omgate\"\nrole_claim = \"groups\"\n\
                [[server.oidc.grant]]\nvalue = \"house\"\nrole = ";
    for (accounts, said) in [
        (String::new(), None),
        (account("eve", "role = \"admin\""), None),
        (account("eve", "") + &account("root", "role = \"admin\""), None),
        (account("eve", "") + oidc + "\"admin\"\n", None),
        (account("eve", ""), Some("nobody may change anything")),
        (account("eve", "rights = [\"replay\"]"), Some("nobody may make tokens")),
        (account("eve", "role = \"operator\""), Some("nobody may make tokens")),
        (format!("{oidc}\"viewer\"\n"), Some("nobody may change anything")),
    ] {
        let warnings = warnings_of(&accounts);
        match said {
            Some(said) => {
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                assert!(warnings[0].contains(said) && warnings[0].contains("omgate account hash"), "{warnings:?}");
            }
            None => assert_eq!(warnings, Vec::<String>::new(), "{accounts}"),
        }
    }
}
