//! A configuration with some expressions of one route replaced, to see what that would make of a message.

use toml::{Table, Value};

use super::ITSELF;
use crate::store::StoredConfig;

/// A stored configuration in which a route has other expressions.
///
/// `map` has targets as they are shown (`Customer.Id`, `Lines[2].Price`), and the expression of each; one that is not there
/// is added, and one whose expression is empty is left out. `when` replaces the condition; an empty one takes it away.
///
/// # Errors
/// When the stored file cannot be read, or has no such route.
pub fn with_route(
    stored: &StoredConfig,
    route: &str,
    map: &[(String, String)],
    when: Option<&str>,
) -> Result<StoredConfig, String> {
    let text = stored.files.get(ITSELF).map(String::as_str).unwrap_or_default();
    let mut root: Table =
        text.parse().map_err(|error| format!("the configuration in force cannot be read: {error}"))?;
    let routes = root.get_mut("route").and_then(Value::as_array_mut);
    let tables = routes.into_iter().flatten().filter_map(Value::as_table_mut);
    let mut named = tables.filter(|table| name_of(table) == route);
    let Some(table) = named.next() else { return Err(format!("the configuration in force has no route {route:?}")) };
    match when {
        Some("") => drop(table.remove("when")),
        Some(when) => drop(table.insert("when".to_owned(), Value::from(when))),
        None => {}
    }
    if !map.is_empty() {
        let own = table.entry("map").or_insert_with(|| Value::Table(Table::new()));
        let own = own.as_table_mut().ok_or_else(|| format!("`map` of route {route:?} is no table"))?;
        for (target, expression) in map {
            if !replace(own, "", target, expression) && !expression.is_empty() {
                own.insert(target.clone(), Value::from(expression.as_str()));
            }
        }
    }
    let text =
        toml::to_string(&root).map_err(|error| format!("the edited configuration cannot be written: {error}"))?;
    let mut variant = stored.clone();
    variant.files.insert(ITSELF.to_owned(), text);
    Ok(variant)
}

/// A route's name as the configuration takes it.
fn name_of(route: &Table) -> String {
    let text = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("name") {
        "" => format!("{} → {}", text("source"), text("destination")),
        name => name.to_owned(),
    }
}

/// Replaces the leaf that is shown as a target; whether there is one.
fn replace(table: &mut Table, path: &str, target: &str, expression: &str) -> bool {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let names: Vec<String> = table.keys().cloned().collect();
    for name in names {
        let own = below(&name);
        if own == target {
            if expression.is_empty() {
                table.remove(&name);
            } else {
                table.insert(name, Value::from(expression));
            }
            return true;
        }
        let is_replaced = match table.get_mut(&name) {
            Some(Value::Table(inner)) => replace(inner, &own, target, expression),
            Some(Value::Array(items)) => replace_item(items, &own, target, expression),
            _ => false,
        };
        if is_replaced {
            return true;
        }
    }
    false
}

/// The same in a list, whose items are counted from 1.
fn replace_item(items: &mut [Value], path: &str, target: &str, expression: &str) -> bool {
    items.iter_mut().enumerate().any(|(position, item)| {
        let place = format!("{path}[{}]", position + 1);
        if place == target {
            *item = Value::from(expression);
            return true;
        }
        item.as_table_mut().is_some_and(|inner| replace(inner, &place, target, expression))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_route_gets_other_expressions_and_nothing_else_changes() {
        let text = "[[route]]\nsource = \"a\"\ndestination = \"b\"\nwhen = \"true\"\n[route.map]\nX = \"1\"\nC.Id = \"record.Id\"\n\
                    [[route.map.Lines]]\nPrice = \"2\"\n[[route]]\nname = \"other\"\nsource = \"a\"\ndestination = \"c\"\n";
        let stored = StoredConfig { files: [(ITSELF.to_owned(), text.to_owned())].into() };
        let pair = |target: &str, expression: &str| (target.to_owned(), expression.to_owned());
        let map = [pair("C.Id", "record.Name"), pair("X", ""), pair("New.Leaf", "3"), pair("Lines[1].Price", "4")];
        let variant = with_route(&stored, "a → b", &map, Some("")).unwrap();
        let root: Table = variant.files[ITSELF].parse().unwrap();
        let route = &root["route"][0];
        assert_eq!(route["map"]["C"]["Id"].as_str(), Some("record.Name"));
        assert_eq!(route["map"]["Lines"][0]["Price"].as_str(), Some("4"));
        assert_eq!(route["map"]["New.Leaf"].as_str(), Some("3"));
        assert!(route["map"].get("X").is_none() && route.get("when").is_none());
        assert_eq!(root["route"][1]["name"].as_str(), Some("other"));
        assert!(with_route(&stored, "gone", &map, None).unwrap_err().contains("no route"));
    }
}
