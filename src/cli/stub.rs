//! Two stub legacy systems for the demo: one speaks SOAP, one REST; one of them fails now and then.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};

/// The WSDL of the SOAP stub, the same that the demo's destination is built from.
pub const ERP_WSDL: &str = include_str!("../../wsdl/erp.wsdl");
/// The schema that it imports.
pub const ERP_XSD: &str = include_str!("../../wsdl/erp.xsd");

/// What a stub has taken: its key → how often it came.
#[derive(Debug, Default)]
pub struct Taken {
    requests: u64,
    by_key: BTreeMap<String, u64>,
}

impl Taken {
    /// How many different deliveries were taken.
    #[must_use]
    pub fn unique(&self) -> u64 {
        u64::try_from(self.by_key.len()).unwrap_or(u64::MAX)
    }

    /// How many came again after they had been taken.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.by_key.values().map(|times| times - 1).sum()
    }

    /// All requests, refused ones too.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }
}

/// A running stub.
pub struct Stub {
    port: u16,
    taken: Arc<Mutex<Taken>>,
    handle: ServerHandle,
}

/// How a stub speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// SOAP, as its WSDL says; it never fails.
    Soap,
    /// JSON; it fails now and then.
    Rest,
}

struct Desk {
    speaks: Speaks,
    taken: Arc<Mutex<Taken>>,
}

impl Stub {
    /// Starts a stub on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(speaks: Speaks) -> std::io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0))?;
        let port = socket.local_addr()?.port();
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let desk = web::Data::new(Desk { speaks, taken: Arc::clone(&taken) });
        let server = HttpServer::new(move || App::new().app_data(desk.clone()).default_service(web::to(serve)))
            .workers(1)
            .disable_signals()
            .listen(socket)?
            .run();
        let handle = server.handle();
        tokio::spawn(server);
        Ok(Self { port, taken, handle })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has taken so far.
    pub fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn serve(request: HttpRequest, body: String, desk: web::Data<Desk>) -> HttpResponse {
    if request.query_string().eq_ignore_ascii_case("wsdl") {
        return xml(StatusCode::OK).body(ERP_WSDL);
    }
    if request.path().ends_with("/erp.xsd") {
        return HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/xml; charset=utf-8")).body(ERP_XSD);
    }
    let mut taken = desk.taken.lock().unwrap_or_else(PoisonError::into_inner);
    taken.requests += 1;
    match desk.speaks {
        Speaks::Soap => soap(&body, &mut taken),
        Speaks::Rest => rest(&request, &mut taken),
    }
}

/// Busy at every third request; at every seventh it takes the request and then answers too late to be believed (504).
fn rest(request: &HttpRequest, taken: &mut Taken) -> HttpResponse {
    if taken.requests.is_multiple_of(3) {
        return HttpResponse::ServiceUnavailable().body("busy");
    }
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    *taken.by_key.entry(key.to_owned()).or_default() += 1;
    if taken.requests.is_multiple_of(7) {
        return HttpResponse::GatewayTimeout().body("late");
    }
    HttpResponse::Ok().json(serde_json::json!({"stored": true}))
}

fn soap(body: &str, taken: &mut Taken) -> HttpResponse {
    let Some(key) = content(body, "MessageID") else {
        return fault("there is no MessageID header");
    };
    let Some(number) = content(body, "OrderNumber") else {
        return fault("there is no OrderNumber");
    };
    *taken.by_key.entry(key.to_owned()).or_default() += 1;
    let namespace = between(ERP_WSDL, "targetNamespace=\"", "\"").unwrap_or_default();
    let order = taken.by_key.len();
    xml(StatusCode::OK).body(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <CreateOrderResponse xmlns=\"{namespace}\"><OrderId>{order}-{number}</OrderId></CreateOrderResponse></s:Body></s:Envelope>"
    ))
}

fn fault(reason: &str) -> HttpResponse {
    xml(StatusCode::INTERNAL_SERVER_ERROR).body(crate::soap::client_fault(reason))
}

fn xml(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CONTENT_TYPE, "text/xml; charset=utf-8"));
    response
}

/// The text of the first element of this local name, whatever its prefix and attributes.
fn content<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.split('<').skip(1).find_map(|tag| {
        let (head, text) = tag.split_once('>')?;
        let qualified = head.split_whitespace().next()?;
        let local = qualified.rsplit(':').next()?;
        (local == name && !qualified.starts_with('/')).then_some(text)
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_found_whatever_its_prefix_and_attributes() {
        let body = "<a:X/><w:MessageID xmlns:w=\"urn:w\">urn:uuid:1</w:MessageID><OrderNumber>A-7</OrderNumber>";
        assert_eq!((content(body, "MessageID"), content(body, "OrderNumber")), (Some("urn:uuid:1"), Some("A-7")));
        assert_eq!(content(body, "ID"), None);
        assert_eq!(content("</w:MessageID>", "MessageID"), None);
    }

    #[test]
    fn a_repeated_order_is_taken_once_and_counted() {
        let order = |id| format!("<m:MessageID>{id}</m:MessageID><OrderNumber>A</OrderNumber>");
        let mut taken = Taken::default();
        for id in ["1", "2", "1"] {
            assert_eq!(soap(&order(id), &mut taken).status(), StatusCode::OK);
        }
        assert_eq!((taken.unique(), taken.repeats()), (2, 1));
        assert_eq!(soap("<x/>", &mut taken).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
