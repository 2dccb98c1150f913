//! Numbers as a person types them, and what is wrong with others.

/// The number of a delivery or another row.
///
/// # Errors
/// What it must be.
pub fn id(text: &str) -> Result<i64, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| "it must be a number from 1, as the lists show it".to_owned())
}

/// A status of HTTP.
///
/// # Errors
/// What it must be.
pub fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| "it must be a status of HTTP, 100 to 599".to_owned())
}

/// How many.
///
/// # Errors
/// What it must be.
pub fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "it must be a whole number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_in_words() {
        assert_eq!((id("7"), status("503"), count("0")), (Ok(7), Ok(503), Ok(0)));
        for wrong in ["-1", "0", "abc", "", "99999999999999999999"] {
            assert!(id(wrong).unwrap_err().contains("a number from 1"), "{wrong}");
            assert!(status(wrong).unwrap_err().contains("100 to 599"), "{wrong}");
        }
        assert!(count("many").unwrap_err().contains("a whole number"));
    }
}
