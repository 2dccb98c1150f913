//! What Salesforce writes under "Delivery Failure Reason", what is behind it, and what to do.
//!
//! The page cuts long texts off, so each is known by short pieces that are sure to be seen.

/// One kind of text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As Salesforce or its Java writes it.
    pub(super) text: &'static str,
    /// Any of these in a text, in small letters, is this one; several words that must all be there are joined by `&`.
    pub(super) pieces: &'static [&'static str],
    /// What happened.
    pub(super) cause: &'static str,
    /// Where omgate shows it.
    pub(super) look: &'static str,
    /// What to do.
    pub(super) advice: &'static str,
}

const NOTHING: &str = "omgate saw nothing of it: `omgate sources gaps` says when each source was heard last";

/// In this order: of two that fit, the one before is meant.
pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        text: "SOAP response was a nack",
        pieces: &["nack", "ack&false"],
        cause: "omgate answered Ack false: the store could not write, too much was waiting, or it was stopping. \
                Nothing is lost: Salesforce sends again, for 24 hours.",
        look: "`omgate status` (is it ready? which alarms?), `omgate doctor` (disk, database), the log",
        advice: "mend what status says; omgate takes the next attempt by itself. `Retry` in Setup hastens it",
    },
    Entry {
        text: "org.xml.sax.SAXParseException: Content is not allowed in prolog",
        pieces: &["content is not allowed in prolog", "not allowed in prolog", "not allowed in trailing"],
        cause: "what answered is no omgate: an error page or a login page of a proxy, another web server, or a \
                mistyped path that omgate answers with 404.",
        look: "open the endpoint URL in a browser: omgate's page names the source; `omgate doctor --source-url URL`; \
               the metric omgate_unknown_paths_total and the log say how far a path is right",
        advice: "mend the URL in Setup, or let the proxy pass path and body on as they are, without a login",
    },
    Entry {
        text: "org.xml.sax.SAXParseException: Premature end of file",
        pieces: &["premature end of file"],
        cause: "the answer was empty: a proxy or another server answered 200 without a body.",
        look: "open the endpoint URL in a browser; the proxy's log at the same second",
        advice: "let the proxy hand on omgate's answer as it is",
    },
    Entry {
        text: "Missing namespace / Unexpected element / Bad envelope tag",
        pieces: &[
            "unexpected element",
            "bad envelope tag",
            "missing namespace",
            "bad envelope",
            "unexpected envelope",
            "no deserializer",
            "unexpected tag",
            "invalid response&envelope",
        ],
        cause: "XML came back, and it is not the acknowledgement that the outbound message's WSDL declares. omgate's \
                own always is; so something else answered, or changed the answer.",
        look: "`omgate send FILE --to URL` at the public address shows what comes back; `omgate doctor --source-url \
               URL`",
        advice: "point Salesforce at omgate itself, not at a target system or an integration platform, and have no \
                 proxy rewrite bodies",
    },
    Entry {
        text: "org.xml.sax.SAXParseException: …",
        pieces: &["org.xml.sax", "saxparseexception", "must be terminated by the matching", "markup in the document"],
        cause: "the answer cannot be read as XML: most often an HTML page of a proxy or a web server.",
        look: "open the endpoint URL in a browser; `omgate doctor --source-url URL`",
        advice: "find what answers in omgate's place, and let it pass path and body on as they are",
    },
    Entry {
        text: "java.security.cert.CertificateExpiredException: NotAfter",
        pieces: &[
            "certificate expired",
            "certificateexpired",
            "certificate has expired",
            "notafter",
            "validity check failed",
        ],
        cause: "the certificate at the endpoint, or an intermediate of it, expired.",
        look: "`omgate doctor` (public TLS: dates), `omgate status` (certificates); behind a proxy `omgate doctor \
               --source-url URL`",
        advice: "renew it; omgate takes the new files without a restart, a proxy may need a reload",
    },
    Entry {
        text: "javax.net.ssl.SSLException: hostname in certificate didn't match (No subject alternative names)",
        pieces: &[
            "hostname in certificate",
            "subject alternative",
            "wasn't in the supported set",
            "no name matching",
            "hostname&verif",
            "doesn't match any of the subject",
        ],
        cause: "the certificate is not for the name in the endpoint URL. Its alternative names (SAN) count, not the \
                common name.",
        look: "`omgate doctor --source-url URL` (names)",
        advice: "get a certificate for that name, or paste the URL with a name that it has",
    },
    Entry {
        text: "sun.security.validator.ValidatorException: PKIX path building failed: unable to find valid \
               certification path to requested target",
        pieces: &["pkix", "valid certification path", "unable to find valid cert", "validatorexception"],
        cause: "Salesforce finds no authority that it trusts behind the certificate: an intermediate is missing, the \
                order is wrong, or it is self-signed or of an authority of your own.",
        look: "`omgate doctor` (public TLS: chain, authority); behind a proxy `omgate doctor --source-url URL`",
        advice: "serve the certificate first, then its intermediates, without the root; take a public authority that \
                 stands at https://MYDOMAIN/cacerts.jsp of your organization",
    },
    Entry {
        text: "javax.net.ssl.SSLPeerUnverifiedException: peer not authenticated",
        pieces: &["peer not authenticated", "peerunverified"],
        cause: "the same as \"PKIX path building failed\" in other words: the certificate is not trusted, or not for \
                the name.",
        look: "`omgate doctor` (public TLS: chain, names, dates, authority); behind a proxy `omgate doctor \
               --source-url URL`",
        advice: "mend what it says first; a self-signed certificate is never taken",
    },
    Entry {
        text: "javax.net.ssl.SSLHandshakeException: Received fatal alert: bad_certificate / certificate_unknown / \
               certificate_required",
        pieces: &["bad_certificate", "certificate_unknown", "certificate_required", "unknown_ca", "access_denied"],
        cause: "omgate, or the proxy before it, asked for Salesforce's client certificate and did not take what it \
                got.",
        look: "`omgate status` has each refused certificate with its reason and the line that lets it in",
        advice: "add that line (client_names, client_pins), or the authority to client_ca; Salesforce renews its \
                 certificate about yearly",
    },
    Entry {
        text: "javax.net.ssl.SSLHandshakeException: Received fatal alert: handshake_failure",
        pieces: &[
            "handshake_failure",
            "handshake failure",
            "no cipher suites",
            "no appropriate protocol",
            "no negotiable",
        ],
        cause: "no version or cipher in common, or a client certificate was asked for and none was sent.",
        look: "`omgate doctor` (public TLS: versions, client certificates); the log says who was turned away and why",
        advice: "let TLS 1.2 be spoken; set client_auth to \"optional\" to see what Salesforce shows",
    },
    Entry {
        text: "javax.net.ssl.SSLException: Unrecognized SSL message, plaintext connection?",
        pieces: &[
            "unrecognized ssl message",
            "unsupported or unrecognized ssl",
            "plaintext connection",
            "protocol_version",
        ],
        cause: "the URL says https, and what listens at that port speaks plain HTTP (or an old TLS).",
        look: "`omgate doctor --source-url URL` (handshake)",
        advice: "set [server.tls], or paste the address of the proxy that speaks TLS",
    },
    Entry {
        text: "javax.net.ssl.SSLException: Remote host closed connection during handshake",
        pieces: &["during handshake", "terminated the handshake", "closed&handshake", "connection closed by peer"],
        cause: "something hung up while TLS was beginning: a firewall that looks into TLS, a proxy without a \
                certificate for that name, or a listener that waits for a PROXY header.",
        look: "`omgate doctor --source-url URL`; the log of what stands before omgate",
        advice: "give the proxy a certificate for the name; set [server.proxy] protocol only where the proxy sends \
                 that header",
    },
    Entry {
        text: "java.net.SocketTimeoutException: connect timed out",
        pieces: &["connect timed out", "connection timed out", "connecttimeout"],
        cause: "nobody answered at the address: a firewall drops it, the address is wrong, or the machine is down.",
        look: NOTHING,
        advice: "let the port in from the internet (Salesforce's addresses change; a list by hand goes stale), and \
                 check the public DNS record",
    },
    Entry {
        text: "java.net.SocketTimeoutException: Read timed out",
        pieces: &["read timed out", "sockettimeout", "timed out"],
        cause: "the connection stood, and no answer came within 60 seconds. omgate answers when the disk has \
                written, or says nack after 20 seconds; so it was lost on the way, or the disk stands still.",
        look: "`omgate doctor` (fsync), `omgate status`; the proxy's timeouts",
        advice: "look between the two: proxy buffering, a firewall that forgets connections; put the store on a \
                 faster disk",
    },
    Entry {
        text: "java.net.ConnectException: Connection refused",
        pieces: &["connection refused", "connectexception"],
        cause: "nothing listens at that address and port: omgate or the proxy is down, or the port is wrong.",
        look: "`omgate doctor` (gateway); `systemctl status omgate`",
        advice: "start it; paste the URL with the port that is open to the internet",
    },
    Entry {
        text: "java.net.SocketException: Connection reset",
        pieces: &["connection reset", "broken pipe"],
        cause: "the connection was cut in the middle: omgate or a proxy was restarted, a firewall cut it, or a body \
                was over a proxy's bound.",
        look: "the log of omgate and of the proxy at the same second; `omgate status` (alarms)",
        advice: "once is no matter, Salesforce sends again; if it stays, let the proxy take bodies of 16 MiB and \
                 wait 60 seconds",
    },
    Entry {
        text: "java.net.SocketException: Unexpected end of file from server",
        pieces: &["unexpected end of file", "nohttpresponse", "failed to respond"],
        cause: "the other side hung up without a word: often plain http to a TLS port, a listener that waits for a \
                PROXY header, or a proxy that lost omgate.",
        look: "`omgate doctor --source-url URL`; the proxy's log",
        advice: "paste https where TLS is spoken; let only a proxy that sends the PROXY header reach a listener that \
                 wants it",
    },
    Entry {
        text: "java.net.UnknownHostException",
        pieces: &["unknownhost", "unknown host", "name or service not known", "unresolved host"],
        cause: "the name in the endpoint URL is not in the public DNS: a name that only your own network knows, or a \
                typing error.",
        look: NOTHING,
        advice: "publish the name (`dig @1.1.1.1 NAME` must answer), or mend the URL",
    },
    Entry {
        text: "java.net.NoRouteToHostException: No route to host",
        pieces: &["no route to host", "noroutetohost", "network is unreachable", "host is unreachable"],
        cause: "the address cannot be reached from the internet: a private address, or a firewall that says no.",
        look: "`omgate doctor --source-url URL` (name) says whether it is a private address",
        advice: "take a public address, and let the port in",
    },
    Entry {
        text: "Address does not match ip-ranges",
        pieces: &["ip-ranges", "ip ranges", "address does not match", "ip address&not allowed", "ip restricted"],
        cause: "the sender's address is in none of the networks that are let in: of the source (addresses, \
                addresses_file), or of a firewall. Salesforce's addresses change.",
        look: "`omgate status` (alarms) and the log name the address that was turned away",
        advice: "fetch https://ip-ranges.salesforce.com/ip-ranges.json anew for addresses_file, which is taken at \
                 once; better, tell senders apart by client certificate and organization",
    },
    Entry {
        text: "(302) Moved Temporarily",
        pieces: &["(302)", "(301)", "(303)", "(307)", "(308)", "moved temporarily", "moved permanently", "302 found"],
        cause: "what answers sends callers elsewhere: from http to https, to a login page, or to a path with a \
                slash. omgate never does.",
        look: "`curl -i URL` shows where to (Location)",
        advice: "paste the address that it leads to, or take that rule out of the proxy for omgate's paths",
    },
    Entry {
        text: "(400) Bad Request",
        pieces: &["(400)", "bad request"],
        cause: "a request was refused as malformed, most often by a proxy: plain http at a TLS port, or a Host that \
                it does not know.",
        look: "the proxy's log; omgate's log",
        advice: "paste https and the right name; let the proxy know that name",
    },
    Entry {
        text: "(401) Unauthorized",
        pieces: &["(401)", "unauthorized", "(407)"],
        cause: "a proxy or another server asks for a password, which Salesforce cannot give with an outbound \
                message. omgate asks for none.",
        look: "`curl -i URL` shows who asks (Server, WWW-Authenticate)",
        advice: "take the login away for omgate's paths; a secret part of the path and a client certificate do its \
                 work",
    },
    Entry {
        text: "(403) Forbidden",
        pieces: &["(403)", "forbidden"],
        cause: "the sender was turned away: by omgate because of its address or the certificate that the proxy hands \
                on, or by a firewall for web applications.",
        look: "`omgate status` (alarms, refused certificates) and the log; if they know nothing, it was the proxy",
        advice: "let the address or the certificate in, or make an exception for omgate's paths in that firewall",
    },
    Entry {
        text: "(404) Not Found",
        pieces: &["(404)", "not found", "filenotfoundexception"],
        cause: "no source has that path, or the proxy changed it.",
        look: "the metric omgate_unknown_paths_total grows and the log says how far the path is right; `omgate \
               doctor` has the URL of each source",
        advice: "paste the URL as doctor says it; let the proxy pass the path on unchanged",
    },
    Entry {
        text: "(405) Method Not Allowed",
        pieces: &["(405)", "method not allowed"],
        cause: "what answers takes no POST there: a static web server, or a redirect that made a GET of it.",
        look: "`curl -i -X POST URL` shows who answers",
        advice: "point the proxy's location at omgate, and Salesforce at that location",
    },
    Entry {
        text: "(413) Request Entity Too Large",
        pieces: &["(413)", "entity too large", "payload too large", "content too large"],
        cause: "the body is longer than a bound: of the proxy (nginx has 1 MiB), or of omgate (server.limits.body, \
                16 MiB).",
        look: "`omgate status` (alarm refused) if it was omgate, else the proxy's log",
        advice: "raise the proxy's bound to 16 MiB (client_max_body_size 16m), or server.limits.body; select fewer \
                 long fields",
    },
    Entry {
        text: "(429) Too Many Requests",
        pieces: &["(429)", "too many requests"],
        cause: "a proxy or a firewall for web applications limits how often may be sent. omgate says nack when it is \
                too much.",
        look: "the proxy's log",
        advice: "take the limit away for omgate's paths: Salesforce sends in bursts of hundreds",
    },
    Entry {
        text: "(502) Bad Gateway / (503) Service Unavailable / (504) Gateway Timeout",
        pieces: &["(502)", "(503)", "(504)", "bad gateway", "service unavailable", "gateway time"],
        cause: "the proxy did not reach omgate, or got no answer from it in time.",
        look: "`omgate doctor` (gateway), `omgate status`; the proxy's log names where it looked",
        advice: "start omgate, or mend the proxy's address of it; give the proxy 60 seconds to wait",
    },
    Entry {
        text: "(500) Internal Server Error",
        pieces: &["(500)", "internal server error", "soap fault", "soapenv:client", "faultstring"],
        cause: "omgate refused the message with a SOAP fault (an organization or an outbound message that the source \
                does not list, a body that is none), or another server failed.",
        look: "`omgate status` (alarm refused) and GET /api/v1/refused have the reason with the message",
        advice: "after a sandbox refresh: `omgate sources adopt SOURCE --organization ID`; else mend what the reason \
                 says",
    },
    Entry {
        text: "Invalid content type / Unable to parse the response",
        pieces: &["content type", "content-type", "unable to parse"],
        cause: "the answer is no text/xml: another server answered, or a proxy put a page of its own in its place.",
        look: "`curl -i -X POST URL` shows who answers",
        advice: "let the proxy hand on omgate's answer as it is",
    },
    Entry {
        text: "The endpoint is not allowed / Invalid port",
        pieces: &["invalid port", "port&not allowed", "endpoint&not allowed", "invalid endpoint", "endpoint url"],
        cause: "Salesforce calls 80 (http), 443 (https), and 1024 and above.",
        look: "`omgate doctor --source-url URL` (port, path)",
        advice: "take one of these ports, or let a proxy listen on 443",
    },
];
