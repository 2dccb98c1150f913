//! WSDL 1.1 and XSD 1.0 → a model of what may be sent. Knows nothing of HTTP.

use std::io;
use std::path::Path;

pub mod outbound;

/// Where documents come from: the disk, or a stored configuration.
pub trait Files: Send + Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// As the file system says, or `InvalidData` when it is too large.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// Something wrong or remarkable in a WSDL or schema.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Whether it makes the document unusable.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// From 1; 0 when unknown.
    pub line: u32,
    /// From 1; 0 when unknown.
    pub column: u32,
    /// A short stable name of the rule.
    pub rule: String,
    /// What is wrong, what was assumed, what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// It can, and something was assumed.
    Warning,
}
