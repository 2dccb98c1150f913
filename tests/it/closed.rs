//! Commands whose reader went away: `omgate check | head -1` ends quietly, and never by a panic.

use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command whose standard output and error are pipes that nobody reads any more.
fn code_of(arguments: &[&str], folder: &Path) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new("timeout")
        .arg("60")
        .arg(env!("CARGO_BIN_EXE_omgate"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer)
        .status()
        .unwrap();
    status.code()
}

#[test]
fn no_command_minds_that_nobody_reads_it() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "[store]\nurl = 1\n").unwrap();
    let broken = broken.to_str().unwrap();
    let config = "fixtures/omgate.toml";
    // what is run | the exit code it has whether it is read or not
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--nonsense"], 2),
        (&["completions", "bash"], 0),
        (&["check", "--config", config], 0),
        (&["check", "--config", config, "--json"], 0),
        (&["check", "--config", broken], 1),
        (&["check", "--config", broken, "--json"], 1),
        (&["check", "--config", "nowhere.toml"], 1),
        (&["serve", "--config", broken], 64),
        (&["call", "erp", "--config", broken], 1),
        (&["test", "--config", config, "fixtures/envelopes"], 0),
        (&["test", "--config", broken], 1),
        (&["inspect", "nowhere.xml"], 1),
        (&["inspect", "wsdl/erp.wsdl"], 1),
        (
            &[
                "scaffold",
                "--source",
                "wsdl/order-won.wsdl",
                "--destination",
                "wsdl/erp.wsdl",
                "--operation",
                "nothing",
            ],
            1,
        ),
        (&["scaffold", "--source", "nowhere.wsdl", "--destination", "wsdl/erp.wsdl", "--operation", "nothing"], 1),
        (&["wsdl", "check", "wsdl/erp.wsdl", "nowhere.wsdl"], 1),
        (&["wsdl", "check", "wsdl/erp.wsdl", "--json"], 0),
        (&["wsdl", "show", "wsdl/erp.wsdl"], 0),
        (&["wsdl", "show", "nowhere.wsdl"], 1),
        (&["wsdl", "sample", "wsdl/erp.wsdl"], 0),
        (&["wsdl", "diff", "wsdl/erp.wsdl", "wsdl/erp.wsdl"], 0),
        (&["wsdl", "diff", "wsdl/erp.wsdl", "nowhere.wsdl"], 1),
        (&["status", "--admin", "http://127.0.0.1:9"], 1),
        (&["store", "verify", "--config", broken], 1),
        (&["send", "nowhere.xml", "--to", "http://127.0.0.1:9/"], 1),
    ] {
        assert_eq!(code_of(arguments, project), Some(code), "{arguments:?}");
    }
}
