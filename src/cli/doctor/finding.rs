//! What was found: one line each, and what to do.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and should be another.
    Warning,
    /// It does not work, or what was promised is not kept.
    Failed,
    /// It was not looked at.
    Skipped,
}

impl Level {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warn",
            Self::Failed => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What it is about, such as `store` or `destination crm`.
    pub(super) subject: String,
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) level: Level,
    pub(super) found: String,
    /// What to do; of what warns or failed alone.
    pub(super) advice: Option<String>,
}

impl Finding {
    /// The one line of it.
    pub(super) fn line(&self) -> String {
        let Self { subject, check, level, found, advice } = self;
        let advice = advice.as_ref().map_or_else(String::new, |advice| format!(" — {advice}"));
        one_line(&format!("{:<7} {subject}, {check}: {found}{advice}", level.mark()))
    }

    /// With every text as it may be shown.
    pub(super) fn shown(self, mask: impl Fn(&str) -> String) -> Self {
        let Self { subject, check, level, found, advice } = self;
        Self { subject: mask(&subject), check, level, found: mask(&found), advice: advice.map(|text| mask(&text)) }
    }
}

/// Lines joined: each finding is one.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r', '\t']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What was found about one subject, in the order that it was looked at.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    subject: String,
    pub(super) list: Vec<Finding>,
}

impl Findings {
    pub(super) fn about(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), list: Vec::new() }
    }

    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.note(check, Level::Ok, found.into(), None);
    }

    pub(super) fn warn(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.note(check, Level::Warning, found.into(), Some(advice.into()));
    }

    pub(super) fn fail(&mut self, check: &'static str, found: impl Into<String>, advice: impl Into<String>) {
        self.note(check, Level::Failed, found.into(), Some(advice.into()));
    }

    pub(super) fn skip(&mut self, check: &'static str, found: impl Into<String>) {
        self.note(check, Level::Skipped, found.into(), None);
    }

    /// A judgement that was made elsewhere.
    pub(super) fn judged(&mut self, check: &'static str, judged: Judged) {
        let Judged { level, found, advice } = judged;
        self.note(check, level, found, advice);
    }

    fn note(&mut self, check: &'static str, level: Level, found: String, advice: Option<String>) {
        self.list.push(Finding { subject: self.subject.clone(), check, level, found, advice });
    }
}

/// What a measure comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) level: Level,
    pub(super) found: String,
    pub(super) advice: Option<String>,
}

impl Judged {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), advice: None }
    }

    pub(super) fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failed(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Failed, found: found.into(), advice: Some(advice.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_mark_and_what_to_do() {
        let mut findings = Findings::about("store");
        findings.ok("path", "a\n  b");
        findings.fail("disk", "full", "make room");
        let lines: Vec<String> = findings.list.iter().map(Finding::line).collect();
        assert_eq!(lines, ["ok      store, path: a b", "fail    store, disk: full — make room"]);
    }
}
