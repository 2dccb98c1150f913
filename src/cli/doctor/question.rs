//! A question to a destination that changes nothing there: GET of its WSDL, else OPTIONS. Never a POST.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;

use super::clock::Reading;
use super::destination::Patient;
use super::finding::{Findings, Judged};
use super::operation;
use crate::call::Call;
use crate::clock::SystemClock;
use crate::deliver;
use crate::outcome::{Exchange, Response};
use crate::secret::Text;

/// Whom what is asked.
pub(super) struct Question<'q> {
    pub(super) patient: &'q Patient<'q>,
    /// Its address, without what only a record can give.
    pub(super) url: &'q Url,
}

/// What came back.
pub(super) struct Answered {
    pub(super) response: Response,
    reading: Option<Reading>,
}

/// Asks, and judges the answer; what it says of the time with it.
pub(super) async fn ask(findings: &mut Findings, question: &Question<'_>) -> Option<Reading> {
    if let Some(operation) = &question.patient.whereabouts.operation {
        let url = operation::address(question.url);
        match question.put("GET", &url).await {
            // Where there is none, the endpoint itself is asked.
            Ok(answered) if answered.response.status == 200 => {
                findings.judged("answer", Judged::ok("GET of its WSDL is answered with 200"));
                findings.judged("operation", operation::look(question, &url, &answered.response, operation).await);
                return answered.reading;
            }
            Ok(answered) if !matches!(answered.response.status, 400 | 404 | 405 | 501) => {
                findings.judged("answer", judged("GET of its WSDL", answered.response.status, question));
                findings.skip("operation", "it did not hand out a WSDL");
                return answered.reading;
            }
            Ok(_) => findings.skip(
                "operation",
                "it hands out no WSDL at ?wsdl; `omgate wsdl fetch` may find it \
                                                 elsewhere",
            ),
            Err(reason) => {
                findings.judged("answer", unanswered(reason));
                return None;
            }
        }
    }
    match question.put("OPTIONS", question.url).await {
        Ok(answered) => {
            findings.judged("answer", judged("OPTIONS", answered.response.status, question));
            answered.reading
        }
        Err(reason) => {
            findings.judged("answer", unanswered(reason));
            None
        }
    }
}

impl Question<'_> {
    /// Puts it with the destination's own credentials and connection.
    pub(super) async fn put(&self, method: &str, url: &Url) -> Result<Answered, String> {
        let Patient { name, target, whereabouts, patience, .. } = self.patient;
        let call = Call {
            method: method.to_owned(),
            url: Text::plain(url.as_str()),
            headers: whereabouts.headers.clone(),
            id: "doctor".to_owned(),
            trace: None,
            body: Bytes::new(),
            timeout: *patience,
        };
        let clock = SystemClock::shared();
        let asked = clock.now().0;
        let exchange = deliver::send(&target.for_questions(), &call).await;
        let answered = clock.now().0;
        match exchange {
            Exchange::Answered(response) => {
                let date = response.header("date");
                let whose = format!("destination {name}");
                let reading = date.and_then(|date| Reading::of_date(&whose, date, asked, answered));
                Ok(Answered { response, reading })
            }
            Exchange::NotSent { reason } | Exchange::NoAnswer { reason } | Exchange::NoCredentials { reason, .. } => {
                Err(reason)
            }
        }
    }

    /// How long everything that is asked of one document's imports may take.
    pub(super) fn patience(&self) -> Duration {
        self.patient.patience
    }
}

fn unanswered(reason: String) -> Judged {
    // Some systems ask nobody for a question that they ask everybody for a call.
    if reason.contains("it takes no NTLM there") {
        return Judged::warning(
            reason,
            "calls may be asked who they are all the same; `omgate call` makes a real call",
        );
    }
    Judged::failed(reason, "look at the system and its log; `omgate call --dry-run` shows what a call sends")
}

fn judged(asked: &str, status: u16, question: &Question<'_>) -> Judged {
    of_status(asked, status, question.patient.target.has_credentials())
}

/// What a status says of a system that was asked harmlessly.
fn of_status(asked: &str, status: u16, has_credentials: bool) -> Judged {
    let told = format!("{asked} is answered with {status}");
    match (status, has_credentials) {
        (401 | 407, true) => Judged::failed(
            format!("{told}: it does not take our credentials"),
            "look at auth: is the user or token right, locked or expired, and is it the kind that it asks for?",
        ),
        (401 | 407, false) => Judged::failed(
            format!("{told}: it asks who we are, and no credentials are configured"),
            "set auth for the destination",
        ),
        (403, _) => Judged::warning(
            format!("{told}: it knows us, and does not let us ask; calls may be let in all the same"),
            "ask its owner whether our user and address may call it; `omgate call` makes a real call",
        ),
        (404 | 410, _) => Judged::warning(
            format!("{told}: nothing is there for that question"),
            "is the path right? some systems answer so to everything but POST; `omgate call` makes a real call",
        ),
        (500, _) | (505..=599, _) => {
            Judged::warning(format!("{told}; some systems answer so to everything but POST"), "look at its log")
        }
        (502..=504, _) => Judged::failed(
            format!("{told}: what stands before the system does not reach it"),
            "does the system behind its gateway or load balancer run?",
        ),
        (429, _) => Judged::warning(format!("{told}: it is asked too often"), "set rate for the destination"),
        (300..=399, _) => Judged::warning(
            format!("{told}: it sends callers elsewhere, and omgate follows no redirect of a POST"),
            "write the address that it means into url or endpoint",
        ),
        _ => Judged::ok(told),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn an_answer_is_judged_by_whether_calls_would_suffer() {
        for (status, has, level, said) in [
            (200, true, Level::Ok, "200"),
            (204, false, Level::Ok, "204"),
            (400, false, Level::Ok, "400"),
            (405, false, Level::Ok, "405"),
            (501, false, Level::Ok, "501"),
            (301, false, Level::Warning, "redirect"),
            (401, true, Level::Failed, "locked or expired"),
            (401, false, Level::Failed, "set auth"),
            (403, true, Level::Warning, "may call it"),
            (404, false, Level::Warning, "path right"),
            (429, false, Level::Warning, "rate"),
            (500, false, Level::Warning, "its log"),
            (503, false, Level::Failed, "load balancer"),
        ] {
            let judged = of_status("OPTIONS", status, has);
            assert_eq!(judged.level, level, "{status}: {judged:?}");
            assert!(format!("{judged:?}").contains(said), "{status}: {judged:?}");
        }
    }
}
