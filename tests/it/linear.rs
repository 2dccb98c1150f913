//! Time and memory grow as a document does, whatever it is made of: measured of every family of documents that makes some
//! readers take more.
//!
//! Time is what the processor worked for this thread, so that others on the machine do not count; memory is the most that a
//! process of its own held. `cargo bench --bench xml` draws the same families in more and larger sizes.

use std::process::Command;

use omgate::envelope::Content;
use omgate::parse::{self, Limits};
use rustix::time::{ClockId, clock_gettime};

#[path = "../../benches/support/families.rs"]
mod families;

use families::{Family, Reader, operation};

/// Small enough for a build that is not optimised; the bench takes larger ones.
const SMALL: usize = 4 << 10;
const LARGE: usize = 16 * SMALL;
/// How much more a byte of the large document may cost: in quadratic time it would be sixteen times as much.
const RATIO_MAX: f64 = 3.0;
/// How often it is tried to see less: what disturbs a measurement only adds to it.
const TRIES: usize = 12;

/// What the processor worked for this thread so far, in nanoseconds.
fn worked() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The least that one reading took, a byte.
fn cost(reader: Reader, text: &str, rounds: usize, operation: &omgate::wsdl::Operation) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..rounds {
        let before = worked();
        reader.read(text, operation);
        least = least.min(worked() - before);
    }
    least / text.len() as f64
}

/// What a byte costs in a small and in a large document, in nanoseconds.
fn costs(reader: Reader, family: &Family) -> (f64, f64) {
    let operation = operation().expect("the operation is there");
    let (small, large) = ((family.make)(SMALL), (family.make)(LARGE));
    let (mut of_small, mut of_large) = (f64::MAX, f64::MAX);
    for _ in 0..TRIES {
        of_small = of_small.min(cost(reader, &small, 3, &operation));
        of_large = of_large.min(cost(reader, &large, 1, &operation));
        if of_large <= of_small * RATIO_MAX {
            break;
        }
    }
    (of_small, of_large)
}

fn takes_linear_time(reader: Reader) {
    let mut failures = Vec::new();
    for family in reader.families() {
        let (small, large) = costs(reader, &family);
        println!("{:9} {:45} {small:8.1} ns {large:8.1} ns a byte, × {:.2}", reader.name(), family.name, large / small);
        if large > small * RATIO_MAX {
            failures.push(format!(
                "{}, {}: {small:.0} ns a byte, and {large:.0} of 16 times as many",
                reader.name(),
                family.name
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn envelopes_of_every_family_take_linear_time() {
    takes_linear_time(Reader::Envelope);
}

#[test]
fn answers_of_every_family_take_linear_time() {
    takes_linear_time(Reader::Response);
}

#[test]
fn wsdls_of_every_family_take_linear_time() {
    takes_linear_time(Reader::Wsdl);
    takes_linear_time(Reader::Outbound);
}

/// A measurement that cannot fail says nothing.
#[test]
fn quadratic_time_would_be_seen() {
    let quadratic = |text: &str| {
        let bytes: Vec<u8> = text.bytes().step_by(16).collect();
        bytes.iter().enumerate().filter(|(at, byte)| bytes[..*at].iter().rev().all(|other| other <= *byte)).count()
    };
    let took = |size: usize| {
        let text = "a".repeat(size);
        let before = worked();
        assert!(quadratic(&text) > 0);
        (worked() - before) / size as f64
    };
    let (small, large) = (took(SMALL), took(LARGE));
    assert!(large > small * RATIO_MAX, "{small} and {large}");
}

/// Says to a process of this test what it is to read, as `READER:NAME`; `nothing` is to read nothing.
const READ: &str = "OMGATE_TEST_READ";
const MEMORY_BYTES: usize = 384 << 10;

/// The most memory that a process of its own holds to read a document, in bytes.
fn held(reader: Reader, name: &str) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "linear::a_process_of_its_own_reads_what_it_is_told_to"])
        .env(READ, format!("{}:{name}", reader.name()))
        // So that what was given back is given back.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split("held ").nth(1)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.trim().parse().unwrap()
}

#[test]
fn a_process_of_its_own_reads_what_it_is_told_to() {
    let Ok(told) = std::env::var(READ) else { return };
    let (reader, name) = told.split_once(':').unwrap();
    let reader = Reader::ALL.into_iter().find(|known| known.name() == reader).unwrap();
    let operation = operation().unwrap();
    let text = reader.families().iter().find(|family| family.name == name).map(|family| (family.make)(MEMORY_BYTES));
    if let Some(text) = &text {
        // What was held to make the document does not count.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        reader.read(text, &operation);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1_024
    };
    println!("\nheld {}", of("VmHWM:"));
}

/// How many times its own size a document may take in memory: of an answer and a WSDL a tree is made first.
fn times_max(reader: Reader) -> usize {
    match reader {
        // A third of it is what any process takes.
        Reader::Envelope => 80,
        Reader::Response => 170,
        Reader::Wsdl | Reader::Outbound => 170,
    }
}

fn takes_linear_memory(reader: Reader) {
    let nothing = held(reader, "nothing");
    let mut failures = Vec::new();
    for family in reader.families() {
        let times = held(reader, family.name).saturating_sub(nothing) as f64 / MEMORY_BYTES as f64;
        println!("{:9} {:45} {times:6.1} bytes a byte", reader.name(), family.name);
        if times > times_max(reader) as f64 {
            failures.push(format!("{}, {}: {times:.1} bytes a byte", reader.name(), family.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn envelopes_of_every_family_take_linear_memory() {
    takes_linear_memory(Reader::Envelope);
}

#[test]
fn answers_and_wsdls_of_every_family_take_linear_memory() {
    for reader in [Reader::Response, Reader::Wsdl, Reader::Outbound] {
        takes_linear_memory(reader);
    }
}

#[test]
fn declarations_that_a_hundred_records_share_are_kept_with_each_only_while_they_are_short() {
    let message = |declared: &str, count: usize| {
        let records: String = (0..count)
            .map(|n| {
                format!("<Notification><Id>04l{n}</Id><sObject><p:A xmlns:q='urn:q'>b</p:A></sObject></Notification>")
            })
            .collect();
        format!(
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/' xmlns:p='{declared}'><e:Body>\
             <notifications xmlns='http://soap.sforce.com/2005/09/outbound'><OrganizationId>00D</OrganizationId>\
             <ActionId>04k</ActionId>{records}</notifications></e:Body></e:Envelope>"
        )
    };
    let read = |text: &str| parse::envelope(text.as_bytes(), None, &Limits::default(), None);
    let short = message(&"u".repeat(500), 100);
    let envelope = read(&short).unwrap();
    let kept: usize = envelope
        .notifications
        .iter()
        .map(|notification| match &notification.content {
            Content::Record { xml, .. } => xml.len(),
            _ => 0,
        })
        .sum();
    assert!(kept > 50_000 && kept < short.len() * 2 + (64 << 10), "{kept} of {}", short.len());
    assert!(read(&message(&"u".repeat(1 << 20), 1)).is_ok(), "one record may have what it needs");
    let error = read(&message(&"u".repeat(1 << 20), 100)).unwrap_err().to_string();
    assert!(error.contains("the namespace declarations that its notifications share are too long"), "{error}");
}
