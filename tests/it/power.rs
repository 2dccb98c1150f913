//! Power cuts: the real binary on a disk that forgets what was not synced. Nothing acknowledged is lost.
//!
//! `tests/power/power_cut.c` is preloaded into `omgate serve` and ends the process as a power cut would: sectors that were
//! written and not synced have what they had before, each by the throw of a die. `OMGATE_POWER_ROUNDS=n` says how often.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::crash::{Acked, LOADERS, check, configuration, loader, moment};
use crate::harness::{Process, Sink};

/// The shim, or none when there is no C compiler, or no Linux.
fn shim(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("power_cut.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/power_cut.c");
    let arguments = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"];
    let built = Command::new("cc").args(arguments).arg(&library).arg(&source).arg("-lpthread").status();
    match built {
        Ok(status) if status.success() => Some(library),
        Ok(status) => panic!("the shim does not compile: {status}"),
        Err(error) => {
            println!("skipped: there is no C compiler ({error})");
            None
        }
    }
}

fn rounds() -> u64 {
    std::env::var("OMGATE_POWER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// At which write or sync the power fails: while the database is made, at its first commits, under load, and far enough
/// for the log to be copied into the database.
fn cut_at(round: u64) -> u64 {
    let draw = u64::try_from(moment(20_261_126, round).as_millis()).unwrap() + round * 7;
    match round % 4 {
        0 => 1 + draw % 90,
        1 => 60 + draw % 400,
        2 => 400 + draw * 3 % 4_000,
        _ => 4_000 + draw * 17 % 16_000,
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_acknowledged_survives_a_power_cut_and_the_accounts_balance() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = shim(folder.path()) else { return };
    let sink = Sink::start(Box::new(|number, _| match number % 41 {
        17 => Some((503, "busy".to_owned())),
        29 => None,
        _ => Some((200, String::new())),
    }))
    .await;
    let mut gateway = Process::prepare(&configuration(&sink.url("/in")));
    let database = gateway.folder.path().canonicalize().unwrap().join("omgate.db");
    let (acked, stop): (Acked, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let loaders: Vec<_> = (0..LOADERS)
        .map(|number| tokio::spawn(loader(number, vec![gateway.public], Arc::clone(&acked), Arc::clone(&stop))))
        .collect();
    for round in 0..rounds() {
        let at = cut_at(round);
        gateway.spawn(&[
            ("LD_PRELOAD", shim.to_str().unwrap()),
            ("POWER_CUT_FILE", database.to_str().unwrap()),
            ("POWER_CUT_AT", &at.to_string()),
            ("POWER_CUT_SEED", &(round + 1).to_string()),
        ]);
        let died = gateway.died(Duration::from_secs(60)).await;
        assert!(died, "round {round}: nothing was written {at} times: {}", gateway.log());
        if round % 8 == 7 {
            // What stands there is whole, and what was promised is in it.
            gateway.start(&[]).await;
            gateway.stop().await;
            let verified = gateway.command(&["store", "verify"]);
            assert!(verified.status.success(), "round {round}: {}", String::from_utf8_lossy(&verified.stdout));
        }
    }
    gateway.start(&[]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    for loader in loaders {
        loader.await.unwrap();
    }
    let patience =
        Duration::from_secs(60) + Duration::from_millis(10) * u32::try_from(acked.lock().unwrap().len()).unwrap();
    let ledger = gateway
        .until(patience, |ledger| {
            ["waiting", "blocked", "in_flight"].iter().all(|state| ledger["deliveries"][state] == 0)
        })
        .await;
    println!("{} rounds", rounds());
    check(&ledger, &acked.lock().unwrap(), &sink);
    gateway.stop().await;
    let verified = gateway.command(&["store", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
