//! `keep` of a destination: which values of its answers are kept, and under which names.

use super::destination::{self, Kind};
use super::problem::Severity;
use super::read::{Section, Spot};
use crate::deliver::keep::{KEPT_MAX, Keep};
use crate::expression::{Expression, Tables, nearest};
use crate::wsdl::outline::{Kind as Node, Outline};

/// The longest name, in characters.
const NAME_LENGTH_MAX: usize = 64;

/// Reads the table; what is wrong in it is reported.
pub(super) fn keep(section: &Section<'_, '_>, tables: &Tables, kind: &Kind) -> Vec<Keep> {
    let Some(table) = section.section("keep") else { return Vec::new() };
    let mut keeps = Vec::new();
    for (name, name_spot, value, spot) in table.ordered_entries() {
        if !is_name(&name) {
            let reason = format!(
                "{name:?} is no name: up to {NAME_LENGTH_MAX} letters, digits and _, not beginning with a digit, so that a \
                 mapping can say after.NAME"
            );
            section.desk.error(&name_spot, reason);
        }
        let Some(raw) = value.as_str() else {
            section.desk.error(&spot, "must be an expression over the answer, such as \"response.body.OrderId\"");
            continue;
        };
        let text = section.free_text(raw, &spot);
        let Some(expression) = destination::response_expression(section, &spot, &text, tables) else { continue };
        if let Kind::Soap(soap) = kind
            && section.desk.files.is_disk()
        {
            let answer = Answer { operation: soap.operation.name(), parts: soap.operation.response() };
            answer.check(section, &spot, &expression);
        }
        keeps.push(Keep { name, expression });
    }
    if keeps.len() > KEPT_MAX {
        let reason = format!("has {} values, and at most {KEPT_MAX} are kept", keeps.len());
        section.desk.error(&section.spot_of("keep"), reason);
    }
    keeps
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
}

/// What an operation answers, as its WSDL has it.
struct Answer<'a> {
    operation: &'a str,
    parts: Option<Vec<Outline>>,
}

impl Answer<'_> {
    /// Paths that the answer does not have. A server may answer more than its WSDL says, so they are no errors; but of a
    /// one-way operation there is no body at all.
    fn check(&self, section: &Section<'_, '_>, spot: &Spot, expression: &Expression) {
        for (path, offset) in expression.names() {
            let Some(rest) = path.strip_prefix("response.body") else { continue };
            let place = section.desk.inside(spot, offset);
            let Some(parts) = &self.parts else {
                let reason = format!("operation {} is one-way: its answer has no body", self.operation);
                return section.desk.ruled(Severity::Error, "answer-path", &place, reason, None);
            };
            if let Err((reason, near)) = self.walk(parts, rest.trim_start_matches('.')) {
                section.desk.ruled(Severity::Warning, "answer-path", &place, reason, near);
            }
        }
    }

    fn walk(&self, parts: &[Outline], path: &str) -> Result<(), (String, Option<String>)> {
        let mut above = "the answer".to_owned();
        let mut level = match parts {
            [only] if only.part.is_none() => below(only),
            parts => Level { names: parts.iter().collect(), is_open: false },
        };
        for step in path.split('.').filter(|step| !step.is_empty()) {
            if level.is_open || step.starts_with(['$', '@']) {
                return Ok(());
            }
            let Some(found) = level.names.iter().find(|outline| outline.step() == step) else {
                let names: Vec<String> = level.names.iter().map(|outline| outline.step()).collect();
                let known = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                let operation = self.operation;
                let reason = format!("{above} of operation {operation} has no {step:?} by its WSDL; it has {known}");
                return Err((reason, nearest(step, names.iter().map(String::as_str))));
            };
            above = step.to_owned();
            level = below(found);
        }
        Ok(())
    }
}

/// The names that stand below an element.
struct Level<'o> {
    names: Vec<&'o Outline>,
    /// Whether others may stand there.
    is_open: bool,
}

fn below(outline: &Outline) -> Level<'_> {
    let is_open =
        outline.cut.is_some() || outline.is_abstract || !outline.types.is_empty() || !outline.array.is_empty();
    let mut level = Level { names: Vec::new(), is_open };
    gather(&outline.children, &mut level);
    level
}

fn gather<'o>(children: &'o [Outline], level: &mut Level<'o>) {
    for child in children {
        match child.kind {
            Node::Sequence | Node::Choice | Node::All => gather(&child.children, level),
            Node::Any => level.is_open = true,
            Node::Element | Node::Attribute => level.names.push(child),
        }
    }
}
