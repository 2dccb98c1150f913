//! Lists of addresses: who may send, and which proxies are believed.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value as Json;

/// So many networks are read of a file.
const NETWORKS_MAX: usize = 100_000;

/// Networks, as a configuration or a file lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// These networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(IpNet::aggregate(&networks))
    }

    /// These and others.
    #[must_use]
    pub fn with(self, others: &[IpNet]) -> Self {
        Self::new([self.0.as_slice(), others].concat())
    }

    /// Whether an address is in one of them. An IPv4 address that is written as IPv6 is that IPv4 address.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// How many there are, less those that lie in others.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A network such as `10.0.0.0/8`, or one address.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn parse(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network: IpNet =
        text.parse().map_err(|_| format!("{text:?} is no network: write one such as \"10.0.0.0/8\" or an address"))?;
    if network.trunc() == network {
        Ok(network)
    } else {
        Err(format!("{text:?} has more digits than its length says: write \"{}\"", network.trunc()))
    }
}

/// The networks of a file: Salesforce's `ip-ranges.json`, or one network a line, where `#` begins a comment.
///
/// Of a document that tells directions, only addresses that Salesforce calls out from count.
///
/// # Errors
/// What is wrong, and where.
pub fn file(text: &str) -> Result<Vec<IpNet>, String> {
    let networks = if text.trim_start().starts_with(['{', '[']) { document(text)? } else { lines(text)? };
    match networks.len() {
        0 => Err("there is no network in it: nobody could send".to_owned()),
        count if count > NETWORKS_MAX => Err(format!("there are more than {NETWORKS_MAX} networks in it")),
        _ => Ok(networks),
    }
}

fn lines(text: &str) -> Result<Vec<IpNet>, String> {
    let mut networks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            networks.push(parse(line).map_err(|error| format!("line {}: {error}", number + 1))?);
        }
    }
    Ok(networks)
}

fn document(text: &str) -> Result<Vec<IpNet>, String> {
    let document: Json = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let mut networks = Vec::new();
    let mut found = false;
    for list in ["prefixes", "ipv6_prefixes"] {
        let Some(entries) = document.get(list).and_then(Json::as_array) else { continue };
        found = true;
        for entry in entries.iter().filter(|entry| is_outbound(entry)) {
            for key in ["ip_prefix", "ipv4_prefix", "ipv6_prefix"] {
                for network in texts(entry.get(key)) {
                    networks.push(parse(network).map_err(|error| format!("{list}: {error}"))?);
                }
            }
        }
    }
    if found { Ok(networks) } else { Err("it has no list \"prefixes\", as Salesforce's ip-ranges.json has".to_owned()) }
}

/// Whether Salesforce calls from there. Where no direction is told, it does.
fn is_outbound(entry: &Json) -> bool {
    let mut directions = texts(entry.get("direction")).into_iter().peekable();
    directions.peek().is_none() || directions.any(|direction| !direction.eq_ignore_ascii_case("inbound"))
}

/// A text, or those of a list.
fn texts(value: Option<&Json>) -> Vec<&str> {
    match value {
        Some(Json::String(text)) => vec![text],
        Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect(),
        Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_)) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read_and_slips_told() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("::1", "::1/128")] {
            assert_eq!(parse(text).map(|network| network.to_string()), Ok(shown.to_owned()));
        }
        assert!(parse("10.0.0.1/8").unwrap_err().contains("write \"10.0.0.0/8\""));
        assert!(parse("10.0.0").is_err() && parse("salesforce.com").is_err() && parse("10.0.0.0/33").is_err());
    }

    #[test]
    fn an_address_is_in_a_network_however_it_is_written() {
        let networks = Networks::new(vec![parse("10.0.0.0/8").unwrap(), parse("2001:db8::/32").unwrap()]);
        for (address, expected) in
            [("10.9.9.9", true), ("::ffff:10.9.9.9", true), ("2001:db8::1", true), ("11.0.0.1", false), ("::1", false)]
        {
            assert_eq!(networks.contain(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn both_forms_of_files_are_read() {
        let shown =
            |text: &str| file(text).map(|networks| networks.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(shown("# ours\n10.0.0.0/8\n\n10.1.0.1 # the proxy\n").unwrap(), ["10.0.0.0/8", "10.1.0.1/32"]);
        let json = r#"{"createDate":"2026","prefixes":[
            {"provider":"aws","region":"eu","ip_prefix":["155.226.144.0/22","155.226.156.0/23"],"direction":["outbound","inbound"]},
            {"provider":"aws","region":"us","ip_prefix":"13.110.0.0/16"},
            {"provider":"aws","region":"us","ip_prefix":["13.111.0.0/16"],"direction":"inbound"}],
            "ipv6_prefixes":[{"ipv6_prefix":"2001:db8::/32"}]}"#;
        assert_eq!(shown(json).unwrap(), ["155.226.144.0/22", "155.226.156.0/23", "13.110.0.0/16", "2001:db8::/32"]);
        for (text, reason) in [
            ("", "no network"),
            ("10.0.0.0/8\nx\n", "line 2"),
            ("{", "no JSON"),
            ("{}", "no list"),
            (r#"{"prefixes":[{"ip_prefix":"x"}]}"#, "prefixes: \"x\""),
            (r#"{"prefixes":[]}"#, "no network"),
        ] {
            assert!(file(text).unwrap_err().contains(reason), "{text}");
        }
    }
}
