//! A configuration file with one more organization in a source, otherwise to the letter as it was.

use toml::de::DeTable;

use super::read::line_and_column;

/// What a file becomes.
#[derive(Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The line in which the list of organizations ends, from 1.
    pub line: usize,
    /// The lines of that list, as they become.
    pub list: String,
    /// The whole text.
    pub text: String,
}

/// The text of a configuration file with an organization added to a source; none when the source takes it already.
///
/// # Errors
/// Why it cannot be added here.
pub fn adopted(text: &str, source: &str, organization: &str) -> Result<Option<Adopted>, String> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        return Err(format!("the configuration is not well-formed: {}", error.message()));
    }
    let sources = table.get_ref().get("source").and_then(|sources| sources.get_ref().as_array());
    let is_it = |one: &&DeTable<'_>| one.get("name").and_then(|name| name.get_ref().as_str()) == Some(source);
    let found =
        sources.into_iter().flat_map(|sources| sources.iter()).filter_map(|one| one.get_ref().as_table()).find(is_it);
    let found = found.ok_or_else(|| format!("the configuration has no source {source:?}"))?;
    let value = found.get("organizations").ok_or("the source has no key organizations")?;
    let list = value.get_ref().as_array().ok_or("organizations is no list")?;
    let key = |id: &str| id.get(..15).unwrap_or(id).to_owned();
    let mut ids = list.iter().filter_map(|item| item.get_ref().as_str());
    if ids.any(|id| id == "*" || key(id) == key(organization)) {
        return Ok(None);
    }
    let last = list.iter().next_back().ok_or("organizations is empty")?;
    let (before, after) = text.split_at_checked(last.span().end).ok_or("the list has no end")?;
    // In a list with a line for each, it gets one of its own.
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let indent: String = before.get(start..).unwrap_or_default().chars().take_while(|c| c.is_whitespace()).collect();
    let is_lines = !indent.is_empty() && start > value.span().start;
    let separator = if is_lines { format!(",\n{indent}") } else { ", ".to_owned() };
    let new = format!("{before}{separator}\"{organization}\"{after}");
    let (line, _) = line_and_column(&new, value.span().end + separator.len() + organization.len() + 2);
    let from = text.get(..value.span().start).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1);
    let (first, _) = line_and_column(&new, from);
    let list: Vec<&str> = new.lines().skip(first - 1).take(line + 1 - first).collect();
    Ok(Some(Adopted { line, list: list.join("\n"), text: new }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00D98000000wxyzEAA";

    #[test]
    fn an_organization_is_added_and_nothing_else_changes() {
        for (list, expected) in [
            ("[\"00D24000000abcdEAA\"] # ours", "[\"00D24000000abcdEAA\", \"00D98000000wxyzEAA\"] # ours"),
            ("['00D24000000abcdEAA', ]", "['00D24000000abcdEAA', \"00D98000000wxyzEAA\", ]"),
            (
                "[\n  \"00D24000000abcdEAA\", # one\n]",
                "[\n  \"00D24000000abcdEAA\",\n  \"00D98000000wxyzEAA\", # one\n]",
            ),
        ] {
            let file = |list: &str| {
                format!(
                    "# top\n[[source]]\nname = \"a\"\norganizations = [\"*\"]\n[[source]]\nname = \"b\" # ä\norganizations = {list}\npath = \"/b\"\n"
                )
            };
            let adopted = adopted(&file(list), "b", ID).unwrap().unwrap();
            assert_eq!(adopted.text, file(expected), "{list}");
            let shown = adopted.list.split_once(" = ").unwrap().1;
            assert_eq!(shown, expected, "{list}");
            assert_eq!(adopted.line, 6 + expected.lines().count(), "{list}");
        }
    }

    #[test]
    fn what_is_taken_already_and_what_cannot_be_are_told() {
        let text = "[[source]]\nname = \"a\"\norganizations = [\"00D98000000wxyz\"]\n[[source]]\nname = \"b\"\norganizations = [\"*\"]\n";
        assert_eq!((adopted(text, "a", ID), adopted(text, "b", ID)), (Ok(None), Ok(None)));
        assert!(adopted(text, "c", ID).unwrap_err().contains("no source \"c\""));
        assert!(adopted("[[source]]\nname = \"a\"\n", "a", ID).unwrap_err().contains("organizations"));
        assert!(adopted("[[source", "a", ID).unwrap_err().contains("well-formed"));
    }
}
