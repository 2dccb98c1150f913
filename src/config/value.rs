//! How durations, sizes, rates and addresses are written.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dispatch::Rate;

pub use crate::clock::duration;

/// A duration as [`duration`] reads it.
pub(super) fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds >= length && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") }
}

/// `65536`, `64KiB`, `16MiB`, `1GiB`; also KB, MB and GB by thousands.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let form = "write bytes, or a whole number and KiB, MiB or GiB, such as \"16MiB\"";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no size; {form}"))?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(format!("{text:?} is no size; {form}")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// A size as [`size`] reads it.
pub(super) fn written_size(bytes: u64) -> String {
    for (unit, length) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= length && bytes.is_multiple_of(length) {
            return format!("{}{unit}", bytes / length);
        }
    }
    bytes.to_string()
}

/// `20/s`, `600/m`, `1000/h`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let form = "write calls per s, m or h, such as \"20/s\"";
    let wrong = || format!("{text:?} is no rate; {form}");
    let (calls, unit) = text.split_once('/').ok_or_else(wrong)?;
    let calls: u32 = calls.trim().parse().map_err(|_| wrong())?;
    let per = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        _ => return Err(wrong()),
    };
    if !(1..=1_000_000).contains(&calls) {
        return Err(format!("{text:?} must be from 1 to 1000000 calls"));
    }
    Ok(Rate { calls, per })
}

/// `127.0.0.1:8080`, `[::1]:8080`; no names, so that nothing has to be asked before a port is bound.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no address; write IP:port, such as \"127.0.0.1:8080\" or \"0.0.0.0:8080\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_rates_are_read_as_they_are_written() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("3d"), Ok(Duration::from_secs(259_200)));
        assert_eq!(written(Duration::from_secs(259_200)), "3d");
        assert_eq!(written(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(written(Duration::ZERO), "0s");
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("10 KB"), Ok(10_000));
        assert_eq!(written_size(16 << 20), "16MiB");
        assert_eq!(rate("20/s"), Ok(Rate { calls: 20, per: Duration::from_secs(1) }));
        for wrong in ["", "30", "s", "-1s", "1.5s", "30 parsecs", "99999999999999999999s", "99999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "MiB", "-1", "1.5MiB", "16 Mib", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "20", "/s", "0/s", "20/d", "-5/s", "5000000000/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
