//! The README is true: its configuration loads, its examples give what it says, its keys are known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use omgate::admin::access::{ADDRESSES, need};
use omgate::clock::Timestamp;
use omgate::config;
use omgate::expression::{Expression, FILTERS, Subject, TESTS, Tables};
use omgate::telemetry::{ALARMS, METRICS};

const README: &str = include_str!("../../README.md");
const SERVICE: &str = include_str!("../../packaging/omgate.toml");
const UNIT: &str = include_str!("../../packaging/omgate.service");
const COUNTRIES: &str = "name,iso\nGermany,DE\n";

/// The text of the first fenced block of a language below a heading.
fn block(heading: &str, language: &str) -> &'static str {
    let (_, below) = README.split_once(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let (_, block) =
        below.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("no block below {heading:?}"));
    block.split_once("```").map_or(block, |(block, _)| block)
}

/// The rows of the table whose first column is headed so, below a heading: their cells.
fn table(heading: &str, first_column: &str) -> Vec<Vec<String>> {
    let (_, below) = README.split_once(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let head = format!("| {first_column} |");
    let rows =
        below.lines().skip_while(|line| !line.starts_with(&head)).skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        // A bar inside a cell is written \|.
        let row = row.replace("\\|", "\u{1}");
        row.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    })
    .collect()
}

#[test]
fn the_table_of_the_admin_listener_has_every_address_of_the_api_and_no_other() {
    let mut told: Vec<(String, String)> = Vec::new();
    for row in table("## The admin listener", "address") {
        for address in quoted(&row[0]) {
            let (method, path) = match (address.split_once(' '), told.last()) {
                (Some((method, path)), _) => (method.to_owned(), path.split('?').next().unwrap().to_owned()),
                // `…/hold`: as the one before, with another end.
                (None, Some((method, before))) => {
                    let (start, _) = before.rsplit_once('/').unwrap();
                    (method.clone(), address.replacen('…', start, 1))
                }
                (None, None) => panic!("{address}"),
            };
            assert!(need(&method, &path).is_some(), "nothing is at {method} {path}");
            told.push((method, path));
        }
    }
    for (method, path, _) in ADDRESSES.iter().filter(|(_, path, _)| path.starts_with("/api/v1/")) {
        let (start, end) = path.rsplit_once('/').unwrap();
        let is_told = told.iter().any(|(known, told)| {
            known == method
                && (told == path || (end == "{verb}" && told.rsplit_once('/').is_some_and(|it| it.0 == start)))
        });
        assert!(is_told, "the README says nothing of {method} {path}");
    }
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Loads a configuration beside the project's own WSDLs; secrets come from files, for a test sets no environment.
fn load(text: &str) -> Result<config::Loaded, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
    fs::create_dir(folder.path().join("wsdl")).map_err(|error| error.to_string())?;
    for name in ["wsdl/order-won.wsdl", "wsdl/erp.wsdl", "wsdl/erp.xsd"] {
        fs::copy(package.join(name), folder.path().join(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    let text = text.replace("${ERP_PASSWORD}", "${file:password}");
    for (name, text) in [("omgate.toml", text.as_str()), ("countries.csv", COUNTRIES), ("password", "open sesame\n")] {
        write(name, text).map_err(|error| error.to_string())?;
    }
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(folder.path().join("password"), private).map_err(|error| error.to_string())?;
    config::load(&folder.path().join("omgate.toml")).map_err(|problems| problems.to_string())
}

#[test]
fn the_configuration_of_the_walk_through_loads_without_a_remark() {
    let loaded = load(block("### 2. Write `omgate.toml`", "toml")).unwrap_or_else(|problems| panic!("{problems}"));
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(loaded.routes.values().map(Vec::len).sum::<usize>(), 2);
}

#[test]
fn the_configuration_for_a_service_loads_but_for_what_must_be_filled_in() {
    let text =
        SERVICE.replace("sqlite:/var/lib/omgate/omgate.db", "sqlite:omgate.db").replace("CHANGE-ME", "7f3c9a51d2");
    let loaded = load(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.sources.len(), 1);
}

#[test]
fn the_examples_of_filters_give_what_the_readme_says() {
    let subject = Subject {
        record: None,
        notification_id: "04l1",
        received_at: Timestamp(0),
        organization_id: "00D1",
        action_id: "04k1",
        enterprise_url: "",
        partner_url: "",
        source: "order-won",
        after: None,
    };
    let mut tried = 0;
    for row in table("## Expressions and filters", "filter") {
        let [_, example, gives] = row.as_slice() else { panic!("{row:?}") };
        let (example, gives) = (quoted(example), quoted(gives));
        // What reads a record is an example of the form, not of the value.
        let Some(example) = example.first().filter(|example| !example.contains("record.") && !example.contains("none"))
        else {
            continue;
        };
        let value = Expression::compile(example, &Tables::default())
            .and_then(|expression| expression.evaluate(&subject))
            .unwrap_or_else(|error| panic!("{error}"));
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(Some(&value.as_str()), gives.first(), "{example}");
        tried += 1;
    }
    assert!(tried >= 8, "only {tried} examples were found");
}

#[test]
fn every_filter_and_test_is_in_the_readme() {
    let rows = table("## Expressions and filters", "filter");
    let documented: Vec<String> = rows
        .iter()
        .filter_map(|row| row.first())
        .flat_map(|cell| quoted(cell).into_iter().map(|name| name.split('(').next().unwrap_or_default().to_owned()))
        .collect();
    for filter in FILTERS {
        assert!(documented.iter().any(|name| name == filter), "filter {filter} is not in the README");
    }
    for name in documented {
        assert!(FILTERS.contains(&name.as_str()), "the README has a filter {name} that is none");
    }
    for test in TESTS.iter().filter(|test| **test != "undefined") {
        assert!(README.contains(&format!("`is {test}")), "test {test} is not in the README");
    }
}

/// Keys are documented when the configuration takes them: each is given a value of no kind, and must be refused for
/// that and not because it is unknown.
#[test]
fn every_documented_key_is_known() {
    let source = "[[source]]\nname = \"a\"\npath = \"/a\"\norganizations = [\"*\"]\n";
    let rest = "[[destination]]\nname = \"b\"\nkind = \"rest\"\nurl = \"http://127.0.0.1/\"\n";
    let soap =
        "[[destination]]\nname = \"c\"\nkind = \"soap\"\nwsdl = \"wsdl/erp.wsdl\"\noperation = \"CreateOrder\"\n";
    let route = "[[route]]\nsource = \"a\"\ndestination = \"b\"\n";
    let csv = "[[table]]\nname = \"countries\"\nfile = \"countries.csv\"\nkey = \"name\"\nvalue = \"iso\"\n";
    for (heading, before, least) in [
        ("### `[server]`", "[server]\n".to_owned(), 5),
        ("### `[server.limits]`", "[server.limits]\n".to_owned(), 8),
        ("### `[server.tls]`", "[server.tls]\n".to_owned(), 6),
        ("### `[server.proxy]`", "[server.proxy]\n".to_owned(), 8),
        ("### `[server.admin_tls]`", "[server.admin_tls]\n".to_owned(), 2),
        ("### `[[account]]`", "[[account]]\n".to_owned(), 4),
        ("### `[server.oidc]`", "[server.oidc]\n".to_owned(), 9),
        ("Each `[[server.oidc.grant]]` says", "[[server.oidc.grant]]\n".to_owned(), 3),
        ("### `[store]`", "[store]\n".to_owned(), 1),
        ("### `[egress]`", "[egress]\n".to_owned(), 1),
        ("### `[retention]`", "[retention]\n".to_owned(), 10),
        ("`delivered`, `superseded` and `discarded` are tables", "[retention.superseded]\n".to_owned(), 3),
        ("### `[alarms]`", "[alarms]\n".to_owned(), 4),
        ("### `[[notify]]`", "[[notify]]\nname = \"a\"\nkind = \"command\"\n".to_owned(), 4),
        ("With `kind = \"webhook\"` a notice", "[[notify]]\nname = \"a\"\nkind = \"webhook\"\n".to_owned(), 5),
        ("With `kind = \"email\"` it is sent", "[[notify]]\nname = \"a\"\nkind = \"email\"\n".to_owned(), 7),
        ("With `kind = \"command\"` a program", "[[notify]]\nname = \"a\"\nkind = \"command\"\n".to_owned(), 1),
        ("### `[telemetry]`", "[telemetry]\notlp = \"http://127.0.0.1:4318\"\n".to_owned(), 8),
        ("### `[[source]]`", source.to_owned(), 10),
        ("### `[[destination]]`", rest.to_owned(), 16),
        ("`retry` is a table", format!("{rest}[destination.retry]\n"), 5),
        ("With `kind = \"soap\"`:", soap.to_owned(), 5),
        ("With `kind = \"rest\"`:", rest.to_owned(), 5),
        ("### `[[route]]`", format!("{source}{rest}{route}"), 11),
        ("### `[[table]]`", csv.to_owned(), 5),
    ] {
        let keys: Vec<String> = table(heading, "key")
            .iter()
            .flat_map(|row| quoted(&row[0]).into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(keys.len() >= least, "{heading}: {keys:?}");
        for key in keys {
            let kept: String = before
                .lines()
                .filter(|line| !line.starts_with(&format!("{key} = ")))
                .map(|line| format!("{line}\n"))
                .collect();
            let problems = match load(&format!("{kept}{key} = 1979-05-27\n")) {
                Ok(_) => panic!("{heading} {key}: a date was taken"),
                Err(problems) => problems,
            };
            let about: Vec<&str> = problems.lines().filter(|line| line.contains(&key)).collect();
            assert!(!about.is_empty(), "{heading} {key}: nothing was said of it:\n{problems}");
            assert!(!about.iter().any(|line| line.contains("no such key")), "{heading} {key}: {about:?}");
        }
    }
}

#[test]
fn every_metric_is_in_the_readme_as_it_is() {
    let rows = table("### Metrics", "metric");
    let documented: BTreeMap<&str, (&str, Vec<&str>, bool)> =
        rows.iter().map(|row| (quoted(&row[0])[0], (row[1].as_str(), quoted(&row[2]), row[3] == "shared"))).collect();
    let there = METRICS.iter().map(|metric| (metric.name, (metric.kind, metric.labels.to_vec(), metric.shared)));
    assert_eq!(documented, there.collect());
}

#[test]
fn every_alarm_is_in_the_readme() {
    let rows = table("### Alarms", "alarm");
    let documented: BTreeSet<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    assert_eq!(documented, BTreeSet::from(ALARMS));
}

#[test]
fn the_examples_of_channels_load() {
    let flow = block("### 2. Write `omgate.toml`", "toml");
    let channels = block("### `[[notify]]`", "toml").replace("${ALERTS_SECRET}", "${file:password}");
    let loaded = load(&format!("{flow}\n{}", channels.replace("secrets/mail", "password")));
    assert_eq!(loaded.unwrap_or_else(|problems| panic!("{problems}")).alarms.channels.len(), 2);
}

#[test]
fn every_command_of_the_readme_is_one() {
    let mut tried = 0;
    for row in table("## Commands", "command") {
        let command = quoted(&row[0]).first().map(|command| command.to_string()).unwrap_or_default();
        let plain = |word: &&str| !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let words: Vec<&str> = command.split(' ').skip(1).take_while(plain).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_omgate")).args(&words).arg("--help").output();
        let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        for option in
            quoted(&row.join(" ")).iter().flat_map(|text| text.split(' ')).filter(|word| word.starts_with("--"))
        {
            assert!(help.contains(option), "{words:?} has no {option}:\n{help}");
        }
        tried += 1;
    }
    assert!(tried >= 12, "only {tried} commands were found");
}

#[test]
fn every_rule_that_the_check_names_is_in_the_readme() {
    let documented = table("## Checking", "rule");
    let documented: Vec<&str> = documented.iter().flat_map(|row| quoted(&row[0])).collect();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config-errors");
    let mut found = BTreeSet::new();
    for name in ["misfits.txt", "fields.txt", "expressions.txt", "target-paths.txt", "required-elements.txt"] {
        let text = fs::read_to_string(goldens.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        found.extend(text.lines().filter_map(|line| Some(line.strip_suffix(']')?.rsplit_once('[')?.1.to_owned())));
    }
    assert!(found.len() >= 7, "{found:?}");
    for rule in found {
        assert!(documented.contains(&rule.as_str()), "the README has no rule {rule}");
    }
}

/// The fenced blocks of a language in the section below a heading.
fn blocks(heading: &str, language: &str) -> Vec<&'static str> {
    let (_, below) = README.split_once(heading).unwrap_or_else(|| panic!("the README has no {heading:?}"));
    let section = below.split("\n##").next().unwrap();
    let start = format!("```{language}\n");
    section.split(start.as_str()).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn what_is_installed_as_a_service_is_there_and_where_the_unit_looks_for_it() {
    let installing = blocks("### As a service", "sh")[0];
    let mut installed = BTreeMap::new();
    for line in installing.lines().map(|line| line.split('#').next().unwrap().trim()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] != "install" {
            continue;
        }
        let mode = words[words.iter().position(|word| *word == "-m").unwrap() + 1];
        let (from, to) = (words[words.len() - 2], words[words.len() - 1]);
        if from.starts_with("packaging/") {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(from).is_file(), "{from}");
        }
        installed.insert(to, mode);
    }
    let start = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let secrets = UNIT.lines().find_map(|line| line.strip_prefix("EnvironmentFile=-")).unwrap();
    for (path, mode) in [
        (start.split(' ').next().unwrap(), "0755"),
        (start.rsplit(' ').next().unwrap(), "0640"),
        (secrets, "0600"),
        ("/etc/omgate", "0750"),
        ("/etc/systemd/system/omgate.service", "0644"),
    ] {
        assert_eq!(installed.get(path), Some(&mode), "{path}");
    }
    assert!(installing.contains("useradd --system") && UNIT.contains("User=omgate\nGroup=omgate\n"));
}

#[test]
fn prometheus_takes_the_examples_of_what_it_scrapes() {
    let examples = blocks("### Metrics", "yaml");
    assert_eq!(examples.len(), 2);
    let folder = tempfile::tempdir().unwrap();
    for name in ["omgate.token", "omgate-ca.pem", "omgate.rules.yaml"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::write(folder.path().join("omgate.rules.yaml"), include_str!("../../packaging/prometheus/omgate.rules.yaml"))
        .unwrap();
    for (number, example) in examples.iter().enumerate() {
        assert!(example.contains("job_name: omgate\n"), "the rules ask for it");
        let file = folder.path().join(format!("{number}.yaml"));
        fs::write(&file, example.replace("/etc/prometheus/", &format!("{}/", folder.path().display()))).unwrap();
        match Command::new("promtool").args(["check", "config"]).arg(&file).output() {
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
            }
            Err(error) => println!("skipped the check by promtool: it cannot be run ({error})"),
        }
    }
}

/// What the unit keeps from the process: all that it does not need.
#[test]
fn the_unit_leaves_the_service_what_it_needs_and_nothing_else() {
    let service = UNIT.split_once("[Service]").unwrap().1.split_once("[Install]").unwrap().0;
    let lines: Vec<&str> = service.lines().collect();
    for line in [
        "User=omgate",
        "UMask=0077",
        "StateDirectoryMode=0700",
        "LimitCORE=0",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
    ] {
        assert_eq!(lines.iter().filter(|other| **other == line).count(), 1, "{line}");
    }
    for taken_back in ["User=root", "ReadWritePaths=/", "DeviceAllow=", "CapabilityBoundingSet=CAP"] {
        assert!(!lines.iter().any(|line| line.starts_with(taken_back)), "{taken_back}");
    }
}
