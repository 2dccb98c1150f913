//! What the process may use: open files, whose rights it has, what others may do with its files.

use std::fs;
use std::path::Path;

use super::finding::{Findings, Judged};
use crate::config::Loaded;

/// Beside the connections of the public listener: destinations, the store, the log, the admin listener.
const FILES_BESIDE: u64 = 256;

/// Looks at the gateway's own process where it is known, else at this one: then a service may have others.
pub(super) fn look(loaded: &Loaded, is_running: bool) -> Findings {
    let mut findings = Findings::about("process");
    // Beside a database there is no lock.
    let is_named = is_running && !loaded.store.is_database();
    let gateway = if is_named { holder(&loaded.store.path) } else { None };
    let of = |process: &str, name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).ok();
    let read = |process: &str| Some((of(process, "limits")?, of(process, "status")?));
    let own = || Some(("this shell (a service may have another)".to_owned(), read("self")?));
    let found = gateway.and_then(|id| Some((format!("the gateway, process {id}"), read(&id.to_string())?)));
    let Some((whose, (limits, status))) = found.or_else(own) else {
        findings.skip("limits", "there is no /proc to read them from");
        return findings;
    };
    let wanted = u64::try_from(loaded.server.limits.connections_max).unwrap_or(u64::MAX).saturating_add(FILES_BESIDE);
    match open_files(&limits) {
        Some(found) => findings.judged("open files", files(found, wanted, &whose)),
        None => findings.skip("open files", "/proc does not say how many may be open"),
    }
    match user(&status) {
        Some(found) => findings.judged("user", whom(found, &whose)),
        None => findings.skip("user", "/proc does not say whose process it is"),
    }
    if let Some(found) = umask(&status) {
        findings.judged("umask", mask(found, &whose));
    }
    findings
}

/// The process that the lock beside the store names.
fn holder(store: &Path) -> Option<u32> {
    let mut lock = store.as_os_str().to_owned();
    lock.push("-lock");
    fs::read_to_string(lock).ok()?.trim().parse().ok()
}

/// The soft limit of `/proc/PID/limits`; none inside: without bound.
fn open_files(limits: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn line_of<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// The effective user of `/proc/PID/status`.
fn user(status: &str) -> Option<u32> {
    line_of(status, "Uid")?.split_whitespace().nth(1)?.parse().ok()
}

fn umask(status: &str) -> Option<u32> {
    u32::from_str_radix(line_of(status, "Umask")?.trim(), 8).ok()
}

fn files(soft: Option<u64>, wanted: u64, whose: &str) -> Judged {
    match soft {
        Some(soft) if soft < wanted => Judged::warning(
            format!(
                "{whose} may have {soft} files open, and server.limits.connections can take {wanted} with all else"
            ),
            format!(
                "set LimitNOFILE={wanted} in the unit (`ulimit -n {wanted}` in a shell), or lower \
                 server.limits.connections"
            ),
        ),
        Some(soft) => Judged::ok(format!("{whose} may have {soft} open; {wanted} are enough")),
        None => Judged::ok(format!("{whose} may have any number open")),
    }
}

fn whom(user: u32, whose: &str) -> Judged {
    if user == 0 {
        let advice = "run it as a user of its own; it needs no right of root (packaging has a unit), and a port \
                      below 1024 takes AmbientCapabilities=CAP_NET_BIND_SERVICE alone";
        return Judged::warning(format!("{whose} runs as root"), advice);
    }
    Judged::ok(format!("{whose} runs as user {user}"))
}

fn mask(umask: u32, whose: &str) -> Judged {
    if umask & 0o022 == 0o022 {
        return Judged::ok(format!("{umask:04o}, of {whose}: nobody else may write what it makes"));
    }
    let found = format!("{umask:04o}, of {whose}: others may write files that it makes");
    Judged::warning(found, "set UMask=0077 in the unit, or `umask 077` in the shell")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
                          Max processes             7823                 7823                 processes \n\
                          Max open files            1024                 524288               files     \n";
    const STATUS: &str = "Name:\tomgate\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n";

    #[test]
    fn what_proc_says_of_a_process_is_read() {
        assert_eq!(open_files(LIMITS), Some(Some(1_024)));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), Some(None));
        assert_eq!(open_files(""), None);
        assert_eq!((user(STATUS), umask(STATUS)), (Some(0), Some(0o022)));
    }

    #[test]
    fn few_files_root_and_a_wide_umask_are_told_with_what_to_do() {
        for (judged, level) in [
            (files(Some(1_024), 1_280, "it"), Level::Warning),
            (files(Some(1_280), 1_280, "it"), Level::Ok),
            (files(None, 1_280, "it"), Level::Ok),
            (whom(0, "it"), Level::Warning),
            (whom(1_000, "it"), Level::Ok),
            (mask(0o022, "it"), Level::Ok),
            (mask(0o077, "it"), Level::Ok),
            (mask(0o002, "it"), Level::Warning),
            (mask(0, "it"), Level::Warning),
        ] {
            assert_eq!(judged.level, level, "{judged:?}");
            assert_eq!(judged.advice.is_some(), level == Level::Warning);
        }
    }
}
