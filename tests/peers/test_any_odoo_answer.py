"""Whatever an Odoo answers to odoorpc, the call ends with a value or an OdooRpcError."""

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from peers.odoo_rpc import OdooRpcError, OdooSession, RpcAccount
from tests.bounded import within_bounds

PASSWORD = "correct-horse"  # a test's

KEYS = st.sampled_from(
    ["jsonrpc", "result", "error", "data", "name", "message", "code", "uid", "server_version", "id"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["18.0", "19.0+e", "", "odoo.exceptions.UserError", PASSWORD, "\ud800"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
LOGIN = {"result": {"server_version": "18.0", "uid": 2, "user_context": {}, "username": "login"}}
BODIES = (
    st.dictionaries(KEYS, VALUES, max_size=3).map(lambda more: json.dumps(LOGIN | more).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
)
HEADS = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 "),
        *(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\n", b"HTTP/1.1 500 Oh\r\n"),
        *(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n", b"HTTP/1.1 200 OK\r\nA\r\n"),
        *(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n"),
        *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"", b"\x00\xff\r\n"),
        *(b"HTTP/1.1 200 OK\r\nSet-Cookie: \x00=;;Expires=x\r\n", b"HTTP/1.1 401 Who\r\n"),
        *(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=nonsense\r\n",),
    ]
)


class _Odoo(socketserver.ThreadingTCPServer):
    """Answers each request with the same bytes."""

    daemon_threads = True
    answer = b""


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        with suppress(OSError):  # who asked has seen enough
            self.wfile.write(cast("_Odoo", self.server).answer)


@pytest.fixture(scope="module")
def odoo() -> Iterator[_Odoo]:
    """One that listens."""
    with _Odoo(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One alone: a login reads those that it is given, and all of the system take 40 ms."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    first = ssl.create_default_context().get_ca_certs(binary_form=True)[0]
    file.write_text(ssl.DER_cert_to_PEM_cert(first))
    return file


@settings(derandomize=True, max_examples=60, deadline=None)
@given(head=HEADS, body=BODIES)
@example(head=b"HTTP/1.1 200 OK\r\n", body=json.dumps(LOGIN).encode())
@example(head=b"HTTP/1.1 200 OK\r\n", body=b'{"result":' + b"[" * 100_000)
@example(head=b"HTTP/1.1 200 OK\r\n", body=b'{"result":[' + b"{}," * 200_000 + b"{}]}")
@example(head=b"HTTP/1.1 200 OK\r\n", body=b'{"error":{"message":"' + b"x" * 1_000_000 + b'"}}')
@within_bounds
def test_any_answer(odoo: _Odoo, authority: Path, head: bytes, body: bytes) -> None:
    """To the login, and to the call."""
    odoo.answer = head + b"\r\n" + body
    url = f"http://127.0.0.1:{odoo.server_address[1]}"
    session = OdooSession(RpcAccount(url, "db", "me", PASSWORD, "m", "f", authority), 20)
    said = ""
    try:
        session.login()
        session.call({})
    except OdooRpcError as error:
        said = str(error)
    assert PASSWORD not in said
