//! Where calls may go: networks, names and ports, judged before a connection is made, and once more when a name is resolved.
//!
//! What a name resolves to is what is connected to: no other answer of the name service can come between. Addresses that a
//! machine has for itself alone (loopback, link-local, metadata services) are refused unless somebody names them.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Names under which clouds serve their metadata.
const METADATA_NAMES: [&str; 6] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
];
/// Their addresses beside the link-local ones.
const METADATA_ADDRESSES: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];
/// A connection knows so many names: its destination's, its token endpoint's, its proxy's.
const NAMES_MAX: usize = 256;

/// Where calls may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// None: anywhere but to addresses that must be named.
    pub allow: Option<Arc<[Allowed]>>,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    what: What,
    /// None: any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Network(IpNet),
    Name(String),
    /// Every name that ends so, dot included.
    Below(String),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write a network (\"10.0.0.0/8\"), an address, a name (\"erp.example.com\", \"*.internal\"), each with \
                    a port behind it or without (\"erp.example.com:8443\", \"[fd00::/8]:443\")";
        let wrong = || format!("{text:?} is nothing that calls could go to; {form}");
        let text = text.trim();
        if let Some(what) = What::network(text) {
            return Ok(Self { what, port: None });
        }
        let (what, port) = match text.rsplit_once(':') {
            Some((what, port)) => (what, Some(port.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let bare = what.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(what);
        let what = What::network(bare).filter(|_| bare != what || !bare.contains(':')).or_else(|| What::name(what));
        Ok(Self { what: what.ok_or_else(wrong)?, port })
    }
}

impl What {
    fn network(text: &str) -> Option<Self> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self::Network(network.trunc()))
    }

    fn name(text: &str) -> Option<Self> {
        let (name, is_below) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        if name.contains(['*', '/', '@', '%']) || name.is_empty() {
            return None;
        }
        match Host::parse(name).ok()? {
            Host::Domain(name) if is_below => Some(Self::Below(format!(".{}", bare(&name)))),
            Host::Domain(name) => Some(Self::Name(bare(&name).to_owned())),
            Host::Ipv4(_) | Host::Ipv6(_) if is_below => None,
            Host::Ipv4(address) => Some(Self::Network(IpNet::from(IpAddr::V4(address)))),
            Host::Ipv6(address) => Some(Self::Network(IpNet::from(IpAddr::V6(address)))),
        }
    }

    fn names(&self, name: &str) -> bool {
        match self {
            Self::Network(_) => false,
            Self::Name(own) => own == name,
            Self::Below(end) => name.len() > end.len() && name.ends_with(end.as_str()),
        }
    }
}

/// Why a call may not go somewhere, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refusal {}

/// A kind of address that must be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Loopback,
    LinkLocal,
    Metadata,
    Unspecified,
}

impl Special {
    fn of(address: IpAddr) -> Option<Self> {
        if METADATA_ADDRESSES.contains(&address) {
            return Some(Self::Metadata);
        }
        match address {
            IpAddr::V4(address) if address.is_loopback() => Some(Self::Loopback),
            IpAddr::V4(address) if address.is_link_local() => Some(Self::LinkLocal),
            // All of 0.0.0.0/8 is this machine.
            IpAddr::V4(address) if address.octets().first() == Some(&0) => Some(Self::Unspecified),
            IpAddr::V6(address) if address.is_loopback() => Some(Self::Loopback),
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(Self::LinkLocal),
            IpAddr::V6(address) if address.is_unspecified() => Some(Self::Unspecified),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Loopback => "an address of this machine itself (loopback)",
            Self::LinkLocal => "a link-local address, where clouds serve their metadata",
            Self::Metadata => "an address where clouds serve their metadata",
            Self::Unspecified => "no address of another machine",
        }
    }
}

/// The address that is meant: IPv4 written as IPv6 (mapped, translated, compatible, NAT64 (RFC 6052, RFC 8215), 6to4) is IPv4.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([one, two], [three, four]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(one, two, three, four))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => {
            v4(g, h)
        }
        // Neither :: nor ::1.
        (0, 0, 0, 0, 0, 0) if g != 0 || h > 1 => v4(g, h),
        (0x2002, ..) => v4(b, c),
        _ => address,
    }
}

/// A name without the dot that may end it.
fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// An address as it stands in a URL.
fn literal(name: &str) -> Option<IpAddr> {
    name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name).parse().ok()
}

fn is_localhost(name: &str) -> bool {
    let name = bare(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl Egress {
    /// Whether calls may go to a URL, as far as that can be known without asking for its name's addresses.
    ///
    /// # Errors
    /// Why not.
    pub fn foresee(&self, url: &Url, way: Way) -> Result<(), Refusal> {
        self.judge(url, way).map(drop)
    }

    /// Judges a URL. For a name, whether it is allowed as such, so that its addresses need not be in any network.
    fn judge(&self, url: &Url, way: Way) -> Result<bool, Refusal> {
        let port = port(url);
        match url.host() {
            Some(Host::Ipv4(address)) => self.address(address.into(), port, false, true).map(|()| true),
            Some(Host::Ipv6(address)) => self.address(address.into(), port, false, true).map(|()| true),
            Some(Host::Domain(name)) => self.name(bare(name), port, way),
            None => Err(Refusal("the URL has no host".to_owned())),
        }
    }

    fn name(&self, name: &str, port: u16, way: Way) -> Result<bool, Refusal> {
        let entries = self.allow.iter().flat_map(|allow| allow.iter());
        let mut fitting = entries.filter(|entry| entry.has_port(port));
        if METADATA_NAMES.contains(&name) && !fitting.clone().any(|entry| entry.what == What::Name(name.to_owned())) {
            return Err(Refusal(format!(
                "{name} is a name under which clouds serve their metadata; name it in [egress] allow if calls must go there"
            )));
        }
        if self.allow.is_none() || fitting.clone().any(|entry| entry.what.names(name)) {
            return Ok(true);
        }
        let has_networks = fitting.any(|entry| matches!(entry.what, What::Network(_)));
        match (has_networks, way) {
            (true, Way::Direct) => Ok(false),
            (true, Way::Proxy) => Err(Refusal(format!(
                "[egress] allow does not name {name}:{port}, and through a proxy its address is not known; name it there"
            ))),
            (false, _) => Err(Refusal(format!(
                "[egress] allow has neither {name}:{port} nor a network for that port; add it there"
            ))),
        }
    }

    /// Judges an address. `by_name`: it is that of a name which is allowed. `as_written`: it stands in the configuration, or
    /// its name means this machine.
    fn address(&self, address: IpAddr, port: u16, by_name: bool, as_written: bool) -> Result<(), Refusal> {
        let real = meant(address);
        let shown = if real == address { format!("{address}") } else { format!("{address} ({real})") };
        let networks = self.allow.iter().flat_map(|allow| allow.iter()).filter(|entry| entry.has_port(port));
        let mut networks = networks.filter_map(|entry| match &entry.what {
            What::Network(network) => Some(network),
            What::Name(_) | What::Below(_) => None,
        });
        if let Some(special) = Special::of(real) {
            let means_it =
                |net: &&IpNet| [net.network(), net.broadcast()].iter().all(|end| Special::of(*end) == Some(special));
            let is_named = networks.clone().filter(means_it).any(|net| net.contains(&real));
            let is_written = special == Special::Loopback && as_written;
            if !is_named && !(is_written && (self.allow.is_none() || by_name)) {
                return Err(Refusal(format!(
                    "{shown} is {}; name the address in [egress] allow if calls must go there",
                    special.words()
                )));
            }
            return Ok(());
        }
        if self.allow.is_none() || by_name || networks.any(|net| net.contains(&real)) {
            return Ok(());
        }
        Err(Refusal(format!("[egress] allow has no network with {shown} and port {port}; add it there")))
    }
}

impl Allowed {
    fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }
}

fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(if url.scheme().starts_with("socks") { 1080 } else { 0 })
}

/// How a call gets to where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Its name is resolved here.
    Direct,
    /// Its name is resolved by a proxy.
    Proxy,
}

/// Who is asked for the addresses of a name.
#[derive(Clone)]
pub struct Names(Arc<Ask>);

type Ask = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

impl Default for Names {
    /// The machine's own name service.
    fn default() -> Self {
        Self::of(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
    }
}

impl Names {
    /// Another than the machine's, for tests.
    pub fn of(ask: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// Lets calls of one destination out: judges their URLs, and resolves their names.
#[derive(Clone)]
pub(super) struct Gate {
    egress: Egress,
    way: Way,
    proxy: Option<Url>,
    service: Names,
    /// Names that calls go to, with their ports, and whether they are allowed as names.
    names: Arc<Mutex<HashMap<String, BTreeMap<u16, bool>>>>,
}

impl Gate {
    pub(super) fn new(egress: Egress, proxy: Option<Url>, service: Names) -> Self {
        // Only with socks5 the name is resolved here.
        let is_direct = proxy.as_ref().is_none_or(|proxy| proxy.scheme() == "socks5");
        let way = if is_direct { Way::Direct } else { Way::Proxy };
        Self { egress, way, proxy, service, names: Arc::default() }
    }

    /// Judges a URL that a call is about to go to, and the proxy before it.
    pub(super) fn admit(&self, url: &Url) -> Result<(), Refusal> {
        if let Some(proxy) = &self.proxy {
            self.pass(proxy, Way::Direct).map_err(|refusal| Refusal(format!("the proxy: {refusal}")))?;
        }
        self.pass(url, self.way)
    }

    fn pass(&self, url: &Url, way: Way) -> Result<(), Refusal> {
        let by_name = self.egress.judge(url, way)?;
        // Addresses too: a SOCKS proxy has them resolved like names.
        if let Some(name) = url.host_str() {
            let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            if names.len() >= NAMES_MAX && !names.contains_key(name) {
                names.clear();
            }
            names.entry(name.to_owned()).or_default().insert(port(url), by_name);
        }
        Ok(())
    }

    /// Those of a name's addresses that may be connected to, whichever of the name's ports it is for.
    fn those_allowed(&self, name: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refusal> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ports) = names.get(name) else { return Err(Refusal(format!("{name} was not asked for"))) };
        let as_written = is_localhost(name) || literal(name).is_some();
        let mut refusal = None;
        let mut allowed = Vec::new();
        for address in addresses {
            let judged = ports
                .iter()
                .try_for_each(|(port, by_name)| self.egress.address(address.ip(), *port, *by_name, as_written));
            match judged {
                Ok(()) => allowed.push(address),
                Err(reason) => refusal = Some(reason),
            }
        }
        match refusal {
            _ if !allowed.is_empty() => Ok(allowed),
            Some(Refusal(reason)) => Err(Refusal(format!("{name} leads nowhere that is allowed: {reason}"))),
            // With none at all, a client might have the name resolved elsewhere.
            None => Err(Refusal(format!("{name} has no address"))),
        }
    }
}

impl Gate {
    /// The addresses of a name, or a literal one, that may be connected to, as their port is known elsewhere.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let addresses = match literal(name) {
            Some(address) => vec![SocketAddr::new(address, 0)],
            None => (self.service.0)(name.to_owned()).await?,
        };
        Ok(self.those_allowed(name, addresses)?)
    }
}

impl Resolve for Gate {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = self.clone();
        Box::pin(async move {
            let allowed = gate.addresses(name.as_str()).await?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allow: &[&str]) -> Egress {
        Egress { allow: Some(allow.iter().map(|text| text.parse().unwrap()).collect()) }
    }

    fn goes(egress: &Egress, url: &str) -> Result<bool, String> {
        egress.judge(&Url::parse(url).unwrap(), Way::Direct).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn without_a_list_all_may_be_called_but_what_must_be_named() {
        let egress = Egress::default();
        for url in [
            "http://erp.internal/",
            "https://10.1.2.3:8443/",
            "http://[fd00::1]/",
            "http://localhost:1/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://0x7f000001/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(goes(&egress, url).is_ok(), "{url}: {:?}", goes(&egress, url));
        }
        for url in [
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://\u{ff11}\u{ff16}\u{ff19}.254.169.254/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::169.254.169.254]/",
            "http://[64:ff9b:1::169.254.169.254]/",
            "http://[::ffff:0:169.254.169.254]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
            "http://100.100.100.200/",
            "http://168.63.129.16/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://metadata.google.internal/",
            "http://METADATA.google.internal./",
            "http://metadata/",
        ] {
            assert!(goes(&egress, url).unwrap_err().contains("[egress] allow"), "{url}");
        }
    }

    #[test]
    fn with_a_list_only_what_it_names_may_be_called() {
        let list = egress(&["10.0.0.0/8", "*.internal", "erp.example.com:8443", "[fd00::/8]:443", "192.0.2.7:81"]);
        for (url, by_name) in [
            ("http://10.255.0.1:99/", true),
            ("http://[::ffff:10.0.0.1]/", true),
            ("http://a.b.internal/", true),
            ("http://A.INTERNAL.:1/", true),
            ("https://erp.example.com:8443/", true),
            ("https://[fd12::1]/", true),
            ("http://192.0.2.7:81/", true),
            ("http://other.example.com/", false),
            ("http://internal/", false),
        ] {
            assert_eq!(goes(&list, url), Ok(by_name), "{url}");
        }
        for url in [
            "http://11.0.0.1/",
            "http://[fd12::1]/",
            "http://192.0.2.7/",
            "http://127.0.0.1/",
            "http://169.254.169.254/",
            "http://metadata.google.internal/",
        ] {
            assert!(goes(&list, url).is_err(), "{url}");
        }
        let names = egress(&["erp.example.com"]);
        assert!(goes(&names, "http://evil.example.com/").unwrap_err().contains("neither evil.example.com:80 nor"));
        assert!(goes(&names, "http://erp.example.com.evil.org/").is_err());
        let through = list.judge(&Url::parse("http://other.example.com/").unwrap(), Way::Proxy);
        assert!(through.unwrap_err().to_string().contains("through a proxy"));
    }

    #[test]
    fn what_must_be_named_is_named_by_nothing_wider() {
        for (allow, url, may) in [
            ("169.254.169.254", "http://169.254.169.254/", true),
            ("169.254.169.254:80", "http://169.254.169.254/", true),
            ("169.254.169.254:80", "http://169.254.169.254:81/", false),
            ("169.254.0.0/16", "http://[::ffff:169.254.169.254]/", true),
            ("0.0.0.0/0", "http://169.254.169.254/", false),
            ("0.0.0.0/0", "http://127.0.0.1/", false),
            ("::/0", "http://[fe80::1]/", false),
            ("::/0", "http://[::ffff:10.0.0.1]/", false),
            ("fe80::/10", "http://[fe80::1]/", true),
            ("127.0.0.0/8", "http://127.0.0.1/", true),
            ("localhost", "http://localhost/", true),
            ("*.internal", "http://metadata.google.internal/", false),
            ("metadata.google.internal", "http://metadata.google.internal/", true),
        ] {
            assert_eq!(goes(&egress(&[allow]), url).is_ok(), may, "{allow} {url}");
        }
    }

    #[test]
    fn a_name_leads_only_to_addresses_that_may_be_called() {
        let addresses =
            |list: &[&str]| list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect::<Vec<_>>();
        let lead = |egress: &Egress, url: &str, to: &[&str]| {
            let gate = Gate::new(egress.clone(), None, Names::default());
            let url = Url::parse(url).unwrap();
            gate.admit(&url).unwrap();
            gate.those_allowed(url.host_str().unwrap(), addresses(to)).map_err(|refusal| refusal.to_string())
        };
        let open = Egress::default();
        let both = ["169.254.169.254", "10.0.0.1"];
        assert_eq!(lead(&open, "http://erp.internal/", &both), Ok(addresses(&["10.0.0.1"])));
        for to in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0", "fe80::1"] {
            let reason = lead(&open, "http://rebound.example.com/", &[to]).unwrap_err();
            assert!(reason.starts_with("rebound.example.com leads nowhere") && reason.contains(to), "{reason}");
        }
        assert!(lead(&open, "http://localhost/", &["127.0.0.1"]).is_ok());
        assert!(lead(&open, "http://localhost/", &["169.254.169.254"]).is_err());
        let list = egress(&["10.0.0.0/8:80", "erp.example.com"]);
        assert!(lead(&list, "http://other.example.com/", &["10.0.0.1"]).is_ok());
        assert!(lead(&list, "http://other.example.com/", &["11.0.0.1"]).is_err());
        assert!(lead(&list, "http://erp.example.com/", &["11.0.0.1"]).is_ok());
        assert!(lead(&list, "http://erp.example.com/", &["127.0.0.1"]).is_err(), "a name is no leave to come home");
        let gate = Gate::new(open, None, Names::default());
        assert!(gate.those_allowed("other", addresses(&["10.0.0.1"])).is_err());
        assert!(
            lead(&Egress::default(), "http://erp.internal/", &[]).is_err(),
            "nobody else is asked for its addresses"
        );
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in
            ["", "*", "*.", "a b", "10.0.0.0/33", "erp:http", "erp:99999", "http://erp/", "a*b", "*.10.0.0.1", "u@h"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
