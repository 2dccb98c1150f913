//! What an outbound message's WSDL says of its records.

use crate::envelope::RecordTypes;
use crate::wsdl::Finding;

/// Reads the record types out of an outbound message's WSDL. `file` is its name for findings.
///
/// # Errors
/// What makes it no outbound WSDL.
pub fn record_types(_file: &str, _text: &str) -> Result<RecordTypes, Vec<Finding>> {
    unimplemented!()
}
