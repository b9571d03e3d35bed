"""How the addon fetches an image: from a real server, whatever that does."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.deploy.addon import module

fetching, wire = module("fetching"), module("wire")
IMAGE = bytes(range(256)) * 2_000
"""Half a megabyte, in several chunks."""


class Server(ThreadingHTTPServer):
    """Answers each GET as `reply` says."""

    daemon_threads = True
    reply: Callable[[BaseHTTPRequestHandler], None]

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.reply(self)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """One that listens on loopback."""
    with Server(("127.0.0.1", 0), _Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def announced(url: str, data: bytes = IMAGE) -> Any:
    """An event's image."""
    return wire.Image("png", len(data), 8, 9, hashlib.sha256(data).hexdigest(), url=url)


def fetched(image: Any, *seconds: float) -> bytes:
    """The image, from a store of just that address."""
    data: bytes = fetching.fetch(image, {fetching.origin_of(image.url) or "none"}, *seconds)
    return data


def sends(body: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    """A reply."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def test_the_image_comes(server: Server) -> None:
    """All of it, and nothing but it."""
    server.reply = sends(IMAGE)
    assert fetched(announced(server.url + "/b/k?x=1")) == IMAGE


def test_the_environments_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the rest of Odoo; and not for what NO_PROXY names."""
    asked = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        sends(IMAGE)(handler)

    server.reply = reply
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert fetched(announced("http://store.example/k?x=1")) == IMAGE
    assert fetched(announced(server.url + "/k")) == IMAGE
    assert asked == ["http://store.example/k?x=1", "/k"]


@pytest.mark.parametrize("status", [204, 206, 301, 302, 307, 403, 404, 500, 503])
def test_any_other_answer_is_none(server: Server, status: int) -> None:
    """A refusal, trouble, or somewhere else to look: a later link may be better."""
    server.reply = sends(IMAGE if status == 206 else b"", status, Location=server.url + "/other")
    with pytest.raises(fetching.FetchError, match=str(status)):
        fetched(announced(server.url))


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:{other}/k",
        "http://localhost:{port}/k",
        "http://127.1:{port}/k",
        "http://[::ffff:127.0.0.1]:{port}/k",
        "https://127.0.0.1:{port}/k",
        "http://169.254.169.254/latest/meta-data/",
        "http://store.example@127.0.0.1:{port}/k",
        "http://127.0.0.1:{other}@127.0.0.1:{port}/k",
        "http://127.0.0.1:{other}#@127.0.0.1:{port}/k",
        "http://127.0.0.1:{other}\\@127.0.0.1:{port}/k",
        "http:/127.0.0.1:{port}/k",
        "ftp://127.0.0.1:{port}/k",
        "file:///etc/passwd",
        "//127.0.0.1:{port}/k",
        "",
    ],
)
def test_only_the_store_is_called(server: Server, link: str) -> None:
    """However the address is written: another host, port, scheme or a login is another place."""
    asked: list[str] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        sends(IMAGE)(handler)

    server.reply = reply
    port = server.server_address[1]
    url = link.format(port=port, other=port - 1)
    with pytest.raises(fetching.ForeignError) as raised:
        fetching.fetch(announced(url), {server.url})
    said = str(raised.value)
    assert server.url in said
    assert "set the image store's address" in said
    assert asked == []


def test_without_a_known_store_nothing_is_called(server: Server) -> None:
    """The text says what to set to have it called, and the link's own path is not in it."""
    server.reply = sends(IMAGE)
    with pytest.raises(fetching.ForeignError) as raised:
        fetching.fetch(announced(server.url + "/key?X-Amz-Signature=secret"), set())
    said = str(raised.value)
    assert f"settings of Duragen to {server.url}" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://S3.Example.com:443/b?x#y", "https://s3.example.com"),
        ("http://s3.example.com:80", "http://s3.example.com"),
        ("http://[2001:DB8::1]:9000/b", "http://[2001:db8::1]:9000"),
        ("https://s3.example.com:8443", "https://s3.example.com:8443"),
        ("s3.example.com", None),
        ("https://me@s3.example.com", None),
        ("https://s3.example.com:x", None),
        ("gopher://s3.example.com", None),
    ],
)
def test_an_origin_is_written_in_one_way(url: str, origin: str | None) -> None:
    """So that two spellings of one server are the same."""
    assert fetching.origin_of(url) == origin


def test_a_redirect_is_not_followed(server: Server) -> None:
    """Odoo does not call a place that the event did not name."""
    asked = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        sends(b"", 302, Location=server.url + "/inside")(handler)

    server.reply = reply
    with pytest.raises(fetching.FetchError):
        fetched(announced(server.url + "/image"))
    assert asked == ["/image"]


@pytest.mark.parametrize("body", [IMAGE[:-1], b""])
def test_an_image_that_is_cut_short_is_asked_for_again(server: Server, body: bytes) -> None:
    """The connection may have broken."""
    server.reply = sends(body)
    with pytest.raises(fetching.FetchError, match=f"{len(body)} of {len(IMAGE)}"):
        fetched(announced(server.url))


def test_a_connection_that_breaks_is_a_failure_of_the_link(server: Server) -> None:
    """Half of it came."""
    server.reply = sends(IMAGE[: len(IMAGE) // 2], Content_Length=str(len(IMAGE)))
    with pytest.raises(fetching.FetchError):
        fetched(announced(server.url))


@pytest.mark.parametrize("body", [IMAGE[:-1] + b"!", b"!" + IMAGE, IMAGE + b"!"])
def test_another_image_is_a_mismatch(server: Server, body: bytes) -> None:
    """Trying again would not help."""
    server.reply = sends(body)
    with pytest.raises(fetching.MismatchError):
        fetched(announced(server.url))


def test_no_more_is_read_than_was_announced(server: Server) -> None:
    """A link that goes on for ever does not fill the memory."""
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while sum(sent) < 500_000_000:
                sent.append(handler.wfile.write(bytes(1_000_000)))
        except OSError:
            pass  # the reader has gone

    server.reply = endless
    with pytest.raises(fetching.MismatchError):
        fetched(announced(server.url, b"x" * 1_000))
    assert sum(sent) < 100_000_000


def test_a_packed_bomb_is_not_unpacked(server: Server) -> None:
    """What is small on the wire is not let grow in memory."""
    packed = gzip.compress(bytes(50_000_000))
    server.reply = sends(packed, Content_Encoding="gzip")
    assert fetched(announced(server.url, packed)) == packed


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://127.0.0.1:99999/x",
        "http://a..b/x",
        "http://.example/x",
        "http://" + "a" * 70 + ".example/x",
        "http://[::1]:1/x",
        "http://*.example/x",
        "http://\u2100/x",
        "http://127.0.0.1:1/%zz\x00",
        "https://127.0.0.1:1/x",
    ],
)
def test_a_link_that_leads_nowhere_is_a_failure_of_the_link(url: str) -> None:
    """Of whatever kind; its text is not quoted, for a link is a key."""
    with pytest.raises((fetching.FetchError, fetching.ForeignError)) as raised:
        fetched(announced(url))
    assert "/x" not in str(raised.value)


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ("http://127.0.0.1:1", "127.0.0.1:1"),
        ("https://store.invalid", "store.invalid:443"),
        ("http://[::1]:1", "[::1]:1"),
    ],
)
def test_an_operator_reads_which_store_odoo_must_reach(origin: str, place: str) -> None:
    """Host and port, and what to set; nothing that gives access to the image."""
    with pytest.raises(fetching.FetchError) as raised:
        fetched(announced(origin + "/bucket/key.png?X-Amz-Signature=secret"))
    said = str(raised.value)
    assert f" at {place}. " in said
    assert "storage.public_endpoint_url" in said
    assert 'images = "data"' in said
    assert not any(part in said for part in ("secret", "key.png"))


def test_a_link_that_says_nothing_in_time_is_a_failure(server: Server) -> None:
    """An Odoo worker is not held by a store that hangs, nor by one that drips."""
    ended = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        ended.wait(20)

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(200):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return
            if ended.wait(0.1):
                return

    try:
        for server.reply in (silent, dripping):
            finished = threading.Event()
            trouble: list[Exception] = []

            def fetch(done: threading.Event = finished, seen: list[Exception] = trouble) -> None:
                try:
                    fetched(announced(server.url), 0.2, 0.5)
                except Exception as error:  # noqa: BLE001  # looked at below
                    seen.append(error)
                done.set()

            threading.Thread(target=fetch, daemon=True).start()
            assert finished.wait(5), "it still waits"
            assert isinstance(trouble[0], fetching.FetchError)
    finally:
        ended.set()


def test_what_came_inside_the_event_is_checked_the_same_way() -> None:
    """Size first, then the hash."""
    assert fetching.verified(announced(""), IMAGE) == IMAGE
    for wrong in (IMAGE[:-1], IMAGE[:-1] + b"!", b""):
        with pytest.raises(fetching.MismatchError):
            fetching.verified(announced(""), wrong)
