"""spyne, with lxml's validation. Writes what it saw to SEEN, a line for each field: its name, and its bytes in hex."""

import os
from wsgiref.simple_server import WSGIRequestHandler, make_server

from spyne import Application, Decimal, Service, Unicode, rpc
from spyne.error import Fault, InvalidCredentialsError
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication


def word(value):
    return "nil" if value is None else "=" + str(value).encode("utf-8").hex()


class Interop(Service):
    @rpc(
        Unicode(min_occurs=1, nillable=False),
        Unicode(min_occurs=1),
        Unicode(min_occurs=1, nillable=True),
        Unicode(min_occurs=1),
        Unicode(min_occurs=1),
        Decimal(min_occurs=1),
        Unicode(min_occurs=0),
        Unicode(min_occurs=1, max_len=20),
        _args=("id", "text", "nothing", "empty", "blanks", "amount", "left", "mode"),
        _returns=Unicode,
        _out_variable_name="seen",
    )
    def PutRecord(ctx, id, text, nothing, empty, blanks, amount, left, mode):
        if mode == "client":
            raise Fault("Client.Problem", "the record is wrong", detail={"Problem": {"code": "E42"}})
        if mode == "server":
            raise Fault("Server", "the ledger is closed")
        if mode == "security":
            raise InvalidCredentialsError("nobody of that name")
        amount = None if amount is None else format(amount, "f")
        values = dict(id=id, text=text, nothing=nothing, empty=empty, blanks=blanks, amount=amount, left=left)
        with open(os.environ["SEEN"], "w", encoding="ascii") as out:
            out.writelines(f"{name} {word(value)}\n" for name, value in values.items())
        return text


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


application = Application([Interop], "urn:omgate:interop", in_protocol=Soap11(validator="lxml"), out_protocol=Soap11())
make_server("127.0.0.1", int(os.environ["PORT"]), WsgiApplication(application), handler_class=Quiet).serve_forever()
