//! `[egress]`: where calls may go, and whether a destination's may go where it says.

use std::sync::Arc;

use url::Url;

use super::read::{Section, Spot};
use crate::deliver::egress::{Allowed, Egress, Way};

/// Reads the section; what is wrong in it is reported.
pub(super) fn egress(root: &Section<'_, '_>) -> Egress {
    let Some(section) = root.section("egress") else { return Egress::default() };
    if !section.has("allow") {
        section.desk.error(&section.spot, "key `allow` is missing");
    }
    let list = section.list("allow");
    let read =
        |text: &str, spot: &Spot| text.parse::<Allowed>().map_err(|reason| section.desk.error(spot, reason)).ok();
    let allow = list.map(|list| list.iter().filter_map(|field| read(&field.value, &field.spot)).collect::<Vec<_>>());
    section.finish();
    Egress { allow: allow.map(Arc::from) }
}

/// Reports an address to which no call could ever go. `url` is as it is sent, secrets included.
pub(super) fn foresee(section: &Section<'_, '_>, egress: &Egress, spot: &Spot, url: &str, proxy: Option<&Url>) {
    let Ok(url) = Url::parse(url.trim()) else { return };
    // Only with socks5 names are resolved here.
    let way = if proxy.is_none_or(|proxy| proxy.scheme() == "socks5") { Way::Direct } else { Way::Proxy };
    if let Err(refusal) = egress.foresee(&url, way) {
        section.desk.error(spot, section.desk.masked(&format!("no call may go there: {refusal}")));
    }
}
