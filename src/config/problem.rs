//! What is wrong or remarkable in a configuration: place, key, reason, suggestion.

use std::fmt;

use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can.
    Warning,
}

/// One thing wrong or remarkable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the configuration names it; the configuration itself as it was named on the command line.
    pub file: String,
    /// From 1; 0 when unknown.
    pub line: usize,
    /// From 1, in characters; 0 when unknown.
    pub column: usize,
    /// The rule that found it: `source-field`, `target-path`, `required`, `type`, `value`, `length`, …; of a WSDL, the
    /// finding's own; empty for what has no name.
    pub rule: String,
    /// The key's path, such as `destination.erp.timeout`; empty when it is about the whole file.
    pub key: String,
    /// What is wrong, and what to do.
    pub reason: String,
    /// The nearest known name.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        f.write_str(match self.severity {
            Severity::Error => ": error: ",
            Severity::Warning => ": warning: ",
        })?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " (did you mean `{suggestion}`?)")?;
        }
        if self.rule.is_empty() { Ok(()) } else { write!(f, " [{}]", self.rule) }
    }
}

/// All that is wrong, in the order of its places; warnings included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
