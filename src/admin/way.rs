//! The way back after a login: to the page that somebody wanted, and to nothing but a page of this gateway.

use actix_web::HttpRequest;
use actix_web::http::Uri;

use crate::admin::ui;

/// A longer one is not kept, in bytes.
const WAY_BYTES_MAX: usize = 3_072;
/// What shows masked fields in clear, and stands in the audit log under the name of whoever logs in: nobody is led to it.
const UNMASK: &str = "unmask";

/// Where somebody goes who came in: path and query of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way(String);

impl Default for Way {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl Way {
    /// The way that a text says; the first page, where it says none that may be gone.
    pub(super) fn of(text: &str) -> Self {
        // What browsers read as the beginning of another host, or pass over, is none.
        let is_ours = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\');
        let is_plain = text.len() <= WAY_BYTES_MAX && text.chars().all(|c| c.is_ascii_graphic());
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        if !(is_ours && is_plain && ui::is_page(path)) {
            return Self::default();
        }
        let mut asked = url::form_urlencoded::parse(query.as_bytes());
        let is_plain_look = asked.all(|(name, _)| name != UNMASK);
        Self(if is_plain_look { text } else { path }.to_owned())
    }

    /// The way that a request for the login asks for.
    pub(super) fn asked(request: &HttpRequest) -> Self {
        Self::of(&ui::asked(request, "to"))
    }

    /// The way to what was asked for.
    pub(super) fn to(uri: &Uri) -> Self {
        Self::of(uri.path_and_query().map_or("/", |wanted| wanted.as_str()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where one logs in and goes this way then.
    pub(super) fn by(&self, login: &str) -> String {
        if *self == Self::default() {
            return login.to_owned();
        }
        let to: String = url::form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("{login}?to={to}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_to_a_page_of_this_gateway_and_nowhere_else() {
        for text in ["/", "/deliveries?state=dead", "/deliveries/17", "/workbench?map=%5B%5D#x", "/find?q=//evil"] {
            assert_eq!(Way::of(text).as_str(), text);
        }
        let long = format!("/find?q={}", "x".repeat(WAY_BYTES_MAX));
        for text in [
            "",
            "deliveries",
            "//evil.example",
            "/\\evil.example",
            "/find?q=\\",
            "/\t/evil.example",
            "/\n",
            "/find?q=ä",
            "https://evil.example/",
            "javascript:alert(1)",
            "/api/v1/tokens",
            "/login",
            "/login?to=/login",
            "/metrics",
            "/assets/1/app.js",
            &long,
        ] {
            assert_eq!(Way::of(text), Way::default(), "{text}");
        }
        let unmasking = "/deliveries/17?reason=theirs&unm%61sk=true";
        assert_eq!(Way::of(unmasking).as_str(), "/deliveries/17", "a link does not look in somebody's name");
    }

    #[test]
    fn a_way_stands_in_the_address_of_the_login() {
        assert_eq!(Way::of("/").by("/login"), "/login");
        assert_eq!(
            Way::of("/deliveries?state=dead&x=%2B").by("/login/oidc"),
            "/login/oidc?to=%2Fdeliveries%3Fstate%3Ddead%26x%3D%252B"
        );
    }
}
