//! Watches the files of the configuration, and has them read again when they changed.
//!
//! Folders are watched, not files: editors, deployments and Kubernetes replace files and links by renaming. Every link on
//! the way to a file counts. But in the folder of the store each commit would be an event, so there the files themselves
//! are watched. Where nothing tells of changes, as on network file systems, the files are looked at every so often. Only
//! what they hold counts: a file that was only touched changes nothing.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::reload::{Reloader, Watched};
use crate::admin::reload::{Order, Reload};
use crate::config::Seen;
use crate::store::TakenBy;

/// Several files are written one after the other, and none at one go: they are read once they have been quiet for so long,
const QUIET: Duration = Duration::from_millis(500);
/// and after so long at the latest.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// Links that lead to links lead so far.
const LINKS_MAX: u32 = 40;

/// Watches until it is aborted.
pub(super) async fn run(reloader: Arc<Reloader>) {
    let (hearing, mut heard) = mpsc::channel(1);
    loop {
        let Watched { is_on, every, tried, store } = reloader.watched();
        // Made anew each time: links may lead elsewhere, and folders may be others of the same name.
        let eyes = if is_on { open(tried.clone(), store, hearing.clone()).await } else { None };
        if is_on && differs(&tried).await {
            at_rest(&tried).await;
            let order = Order {
                by: TakenBy::File,
                person: "a changed file".to_owned(),
                orphans: None,
                dry_run: false,
                reason: String::new(),
            };
            // What came of it is in the log.
            if reloader.reload(order).await.is_ok() || reloader.watched().tried != tried {
                continue;
            }
        }
        tokio::select! {
            _ = heard.recv() => quiet(&mut heard).await,
            () = reloader.rearm.notified() => {}
            () = tokio::time::sleep(every) => {}
        }
        drop(eyes);
    }
}

/// Waits until nothing was heard for a while.
async fn quiet(heard: &mut Receiver<()>) {
    let noise = async { while tokio::time::timeout(QUIET, heard.recv()).await.is_ok() {} };
    let _ = tokio::time::timeout(QUIET_MAX, noise).await;
}

/// Whether the files are others than when they were last tried.
async fn differs(tried: &Seen) -> bool {
    look(tried).await.is_some_and(|now| now != *tried)
}

/// Waits until the files have been the same for a while: what is being written is half of what it will be.
async fn at_rest(tried: &Seen) {
    let rest = async {
        let mut before = look(tried).await;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = look(tried).await;
            if now == before {
                break;
            }
            before = now;
        }
    };
    let _ = tokio::time::timeout(QUIET_MAX, rest).await;
}

/// What the files hold now. A file system that hangs must hang nothing else.
async fn look(tried: &Seen) -> Option<Seen> {
    let tried = tried.clone();
    tokio::task::spawn_blocking(move || tried.now()).await.ok()
}

async fn open(seen: Seen, store: PathBuf, hearing: Sender<()>) -> Option<RecommendedWatcher> {
    let opened = tokio::task::spawn_blocking(move || watch(&seen, &store, hearing)).await;
    match opened {
        Ok(Ok(watcher)) => Some(watcher),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the configuration's files cannot be watched; they are looked at every so often");
            None
        }
        Err(_) => None,
    }
}

fn watch(seen: &Seen, store: &Path, hearing: Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut counting = BTreeSet::new();
    for path in seen.paths() {
        follow(path, &mut counting, LINKS_MAX);
    }
    let targets: BTreeSet<PathBuf> = counting.iter().map(|path| target(path, store)).collect();
    let counting: HashSet<PathBuf> = counting.into_iter().collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let counts = match &event {
            Ok(event) => {
                event.need_rescan()
                    || (!event.kind.is_access() && event.paths.iter().any(|path| counting.contains(path)))
            }
            Err(_) => true,
        };
        if counts {
            // Full: it will be looked at anyway.
            let _ = hearing.try_send(());
        }
    })?;
    for target in targets {
        // One that is not there yet is found by looking every so often.
        if let Err(error) = watcher.watch(&target, RecursiveMode::NonRecursive) {
            tracing::debug!(%error, target = %target.display(), "a part of the configuration cannot be watched");
        }
    }
    Ok(watcher)
}

/// What is watched for a path: its folder, or itself in the folder of the store.
fn target(path: &Path, store: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(path);
    let is_busy = match (folder.canonicalize(), store.parent().map(Path::canonicalize)) {
        (Ok(folder), Some(Ok(busy))) => folder == busy,
        _ => false,
    };
    if is_busy { path.to_owned() } else { folder.to_owned() }
}

/// A file and every link on the way to it.
fn follow(path: &Path, found: &mut BTreeSet<PathBuf>, links: u32) {
    let mut walked = PathBuf::new();
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        walked.push(component);
        let Ok(target) = walked.read_link() else { continue };
        let folder = walked.parent().unwrap_or(Path::new("/"));
        let leads_to = folder.join(target).join(rest.as_path());
        found.insert(walked);
        if links > 0 {
            follow(&leads_to, found, links - 1);
        }
        return;
    }
    found.insert(walked);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_link_on_the_way_to_a_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("v1")).unwrap();
        std::fs::write(at("v1/omgate.toml"), "").unwrap();
        symlink("v1", at("..data")).unwrap();
        symlink("..data/omgate.toml", at("omgate.toml")).unwrap();
        let mut found = BTreeSet::new();
        follow(&at("omgate.toml"), &mut found, LINKS_MAX);
        assert_eq!(found, BTreeSet::from([at("omgate.toml"), at("..data"), at("v1/omgate.toml")]));
        let store = at("omgate.db");
        assert_eq!(target(&at("omgate.toml"), &store), at("omgate.toml"), "not every commit of the store");
        assert_eq!(target(&at("v1/omgate.toml"), &store), at("v1"));
        symlink("round", at("round")).unwrap();
        follow(&at("round"), &mut found, LINKS_MAX);
        assert!(found.contains(&at("round")));
    }
}
