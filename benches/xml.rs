//! What reading a document costs as it grows, of every family of documents that makes some readers take more than linear time.
//!
//! `cargo bench --bench xml [-- --family WORD] [-- --reader WORD]`: nanoseconds a byte for sizes from 64 KiB to 1 MiB, each
//! the least of five, and the most memory that the largest took, in bytes a byte. It fails when a byte of the largest costs
//! more than one and a half times what the dearest byte of the smaller ones does.

#[path = "support/families.rs"]
mod families;

use std::error::Error;
use std::time::{Duration, Instant};

use families::{Family, Reader, operation};
use omgate::wsdl::Operation;

const SIZES: [usize; 5] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
const ROUNDS: usize = 5;
const RATIO_MAX: f64 = 1.5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut wanted, mut reader) = (String::new(), String::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--family" => wanted = words.next().ok_or("--family needs a word")?,
            "--reader" => reader = words.next().ok_or("--reader needs a word")?,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let operation = operation().ok_or("the operation is not there")?;
    let mut failures = Vec::new();
    for known in Reader::ALL.into_iter().filter(|known| known.name().contains(&reader)) {
        for family in known.families().into_iter().filter(|family| family.name.contains(&wanted)) {
            failures.extend(row(known, &family, &operation));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Prints a row; what is wrong with it.
fn row(reader: Reader, family: &Family, operation: &Operation) -> Option<String> {
    let documents = SIZES.map(|size| (family.make)(size));
    let costs = documents.each_ref().map(|text| nanoseconds(reader, text, operation) / text.len() as f64);
    let memory = documents.last().and_then(|text| {
        let before = peak_from_now()?;
        reader.read(text, operation);
        Some(peak()?.saturating_sub(before) as f64 / text.len() as f64)
    });
    let shown: String = costs.iter().map(|cost| format!("{cost:9.2}")).collect();
    let memory = memory.map_or_else(|| "-".to_owned(), |memory| format!("{memory:.1}"));
    let (last, before) = costs.split_last()?;
    let ratio = last / before.iter().copied().fold(0.0, f64::max);
    #[expect(clippy::print_stdout, reason = "a bench speaks")]
    {
        println!("{:9} {:45}{shown} ns a byte  × {ratio:.2}  {memory:>6} bytes a byte", reader.name(), family.name);
    }
    (ratio > RATIO_MAX).then(|| format!("{}, {}: × {ratio:.2}", reader.name(), family.name))
}

/// The least of some readings.
fn nanoseconds(reader: Reader, text: &str, operation: &Operation) -> f64 {
    let once = || {
        let start = Instant::now();
        reader.read(text, operation);
        start.elapsed()
    };
    (0..ROUNDS).map(|_| once()).min().unwrap_or(Duration::MAX).as_secs_f64() * 1e9
}

/// Begins to note the most memory held anew, and says how much is held. Of Linux.
fn peak_from_now() -> Option<usize> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    peak()
}

fn peak() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1_024)
}
