//! Who may send: organizations and outbound messages. Pure.

use crate::envelope::{ActionId, Envelope, OrganizationId, named};
use crate::receive::Source;

/// Why an envelope is not this source's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// The organization is not listed.
    #[error("organization {} is not one of this source's organizations", named(.0))]
    Organization(String),
    /// The outbound message is not listed.
    #[error("outbound message {} is not one of this source's actions", named(.0))]
    Action(String),
}

/// Whether an envelope comes from whom the source expects.
///
/// # Errors
/// What is unknown about it.
pub fn admit(source: &Source, envelope: &Envelope) -> Result<(), Stranger> {
    admit_ids(source, &envelope.organization_id, &envelope.action_id)
}

/// Whether an organization and its outbound message are those that the source expects.
///
/// # Errors
/// Which is not.
pub fn admit_ids(source: &Source, organization: &OrganizationId, action: &ActionId) -> Result<(), Stranger> {
    if let Some(known) = &source.organizations
        && !known.contains(organization)
    {
        return Err(Stranger::Organization(organization.to_string()));
    }
    // Action ids are opaque and compared whole, as DESIGN §2 has it.
    if let Some(known) = &source.actions
        && !known.contains(action)
    {
        return Err(Stranger::Action(action.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(organizations: Option<&[&str]>, actions: Option<&[&str]>) -> Source {
        Source {
            organizations: organizations.map(|ids| ids.iter().map(|id| OrganizationId::parse(id).unwrap()).collect()),
            actions: actions.map(|ids| ids.iter().map(|id| ActionId::parse(id).unwrap()).collect()),
            ..Source::new("orders", "/om/orders")
        }
    }

    fn envelope(organization: &str, action: &str) -> Envelope {
        Envelope {
            organization_id: OrganizationId::parse(organization).unwrap(),
            action_id: ActionId::parse(action).unwrap(),
            enterprise_url: String::new(),
            partner_url: String::new(),
            notifications: Vec::new(),
        }
    }

    #[test]
    fn a_listed_organization_is_admitted_by_its_fifteen_characters() {
        let source = source(Some(&["00D24000000abcdEAA"]), None);
        assert_eq!(admit(&source, &envelope("00D24000000abcd", "04k1")), Ok(()));
        assert_eq!(
            admit(&source, &envelope("00D24000000abcDEAA", "04k1")),
            Err(Stranger::Organization("00D24000000abcDEAA".to_owned()))
        );
    }

    #[test]
    fn an_action_is_compared_whole() {
        let source = source(None, Some(&["04k24000000HfHaAAK"]));
        assert_eq!(admit(&source, &envelope("any", "04k24000000HfHaAAK")), Ok(()));
        assert!(matches!(admit(&source, &envelope("any", "04k24000000HfHa")), Err(Stranger::Action(_))));
    }
}
