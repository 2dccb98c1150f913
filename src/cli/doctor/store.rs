//! The store: whether it is there and ours, who else may read it, and what it stands on.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::clock::Reading;
use super::disk;
use super::finding::{Findings, Judged};
use crate::config::StoreSettings;
use crate::store::sqlite::{OpenError, SqliteArchive};

/// Looks at the store of a configuration; with it, what the database's clock said, if it has one.
pub(super) async fn look(settings: &StoreSettings, is_offline: bool) -> (Findings, Option<Reading>) {
    let mut findings = Findings::about("store");
    #[cfg(feature = "postgres")]
    if let Some(address) = &settings.database {
        if is_offline {
            findings.skip("database", format!("{} was not asked: --offline", address.shown()));
            return (findings, None);
        }
        let reading = super::database::look(&mut findings, address).await;
        return (findings, reading);
    }
    // Where there is no database there is nobody to ask.
    let _ = is_offline;
    of_file(&mut findings, &settings.path);
    (findings, None)
}

fn of_file(findings: &mut Findings, path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    findings.judged("schema", schema(path));
    let files: Vec<PathBuf> =
        ["", "-wal", "-shm"].iter().map(|end| beside(path, end)).filter(|file| file.exists()).collect();
    findings.judged("permissions", permissions(&files, folder));
    disk::look(findings, folder);
    let advice_only = format!("`omgate store verify` compares every counter of {} with its rows", path.display());
    findings.skip("contents", advice_only);
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn schema(path: &Path) -> Judged {
    match SqliteArchive::open(path) {
        Ok(archive) => match archive.moved() {
            Ok(None) => Judged::ok(format!("{} is a store of this version", path.display())),
            Ok(Some((to, at))) => Judged::failed(
                format!("{} was moved to {to} at {at}, and that one counts", path.display()),
                "write its address into [store] url",
            ),
            Err(error) => Judged::failed(error.to_string(), "look through it with `omgate store verify`"),
        },
        Err(OpenError::Absent { path }) => {
            Judged::ok(format!("{} is not there yet; the first start makes it", path.display()))
        }
        Err(error @ OpenError::Older { .. }) => Judged::warning(
            error.to_string(),
            "the next start of `omgate serve` brings it up to date; back it up \
                                                before",
        ),
        Err(error) => Judged::failed(error.to_string(), "see what it says; nothing was changed"),
    }
}

/// What others may do with the files and their folder.
fn permissions(files: &[PathBuf], folder: &Path) -> Judged {
    let mode = |path: &Path| fs::metadata(path).map(|about| (about.permissions().mode() & 0o7777, about.uid())).ok();
    for file in files {
        if let Some((mode, _)) = mode(file).filter(|(mode, _)| mode & 0o077 != 0) {
            let found = format!("others may {} {} (mode {mode:04o})", deeds(mode), file.display());
            let advice = format!("chmod 0600 {}; payloads of customers are in it", file.display());
            return if mode & 0o007 == 0 { Judged::warning(found, advice) } else { Judged::failed(found, advice) };
        }
    }
    match mode(folder) {
        None => Judged::failed(
            format!("the folder {} cannot be looked at", folder.display()),
            "make it, and give it to the user that runs omgate",
        ),
        // With the sticky bit nobody takes away what belongs to somebody else.
        Some((mode, _)) if mode & 0o022 != 0 && mode & 0o1000 == 0 => Judged::warning(
            format!("others may put files into {} and take them away (mode {mode:04o})", folder.display()),
            format!("chmod 0700 {}", folder.display()),
        ),
        Some((mode, owner)) => {
            let foreign =
                files.iter().find(|file| fs::metadata(file).is_ok_and(|about| about.uid() != owner && owner != 0));
            match foreign {
                Some(file) => Judged::warning(
                    format!("{} belongs to another user than its folder", file.display()),
                    "was it started once as root? give it to the user that runs omgate (chown)",
                ),
                None if files.is_empty() => {
                    Judged::ok(format!("the folder {} is for its owner to write (mode {mode:04o})", folder.display()))
                }
                None => {
                    Judged::ok(format!("its files are for their owner alone (0600), the folder has mode {mode:04o}"))
                }
            }
        }
    }
}

fn deeds(mode: u32) -> &'static str {
    match (mode & 0o044 != 0, mode & 0o022 != 0) {
        (true, true) => "read and write",
        (false, true) => "write",
        _ => "read",
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_store_that_others_may_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("omgate.db");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (mode, of_folder, level, said) in [
            (0o600, 0o700, Level::Ok, "owner alone"),
            (0o640, 0o700, Level::Warning, "may read"),
            (0o644, 0o700, Level::Failed, "chmod 0600"),
            (0o666, 0o700, Level::Failed, "read and write"),
            (0o600, 0o777, Level::Warning, "chmod 0700"),
            (0o600, 0o1777, Level::Ok, "owner alone"),
        ] {
            set(&file, mode);
            set(folder.path(), of_folder);
            let judged = permissions(std::slice::from_ref(&file), folder.path());
            let text = format!("{judged:?}");
            assert_eq!(judged.level, level, "{mode:o} {text}");
            assert!(text.contains(said), "{mode:o} {text}");
        }
        assert_eq!(permissions(&[], &folder.path().join("absent")).level, Level::Failed);
    }
}
