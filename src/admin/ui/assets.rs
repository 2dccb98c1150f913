//! Scripts and styles, all within the program: no page asks anybody else for anything.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use aws_lc_rs::digest;

use crate::admin::api;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Name, kind, content.
const FILES: [(&str, &str, &str); 9] = [
    ("htmx.js", SCRIPT, include_str!("assets/htmx-2.0.11.min.js")),
    ("uplot.js", SCRIPT, include_str!("assets/uplot-1.6.32.min.js")),
    ("uplot.css", STYLE, include_str!("assets/uplot-1.6.32.min.css")),
    ("alive.js", SCRIPT, include_str!("assets/alive.js")),
    ("app.js", SCRIPT, include_str!("assets/app.js")),
    ("charts.js", SCRIPT, include_str!("assets/charts.js")),
    ("edit.js", SCRIPT, include_str!("assets/edit.js")),
    ("workbench.js", SCRIPT, include_str!("assets/workbench.js")),
    ("style.css", STYLE, include_str!("assets/style.css")),
];

/// A digest of each, in the order of the files.
static DIGESTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let short = |bytes: &[u8]| bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    FILES.iter().map(|(.., text)| short(digest(text).as_ref())).collect()
});

/// The address of an asset: another one whenever its content is another.
pub(in crate::admin) fn address(name: &str) -> String {
    let found = FILES.iter().zip(DIGESTS.iter()).find(|((known, ..), _)| *known == name);
    found.map_or_else(String::new, |(_, digest)| format!("/assets/{digest}/{name}"))
}

/// An asset. It never changes under its address.
pub(in crate::admin) async fn asset(path: web::Path<(String, String)>) -> HttpResponse {
    let (digest, name) = path.into_inner();
    let found = FILES.iter().zip(DIGESTS.iter()).find(|((known, ..), own)| *known == name && **own == digest);
    let Some(((_, kind, text), _)) = found else { return api::problem(404, "there is no such asset") };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, *kind))
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(*text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_what_they_wrote() {
        for line in include_str!("assets/SHA256SUMS").lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let path = format!("{}/src/admin/ui/assets/{name}", env!("CARGO_MANIFEST_DIR"));
            let found = digest::digest(&digest::SHA256, &std::fs::read(path).unwrap());
            let found: String = found.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found, sum, "{name}");
        }
    }
}
