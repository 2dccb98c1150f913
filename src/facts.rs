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
}
