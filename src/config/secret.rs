//! `${NAME}`, `${file:PATH}`, `${credential:NAME}` and `${command:PROGRAM ARGUMENT…}` in configured text.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use secrecy::SecretString;

use super::file::{self, Files};
use super::problem::Severity;
use crate::secret::Text;

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// What is heard of a program at all, in bytes.
const COMMAND_BYTES_MAX: u64 = 1 << 20;
/// So long may a program take to say a secret.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether one that said all has ended, and how long apart: two seconds in all.
const COMMAND_POLLS: u32 = 100;
const COMMAND_POLL: Duration = Duration::from_millis(20);

/// What is to be said of a reference: where it stands, how bad it is, and why.
pub(super) type Remark = (usize, Severity, String);

/// Where secrets come from.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Replaces every reference in `raw`; `$${` stands for `${`. What cannot be replaced is reported, each with its offset; so is
/// a file that others may read.
pub(super) fn substitute(raw: &str, environment: Environment<'_>, files: &Files) -> (Text, Vec<Remark>) {
    let mut text = Text::default();
    let mut problems = Vec::new();
    let mut at = 0;
    while let Some(rest) = raw.get(at..)
        && let Some(found) = rest.find("${")
    {
        let (before, from) = rest.split_at(found);
        if let Some(escaped) = before.strip_suffix('$') {
            text.push_plain(escaped);
            text.push_plain("${");
            at += found + 2;
            continue;
        }
        text.push_plain(before);
        let Some(end) = from.find('}') else {
            problems.push((
                at + found,
                Severity::Error,
                "`${` has no `}`; write `$${` for the characters themselves".to_owned(),
            ));
            return (text, problems);
        };
        let (reference, _) = from.split_at(end + 1);
        match value(from.get(2..end).unwrap_or_default(), environment, files) {
            Ok((secret, warning)) => {
                text.push_secret(reference, SecretString::from(secret));
                problems.extend(warning.map(|why| (at + found, Severity::Warning, format!("{reference}: {why}"))));
            }
            Err(reason) => {
                // Shown like any other secret, so that what is made of the text does not look like clear text.
                text.push_secret(reference, SecretString::default());
                problems.push((at + found, Severity::Error, format!("{reference}: {reason}")));
            }
        }
        at += found + reference.len();
    }
    text.push_plain(raw.get(at..).unwrap_or_default());
    (text, problems)
}

/// A secret, and what is to be said of where it came from.
fn value(name: &str, environment: Environment<'_>, files: &Files) -> Result<(String, Option<String>), String> {
    let (secret, warning) = match name.split_once(':') {
        // No variable has a colon in its name: only who stands in for what is missing answers here.
        Some(("file", path)) => match from_file(path, files) {
            Ok(secret) => (secret, others_may(&files.place(Path::new(path)))),
            Err(reason) => (environment(name).ok_or(reason)?, None),
        },
        Some(("credential", credential)) => (from_credential(name, credential, environment, files)?, None),
        Some(("command", command)) => match environment(name) {
            Some(stand_in) => (stand_in, None),
            None => (files.said(command, |folder| from_command(command, folder))?, None),
        },
        Some(_) | None => (from_environment(name, environment)?, None),
    };
    if secret.is_empty() {
        return Err("it is empty".to_owned());
    }
    if secret.len() > SECRET_BYTES_MAX {
        return Err("it is longer than 64 KiB".to_owned());
    }
    Ok((secret, warning))
}

fn from_file(path: &str, files: &Files) -> Result<String, String> {
    if path.is_empty() {
        return Err("the path is missing".to_owned());
    }
    let bytes = files.disk_bytes(Path::new(path)).map_err(|error| file::reason(&error))?;
    line(bytes)
}

/// UTF-8 text, less one line end at its end.
fn line(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// What is wrong with who may touch a file that holds a secret.
fn others_may(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let what = match (mode & 0o004 != 0, mode & 0o022 != 0) {
        (true, _) => "every user of this machine may read it",
        (false, true) => "others than its owner may write it",
        (false, false) => return None,
    };
    Some(format!("{what} (mode {:04o}); give it to the user that runs omgate, with chmod 0600", mode & 0o7777))
}

/// A credential that systemd hands to a unit: `LoadCredential=` or `SetCredential=` (systemd.exec(5)).
fn from_credential(
    name: &str,
    credential: &str,
    environment: Environment<'_>,
    files: &Files,
) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if credential.is_empty() || !credential.chars().all(fits) || credential.starts_with('.') {
        return Err("no credential has such a name; it is the one of LoadCredential= in the unit".to_owned());
    }
    if let Some(stand_in) = environment(name) {
        return Ok(stand_in);
    }
    let folder = environment("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        let hint = format!("give the unit LoadCredential={credential}:/path");
        format!("systemd set no CREDENTIALS_DIRECTORY; {hint}")
    })?;
    from_file(&Path::new(&folder).join(credential).to_string_lossy(), files)
}

/// What a program says, such as a vault's client. No shell: words are parted at blanks.
fn from_command(command: &str, folder: &Path) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or_else(|| "the program is missing".to_owned())?;
    let mut child = Command::new(program)
        .args(words)
        .current_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("it cannot be run: {}", file::reason(&error)))?;
    let (done, said) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut output = output.take(COMMAND_BYTES_MAX);
            let read = output.by_ref().take(SECRET_BYTES_MAX as u64 + 2).read_to_end(&mut bytes);
            // What is too long is heard to its end, so that this is the reason, and not that nobody listened.
            let read = read.and_then(|_| std::io::copy(&mut output, &mut std::io::sink()));
            let _ = done.send(read.map(|_| bytes));
        });
    }
    let bytes = said.recv_timeout(COMMAND_PATIENCE);
    // One that said all ends soon. Nothing ever comes through this channel: it only waits.
    let (_open, nothing) = mpsc::channel::<()>();
    let mut status = child.try_wait();
    for _ in 0..COMMAND_POLLS {
        if bytes.is_err() || !matches!(status, Ok(None)) {
            break;
        }
        let _ = nothing.recv_timeout(COMMAND_POLL);
        status = child.try_wait();
    }
    if matches!(status, Ok(None)) {
        let _ = child.kill();
        let _ = child.wait();
    }
    match (bytes, status) {
        (Ok(Ok(bytes)), Ok(Some(status))) if status.success() => line(bytes),
        (Ok(_), Ok(Some(status))) => Err(format!("it failed ({status}); run it by hand to see why")),
        (Ok(Err(error)), _) | (Ok(Ok(_)), Err(error)) => Err(format!("it could not be heard: {error}")),
        (Ok(Ok(_)), Ok(None)) => Err("it did not end".to_owned()),
        (Err(_), _) => Err(format!("it said nothing for {} s, and was ended", COMMAND_PATIENCE.as_secs())),
    }
}

fn from_environment(name: &str, environment: Environment<'_>) -> Result<String, String> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        return Err(
            "no variable has such a name; write ${NAME}, ${file:PATH}, ${credential:NAME} or ${command:PROGRAM}"
                .to_owned(),
        );
    }
    environment(name).ok_or_else(|| "the environment has no such variable".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_shown_as_references() {
        let environment = |name: &str| (name == "TOKEN").then(|| "s3cr3t".to_owned());
        let files = Files::disk(Path::new(""));
        let (text, problems) = substitute("a ${TOKEN} $${TOKEN} $5 ${MISSING} ${1x}", &environment, &files);
        assert_eq!(text.reveal(), "a s3cr3t ${TOKEN} $5  ");
        assert_eq!(text.masked(), "a ${TOKEN} ${TOKEN} $5 ${MISSING} ${1x}");
        let reasons: Vec<_> = problems.iter().map(|(at, _, reason)| format!("{at} {reason}")).collect();
        assert_eq!(
            reasons,
            [
                "24 ${MISSING}: the environment has no such variable",
                "35 ${1x}: no variable has such a name; write ${NAME}, ${file:PATH}, ${credential:NAME} or ${command:PROGRAM}",
            ]
        );
        assert_eq!(substitute("x ${y", &environment, &files).1.len(), 1);
    }

    fn one(reference: &str, environment: Environment<'_>, folder: &Path) -> Result<String, String> {
        let (text, problems) = substitute(reference, environment, &Files::disk(folder));
        match problems.into_iter().next() {
            None => Ok(text.reveal()),
            Some((_, severity, reason)) => Err(format!("{severity:?}: {reason}")),
        }
    }

    #[test]
    fn a_program_says_a_secret_or_why_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let run = |command: &str| one(&format!("${{command:{command}}}"), &|_| None, folder.path());
        assert_eq!(run("printf s3cr3t"), Ok("s3cr3t".to_owned()));
        assert_eq!(run("echo  s3cr3t"), Ok("s3cr3t".to_owned()));
        assert_eq!(run("echo $HOME;true"), Ok("$HOME;true".to_owned()), "there is no shell");
        for (command, why) in [
            ("", "the program is missing"),
            ("true", "it is empty"),
            ("false", "it failed"),
            ("no-such-program-of-any-kind", "it cannot be run"),
            ("head -c 70000 /dev/zero", "longer than 64 KiB"),
        ] {
            let found = run(command).unwrap_err();
            assert!(found.contains(why), "{command}: {found}");
        }
        // Who stands in for secrets runs nothing.
        let stand_in = |name: &str| Some(format!("<{name}>"));
        assert_eq!(one("${command:false}", &stand_in, folder.path()), Ok("<command:false>".to_owned()));
    }

    #[test]
    fn a_program_that_is_named_at_several_places_runs_once_each_time_that_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vault.sh"), "echo $1 >> asked; echo s3cr3t; test $1 = erp").unwrap();
        let (erp, crm) = ("${command:sh vault.sh erp}", "${command:sh vault.sh crm}");
        for round in 1..=2 {
            let files = Files::disk(folder.path());
            for raw in [erp, &format!("user:{erp}"), crm, crm] {
                let (text, problems) = substitute(raw, &|_| None, &files);
                assert_eq!(problems.len(), usize::from(raw == crm), "what fails is not tried again: {problems:?}");
                assert!(raw == crm || text.reveal().ends_with("s3cr3t"), "{raw}");
            }
            let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
            assert_eq!(asked, "erp\ncrm\n".repeat(round));
        }
    }

    #[test]
    fn a_credential_of_systemd_is_read_from_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("erp.password"), "s3cr3t\n").unwrap();
        let path = folder.path().to_string_lossy().into_owned();
        let environment = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| path.clone());
        let of = |name: &str| one(&format!("${{credential:{name}}}"), &environment, Path::new(""));
        assert_eq!(of("erp.password"), Ok("s3cr3t".to_owned()));
        for name in ["", "../erp.password", "a/b", "missing"] {
            assert!(of(name).is_err(), "{name}");
        }
        let without = one("${credential:erp.password}", &|_| None, Path::new("")).unwrap_err();
        assert!(without.contains("LoadCredential=erp.password:/path"), "{without}");
    }

    #[test]
    fn a_file_that_others_may_touch_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cr3t").unwrap();
        for (mode, told) in [(0o600, ""), (0o640, ""), (0o644, "read"), (0o620, "write"), (0o666, "read")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = one("${file:password}", &|_| None, folder.path());
            match told {
                "" => assert_eq!(found, Ok("s3cr3t".to_owned())),
                told => assert!(found.is_err_and(|why| why.starts_with("Warning") && why.contains(told)), "{mode:o}"),
            }
        }
    }
}
