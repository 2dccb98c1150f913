//! The one expression language: MiniJinja expressions that give values, never text.

use crate::clock::Timestamp;
use crate::envelope::Record;

/// The names an expression can see about one notification.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `record`; none when there is no sObject (every field is then absent).
    pub record: Option<&'a Record>,
    /// `notification.id`.
    pub notification_id: &'a str,
    /// `notification.received_at`.
    pub received_at: Timestamp,
    /// `envelope.organization_id`.
    pub organization_id: &'a str,
    /// `envelope.action_id`.
    pub action_id: &'a str,
    /// `envelope.enterprise_url`.
    pub enterprise_url: &'a str,
    /// `envelope.partner_url`.
    pub partner_url: &'a str,
    /// `source`.
    pub source: &'a str,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression {}
