//! What is kept of attempts: their outcome and their fault, and what those came to that nobody completed.

use serde::{Deserialize, Serialize};

use super::Settlement;
use crate::clock::Timestamp;
use crate::outcome;

/// The outcome that says: sent, and no usable answer.
pub(super) const UNKNOWN: &str = "unknown";

/// Why an attempt that nobody completed came to nothing known.
pub(super) const STOPPED: &str = "the gateway stopped while the call was under way";

/// Why an attempt is under way and yet none: what an earlier one came to is looked up. While it says so, its call was not
/// begun.
pub(super) const LOOKING_UP: &str = "whether it arrived is being looked up; no call was made yet";

/// What becomes of a delivery whose attempt nobody completed: it is sent again, or held for a person where its destination
/// is one of those that say so.
pub(super) fn stopped(hold: &[String], destination: &String, now: Timestamp) -> Settlement {
    if hold.contains(destination) {
        Settlement::Held { reason: STOPPED.to_owned() }
    } else {
        Settlement::Waiting { due_at: now }
    }
}

/// A fault as it is kept; the value that travels is only ever written out.
#[derive(Debug, Serialize, Deserialize)]
struct StoredFault {
    code: String,
    code_namespace: String,
    subcodes: Vec<String>,
    subcode_namespaces: Vec<String>,
    string: String,
    actor: Option<String>,
    detail: Option<String>,
}

/// A fault as text; why not, in words, when it cannot be written.
pub(super) fn write_fault(fault: Option<&outcome::Fault>) -> Result<Option<String>, String> {
    let text = fault.map(|fault| serde_json::to_string(&StoredFault::from(fault))).transpose();
    text.map_err(|error| format!("keeping the fault: {error}"))
}

/// A fault out of its text.
pub(super) fn read_fault(text: Option<&str>) -> serde_json::Result<Option<outcome::Fault>> {
    let stored = text.map(serde_json::from_str::<StoredFault>).transpose()?;
    Ok(stored.map(outcome::Fault::from))
}

impl From<&outcome::Fault> for StoredFault {
    fn from(fault: &outcome::Fault) -> Self {
        Self {
            code: fault.code.clone(),
            code_namespace: fault.code_namespace.clone(),
            subcodes: fault.subcodes.clone(),
            subcode_namespaces: fault.subcode_namespaces.clone(),
            string: fault.string.clone(),
            actor: fault.actor.clone(),
            detail: fault.detail.clone(),
        }
    }
}

impl From<StoredFault> for outcome::Fault {
    fn from(fault: StoredFault) -> Self {
        Self {
            code: fault.code,
            code_namespace: fault.code_namespace,
            subcodes: fault.subcodes,
            subcode_namespaces: fault.subcode_namespaces,
            string: fault.string,
            actor: fault.actor,
            detail: fault.detail,
            content: serde_json::Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_back_as_it_was_kept_less_its_content() {
        let kept = outcome::Fault {
            code: "Receiver".to_owned(),
            code_namespace: "urn:envelope".to_owned(),
            subcodes: vec!["Locked".to_owned()],
            subcode_namespaces: vec!["urn:erp".to_owned()],
            string: "row locked".to_owned(),
            actor: None,
            detail: Some("<d/>".to_owned()),
            content: serde_json::Value::Null,
        };
        let given = outcome::Fault { content: serde_json::json!({ "d": 1 }), ..kept.clone() };
        let text = write_fault(Some(&given)).unwrap();
        assert_eq!(read_fault(text.as_deref()).unwrap(), Some(kept));
        assert_eq!(write_fault(None), Ok(None));
        assert_eq!(read_fault(None).unwrap(), None);
        assert!(read_fault(Some("{}")).is_err());
    }

    #[test]
    fn what_nobody_completed_is_sent_again_or_held_where_its_destination_says_so() {
        let hold = ["erp".to_owned()];
        let held = Settlement::Held { reason: STOPPED.to_owned() };
        assert_eq!(stopped(&hold, &"erp".to_owned(), Timestamp(3)), held);
        assert_eq!(stopped(&hold, &"crm".to_owned(), Timestamp(3)), Settlement::Waiting { due_at: Timestamp(3) });
    }
}
