//! One POST as Salesforce makes it, and how Salesforce reads the answer.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use reqwest::Client;

use crate::soap;

/// Of an answer; an acknowledgement has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What an answer means to Salesforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken.
    Ack,
    /// Not taken now.
    Nack,
    /// A SOAP fault.
    Fault(String),
    /// No answer, or none that Salesforce understands.
    Error(String),
}

/// A client with Salesforce's habits; connections are kept.
pub(super) fn client(timeout: Duration) -> anyhow::Result<Client> {
    let builder = || {
        Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("Jakarta Commons-HttpClient/3.1")
            .timeout(timeout)
    };
    // A machine without certificate authorities can still make plain calls.
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).context("setting up the HTTP client")
}

/// Posts an envelope.
pub(super) async fn post(client: &Client, url: &str, body: Bytes) -> Answer {
    let request = client
        .post(url)
        .header("Content-Type", "text/xml; charset=utf-8")
        .header("SOAPAction", "\"\"")
        .header("Cache-Control", "no-cache")
        .body(body);
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Answer::Error(words(error)),
    };
    let status = response.status();
    let mut answer = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if answer.len() + chunk.len() <= ANSWER_BYTES_MAX => answer.extend_from_slice(&chunk),
            Ok(Some(_)) => return Answer::Error(format!("status {status}, and more than {ANSWER_BYTES_MAX} bytes")),
            Ok(None) => break,
            Err(error) => return Answer::Error(words(error)),
        }
    }
    read(status.as_u16(), &answer)
}

fn words(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::from(error.without_url()))
}

/// SOAP 1.1 with any prefixes; an acknowledgement counts with a 2xx status only.
fn read(status: u16, body: &[u8]) -> Answer {
    match soap::read_ack(body) {
        Ok(true) if (200..300).contains(&status) => Answer::Ack,
        Ok(false) if (200..300).contains(&status) => Answer::Nack,
        Ok(_) => Answer::Error(format!("an acknowledgement with status {status}")),
        Err(reason) => match reason.strip_prefix("is a fault: ") {
            Some(fault) => Answer::Fault(fault.trim().to_owned()),
            None => Answer::Error(format!("an answer with status {status} {reason}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
    const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";

    fn ack(value: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<x:Envelope xmlns:x=\"{SOAP}\"><x:Header/><x:Body><n:notificationsResponse \
             xmlns:n=\"{OUTBOUND}\"><n:Ack> {value} </n:Ack></n:notificationsResponse></x:Body></x:Envelope>"
        )
    }

    #[test]
    fn an_answer_is_read_as_salesforce_reads_it() {
        let fault = format!(
            "<s:Envelope xmlns:s=\"{SOAP}\"><s:Body><s:Fault><faultcode>s:Client</faultcode><faultstring>no</faultstring>\
             </s:Fault></s:Body></s:Envelope>"
        );
        assert_eq!(read(200, ack("true").as_bytes()), Answer::Ack);
        assert_eq!(read(200, ack("1").as_bytes()), Answer::Ack);
        assert_eq!(read(200, format!("\u{feff}{}", ack("false")).as_bytes()), Answer::Nack);
        assert_eq!(read(500, fault.as_bytes()), Answer::Fault("no".to_owned()));
        for (status, body) in [
            (500, ack("true")),
            (200, ack("yes")),
            (200, ack("true").replace("notificationsResponse", "notifications")),
            (200, ack("true").replace(OUTBOUND, "urn:other")),
            (200, ack("true").replace(SOAP, "http://www.w3.org/2003/05/soap-envelope")),
            (200, String::new()),
            (200, "{\"ok\":true}".to_owned()),
            (404, "<html/>".to_owned()),
        ] {
            assert!(matches!(read(status, body.as_bytes()), Answer::Error(_)), "{status} {body}");
        }
    }
}
