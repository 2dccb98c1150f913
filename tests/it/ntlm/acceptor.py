# An HTTP server that takes POSTs from NTLM users alone, by pyspnego. Who calls is known by the connection: a header that
# answers a challenge is judged by what was said on the same connection before. Prints its port, then a line for each
# request: the number of its connection, its status, the length of its body.
# CLOSE=1 closes each connection after the challenge. NTLM_USER_FILE holds DOMAIN:USER:PASSWORD.
# TLS_CERTIFICATE and TLS_KEY: it speaks TLS, and wants the proof bound to that certificate; to another where WRONG=1.
import base64
import hashlib
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spnego
from spnego.channel_bindings import GssChannelBindings

CERTIFICATE = os.environ.get("TLS_CERTIFICATE")
BINDINGS = None
if CERTIFICATE:
    with open(CERTIFICATE) as file:
        pem = file.read()
    first = pem[: pem.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    der = ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :])
    point = hashlib.sha256(der + (b"x" if os.environ.get("WRONG") else b"")).digest()
    BINDINGS = GssChannelBindings(application_data=b"tls-server-end-point:" + point)

LOCK = threading.Lock()
CONNECTIONS = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.context = None
        self.user = None
        with LOCK:
            CONNECTIONS.append(self)
            self.number = len(CONNECTIONS)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = self.headers.get("Authorization", "")
        if self.user is None and not said.startswith("NTLM "):
            return self.answer(401, body, "NTLM")
        if self.user is None:
            try:
                if self.context is None:
                    self.context = spnego.server(protocol="ntlm", channel_bindings=BINDINGS)
                out = self.context.step(base64.b64decode(said[5:]))
            except Exception as error:
                print(error, file=sys.stderr, flush=True)
                self.context = None
                return self.answer(401, body, "NTLM")
            if out is not None:
                return self.answer(401, body, "Negotiate, NTLM " + base64.b64encode(out).decode())
            self.user = self.context.client_principal
        self.answer(200, body, None)

    def answer(self, status, body, asks):
        with LOCK:
            print(self.number, status, len(body), flush=True)
        text = ("%s|" % self.user).encode() + body if status == 200 else b"who are you?"
        self.send_response(status)
        if asks:
            self.send_header("WWW-Authenticate", asks)
        if status == 401 and os.environ.get("CLOSE"):
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if CERTIFICATE:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, os.environ["TLS_KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
