//! What a configuration says, for people: its sources, destinations and routes as they were loaded, each limit with the
//! setting that made it so. No secret is in it: references stand in their place.

use serde::Serialize;

/// What a configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Facts {
    /// `[[source]]`, in order.
    pub sources: Vec<SourceFacts>,
    /// `[[destination]]`, in order.
    pub destinations: Vec<DestinationFacts>,
    /// `[[route]]`, in order.
    pub routes: Vec<RouteFacts>,
    /// What is remarkable in it, each with its place.
    pub warnings: Vec<String>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SourceFacts {
    /// Its name.
    pub name: String,
    /// The path that Salesforce posts to; secret parts of it as references.
    pub path: String,
    /// Whose messages are taken; none: anybody's.
    pub organizations: Option<Vec<String>>,
    /// Which outbound messages are taken; none: any.
    pub actions: Option<Vec<String>>,
    /// What becomes of others: `refuse` or `quarantine`.
    pub unknown_organization: &'static str,
    /// What its WSDL declares; empty without one.
    pub records: Vec<RecordFacts>,
    /// Whether its WSDL is served.
    pub exposes_wsdl: bool,
    /// Fields that people are not to see.
    pub mask: Vec<String>,
    /// Fields by whose values its notifications are found.
    pub search: Vec<String>,
}

/// How many fields are proposed for `search`.
const SEARCH_PROPOSED_MAX: usize = 2;

/// Of the fields of a record those by which people would look for it: its name, a number, a code.
#[must_use]
pub fn fit_for_search<'f>(fields: impl Iterator<Item = &'f str>) -> Vec<&'f str> {
    let rank = |field: &str| {
        let plain = field.strip_suffix("__c").unwrap_or(field);
        let endings = ["Number", "ExternalId", "External_Id", "Reference", "Code", "Key"];
        match plain {
            "Name" => Some(0),
            _ => endings.iter().position(|ending| plain.ends_with(ending)).map(|position| position + 1),
        }
    };
    let mut ranked: Vec<(usize, &str)> = fields.filter_map(|field| Some((rank(field)?, field))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().take(SEARCH_PROPOSED_MAX).map(|(_, field)| field).collect()
}

impl SourceFacts {
    /// What to write so that its messages are found by what they hold; none where it is written, and where nothing is known
    /// of its fields.
    #[must_use]
    pub fn wants_search(&self) -> Option<String> {
        if !self.search.is_empty() || self.records.is_empty() {
            return None;
        }
        let fields = self.records.iter().flat_map(|record| &record.fields).map(|(name, _)| name.as_str());
        let fields = fit_for_search(fields.filter(|name| !self.mask.iter().any(|masked| masked == name)));
        let list: Vec<String> = fields.iter().map(|field| format!("{field:?}")).collect();
        let such = if list.is_empty() {
            "of its fields".to_owned()
        } else {
            format!("such as search = [{}]", list.join(", "))
        };
        Some(format!(
            "source {} names no fields in `search`, so its messages are found by ids alone: name some, {such}",
            self.name
        ))
    }
}

/// What a WSDL declares of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecordFacts {
    /// Its type.
    pub name: String,
    /// Its fields: name and type.
    pub fields: Vec<(String, String)>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DestinationFacts {
    /// Its name.
    pub name: String,
    /// The name of its system.
    pub system: String,
    /// `rest` or `soap`.
    pub kind: &'static str,
    /// Method and URL, or operation and endpoint.
    pub call: String,
    /// Limits and policies as they are in force.
    pub settings: Vec<Setting>,
}

/// A limit or policy as it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// Its value as it is written.
    pub value: String,
    /// What made it so: `default`, or the destination that says it, and the line.
    pub origin: String,
    /// Whether it holds for the whole system.
    pub of_system: bool,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RouteFacts {
    /// What it does, in words.
    #[serde(flatten)]
    pub summary: RouteSummary,
    /// Its `[route.map]`: target → expression, in the order of the file.
    pub map: Vec<(String, String)>,
}

/// What one route does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RouteSummary {
    /// The route's name.
    pub route: String,
    /// The source's name.
    pub source: String,
    /// The path that Salesforce posts to.
    pub path: String,
    /// Whose messages are taken; `any`.
    pub organizations: String,
    /// The condition; `always`.
    pub when: String,
    /// What keeps its order: an expression, `record.Id`, `none`.
    pub lane: String,
    /// What becomes of a notification without sObject.
    pub on_empty: String,
    /// The destination's name, with its system when that has another.
    pub destination: String,
    /// Method and URL, or operation and endpoint.
    pub call: String,
    /// What makes the body.
    pub body: String,
    /// How it is retried.
    pub retry: String,
    /// What else holds where it is not as usual: of the route, its destination and its system.
    pub also: Vec<String>,
    /// Target paths that must be there and whose values may be none: without them, a dead letter.
    pub dead_without: Vec<String>,
}

/// What a stored notification would become now, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Considered {
    /// Its fields in their order, each with its declared type, where there is one.
    pub fields: Vec<(String, Option<String>)>,
    /// How it differs from what the WSDL declares.
    pub drift: Vec<String>,
    /// What each route of its source makes of it.
    pub routes: Vec<RouteTold>,
}

/// What a route makes of a notification.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RouteTold {
    /// The route's name.
    pub name: String,
    /// Where it leads.
    pub destination: String,
    /// Whether it takes it.
    pub matches: bool,
    /// In which lane.
    pub lane: Option<String>,
    /// Why it does not take it, or why its delivery is dead at once.
    pub because: Option<String>,
    /// Whether nobody can say if it takes it: its condition could not be decided.
    #[serde(skip)]
    pub is_undecided: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_which_people_look_are_proposed_for_search() {
        for (fields, fit) in [
            (&["Id", "Amount", "Order_Number__c", "Name"][..], &["Name", "Order_Number__c"][..]),
            (&["AccountNumber", "CaseNumber", "Name"], &["Name", "AccountNumber"]),
            (&["StageName", "ExternalId__c"], &["ExternalId__c"]),
            (&["Amount", "CloseDate"], &[]),
        ] {
            assert_eq!(fit_for_search(fields.iter().copied()), fit);
        }
    }

    #[test]
    fn a_source_that_names_none_is_told_what_to_write() {
        let fields = ["Id", "Name", "Secret_Number__c"].map(|name| (name.to_owned(), "string".to_owned())).to_vec();
        let record = RecordFacts { name: "Opportunity".to_owned(), fields };
        let source = SourceFacts {
            name: "crm".to_owned(),
            path: "/om/crm".to_owned(),
            organizations: None,
            actions: None,
            unknown_organization: "refuse",
            records: vec![record],
            exposes_wsdl: false,
            mask: vec!["Secret_Number__c".to_owned()],
            search: Vec::new(),
        };
        assert!(source.wants_search().unwrap().ends_with("name some, such as search = [\"Name\"]"));
        assert_eq!(SourceFacts { search: vec!["Name".to_owned()], ..source.clone() }.wants_search(), None);
        assert_eq!(
            SourceFacts { records: Vec::new(), ..source }.wants_search(),
            None,
            "nothing is known of its fields"
        );
    }
}
