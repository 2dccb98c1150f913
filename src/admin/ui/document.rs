//! A document of the API as templates read it: by paths, without panics, with words for numbers and moments.

use std::fmt;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::admin::number::grouped;
use crate::clock::Timestamp;

/// A part of a document, or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::admin) struct Doc<'a>(Option<&'a Json>);

impl<'a> Doc<'a> {
    pub(in crate::admin) fn new(json: &'a Json) -> Self {
        Self(Some(json).filter(|json| !json.is_null()))
    }

    /// What stands at a path such as `delivery.why.text`.
    pub(in crate::admin) fn at(self, path: &str) -> Self {
        let Some(json) = self.0 else { return self };
        path.split('.').try_fold(json, |json, key| json.get(key)).map_or_else(Self::default, Self::new)
    }

    pub(in crate::admin) fn list(self) -> Vec<Self> {
        self.0.and_then(Json::as_array).into_iter().flatten().map(Self::new).collect()
    }

    pub(in crate::admin) fn entries(self) -> Vec<(&'a str, Self)> {
        let entries = self.0.and_then(Json::as_object).into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), Self::new(value))).collect()
    }

    /// Whether something is there: not null, not empty, not false.
    pub(in crate::admin) fn there(self) -> bool {
        match self.0 {
            None | Some(Json::Null | Json::Bool(false)) => false,
            Some(Json::String(text)) => !text.is_empty(),
            Some(Json::Array(items)) => !items.is_empty(),
            Some(Json::Object(entries)) => !entries.is_empty(),
            Some(Json::Bool(true) | Json::Number(_)) => true,
        }
    }

    pub(in crate::admin) fn is(self, text: &str) -> bool {
        self.text() == text
    }

    /// Plain text: of a text itself, of all else its JSON.
    pub(in crate::admin) fn text(self) -> String {
        match self.0 {
            None => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// A state's name in words.
    pub(in crate::admin) fn words(self) -> String {
        self.text().replace('_', " ")
    }

    pub(in crate::admin) fn number(self) -> i64 {
        self.0.and_then(Json::as_i64).unwrap_or_default()
    }

    /// A number with its thousands apart.
    pub(in crate::admin) fn count(self) -> String {
        grouped(self.number())
    }

    /// For an attribute that a script reads.
    pub(in crate::admin) fn json(self) -> String {
        self.0.map(ToString::to_string).unwrap_or_else(|| "null".to_owned())
    }

    /// A moment as people read it; another text as it is.
    pub(in crate::admin) fn moment(self) -> String {
        let moment = self.0.and_then(|json| Timestamp::deserialize(json).ok());
        moment.map_or_else(|| self.text(), Timestamp::spoken)
    }

    /// A duration in seconds, in words.
    pub(in crate::admin) fn seconds(self) -> String {
        if self.0.is_some() { spoken(self.number()) } else { String::new() }
    }
}

impl fmt::Display for Doc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The two largest units of a span.
fn spoken(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days} d {hours} h"),
        3_600.. => format!("{hours} h {minutes} min"),
        60.. => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_is_nothing_and_never_a_fault() {
        let document = json!({"a": {"b": [1, null], "d": "x"}, "n": null, "z": 0});
        let doc = Doc::new(&document);
        assert_eq!(doc.at("a.d").text(), "x");
        assert_eq!(doc.at("a.b").list().len(), 2);
        assert!(!doc.at("a.q.r").there() && !doc.at("n").there() && doc.at("z").there());
        assert_eq!(
            (doc.at("q").to_string(), doc.at("q").number(), doc.at("q").json()),
            (String::new(), 0, "null".to_owned())
        );
    }

    #[test]
    fn a_moment_is_said_as_everywhere() {
        for (text, said) in [("2026-09-21T14:13:20.123Z", "2026-09-21 14:13:20 UTC"), ("soon", "soon")] {
            assert_eq!(Doc::new(&json!(text)).moment(), said);
        }
        assert_eq!(Doc::default().moment(), "");
    }

    #[test]
    fn spans_are_read_by_people() {
        assert_eq!([5, 65, 3_700, 90_000].map(spoken), ["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
    }
}
