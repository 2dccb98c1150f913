//! What has a name, and goes by a small number in the rows.

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Source,
    Organization,
    Route,
    Destination,
    System,
}

impl Kind {
    /// The word for it in the rows.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Organization => "organization",
            Self::Route => "route",
            Self::Destination => "destination",
            Self::System => "system",
        }
    }
}

/// A route, its destination and its system as they were when a delivery was made.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) id: i64,
    pub(super) route: i64,
    pub(super) destination: i64,
    pub(super) system: i64,
    pub(super) route_name: String,
    pub(super) destination_name: String,
    pub(super) system_name: String,
}

impl Way {
    /// Whether it is the way of this route to this destination of this system.
    #[cfg(feature = "postgres")]
    pub(super) fn is_of(&self, [route, destination, system]: [&String; 3]) -> bool {
        self.route_name == *route && self.destination_name == *destination && self.system_name == *system
    }
}
