//! `${NAME}` and `${file:PATH}` in configured text.

use std::path::Path;

use secrecy::SecretString;

use super::file::{self, Files};
use crate::secret::Text;

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// Where secrets come from.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Replaces every reference in `raw`; `$${` stands for `${`. What cannot be replaced is reported, each with its offset.
pub(super) fn substitute(raw: &str, environment: Environment<'_>, files: &Files) -> (Text, Vec<(usize, String)>) {
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
            problems.push((at + found, "`${` has no `}`; write `$${` for the characters themselves".to_owned()));
            return (text, problems);
        };
        let (reference, _) = from.split_at(end + 1);
        match value(from.get(2..end).unwrap_or_default(), environment, files) {
            Ok(secret) => text.push_secret(reference, SecretString::from(secret)),
            Err(reason) => {
                // Shown like any other secret, so that what is made of the text does not look like clear text.
                text.push_secret(reference, SecretString::default());
                problems.push((at + found, format!("{reference}: {reason}")));
            }
        }
        at += found + reference.len();
    }
    text.push_plain(raw.get(at..).unwrap_or_default());
    (text, problems)
}

fn value(name: &str, environment: Environment<'_>, files: &Files) -> Result<String, String> {
    let secret = match name.strip_prefix("file:") {
        // No variable has a colon in its name: only who stands in for what is missing answers here.
        Some(path) => from_file(path, files).or_else(|reason| environment(name).ok_or(reason))?,
        None => from_environment(name, environment)?,
    };
    if secret.is_empty() {
        return Err("it is empty".to_owned());
    }
    if secret.len() > SECRET_BYTES_MAX {
        return Err("it is longer than 64 KiB".to_owned());
    }
    Ok(secret)
}

fn from_file(path: &str, files: &Files) -> Result<String, String> {
    if path.is_empty() {
        return Err("the path is missing".to_owned());
    }
    let bytes = files.disk_bytes(Path::new(path)).map_err(|error| file::reason(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn from_environment(name: &str, environment: Environment<'_>) -> Result<String, String> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !fits {
        return Err("no variable has such a name; write ${NAME} or ${file:PATH}".to_owned());
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
        let reasons: Vec<_> = problems.iter().map(|(at, reason)| format!("{at} {reason}")).collect();
        assert_eq!(
            reasons,
            [
                "24 ${MISSING}: the environment has no such variable",
                "35 ${1x}: no variable has such a name; write ${NAME} or ${file:PATH}",
            ]
        );
        assert_eq!(substitute("x ${y", &environment, &files).1.len(), 1);
    }
}
