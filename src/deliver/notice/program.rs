//! A program that is told: it reads JSON, and ends with 0 when it took it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A program and how long it may take.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program, and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
}

impl Program {
    /// Runs it with something to read.
    pub(super) async fn run(&self, input: &[u8]) -> Result<(), String> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err("the program is missing".to_owned());
        };
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be run: {error}"))?;
        let stdin = child.stdin.take();
        let told = async {
            // Whoever does not read it all may have read enough.
            if let Some(mut stdin) = stdin {
                drop(stdin.write_all(input).await);
                drop(stdin.shutdown().await);
            }
            child.wait().await
        };
        match tokio::time::timeout(self.timeout, told).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("{program} failed ({status}); run it by hand to see why")),
            Ok(Err(error)) => Err(format!("{program} could not be waited for: {error}")),
            Err(_) => Err(format!("{program} did not end within {} s, and was killed", self.timeout.as_secs_f64())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &[&str], milliseconds: u64) -> Program {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Program { command, folder: std::env::temp_dir(), timeout: Duration::from_millis(milliseconds) }
    }

    #[tokio::test]
    async fn a_program_reads_what_it_is_told_without_a_shell_and_within_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told $HOME");
        let tee = program(&["tee", &file.to_string_lossy()], 10_000);
        assert_eq!(tee.run(b"{\"a\": 1}").await, Ok(()));
        assert_eq!(std::fs::read(&file).unwrap(), b"{\"a\": 1}");
        assert_eq!(program(&["true"], 10_000).run(&[b'x'; 1 << 20]).await, Ok(()), "it need not read all");
        for (command, milliseconds, why) in [
            (&["false"][..], 10_000, "failed"),
            (&["no-such-program-of-any-kind"], 10_000, "cannot be run"),
            (&["sleep", "60"], 50, "was killed"),
            (&[], 50, "is missing"),
        ] {
            let said = program(command, milliseconds).run(b"{}").await.unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
