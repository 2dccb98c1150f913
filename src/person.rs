//! Who a person is to the operating system: the owner of a process, or of the other end of a connection on this machine.
//!
//! The kernel knows it, and nobody can say otherwise; no header is believed.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;

/// More of a table of the kernel's, or of the users, is not read.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// The user that this process runs as, such as `alice (uid 1000)`; empty when it is not known.
#[must_use]
pub fn of_this_process() -> String {
    std::fs::metadata("/proc/self").map(|metadata| named(metadata.uid())).unwrap_or_default()
}

/// The user at the other end of a connection to this machine, by its two addresses; from another machine its address.
#[must_use]
pub fn of_connection(peer: SocketAddr, own_port: u16) -> String {
    let table = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    match read(table).as_deref().and_then(|table| owner(table, peer, own_port)) {
        Some(uid) => named(uid),
        None => peer.ip().to_string(),
    }
}

fn read(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(TABLE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The owner of the socket that is bound to `peer` and connected to `own_port`.
fn owner(table: &str, peer: SocketAddr, own_port: u16) -> Option<u32> {
    let (local, remote_port) = (in_hex(peer), format!(":{own_port:04X}"));
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let is_it = columns.nth(1)? == local && columns.next()?.ends_with(&remote_port);
        // State, queues, timer, retransmits stand between.
        if is_it { columns.nth(4)?.parse().ok() } else { None }
    })
}

/// An address as the kernel's tables have it: words of four bytes, each in the machine's order.
fn in_hex(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

fn named(uid: u32) -> String {
    match read("/etc/passwd").as_deref().and_then(|users| name_of(users, uid)) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        (columns.nth(1)?.parse() == Ok(uid)).then(|| name.chars().filter(|c| !c.is_control()).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owner_is_found_by_both_ends() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1\n\
            \x20  2: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0 20 4 30 10 -1\n";
        let peer = "127.0.0.1:50000".parse().unwrap();
        assert_eq!(owner(table, peer, 8081), Some(1_000));
        assert_eq!(owner(table, peer, 8082), None);
        assert_eq!(owner("", peer, 8081), None);
        assert_eq!(in_hex("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
    }

    #[test]
    fn users_have_names_where_the_system_knows_them() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(name_of(users, 1_000).as_deref(), Some("alice"));
        assert_eq!(name_of(users, 7), None);
        assert!(of_this_process().contains("uid "), "{}", of_this_process());
    }

    #[test]
    fn a_connection_on_this_machine_is_this_users() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(of_connection(client.local_addr().unwrap(), port), of_this_process());
    }
}
