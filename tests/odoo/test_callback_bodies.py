"""Bodies at the callback: how much Odoo reads, and of whom."""

import json
import socket
from datetime import UTC, datetime
from http.client import HTTPResponse

import httpx
import pytest

from tests.odoo.lone import PATH, TOKEN, Lone


@pytest.mark.parametrize(
    "body",
    [
        "application/json\r\nContent-Length: 100000000",
        "application/json\r\nTransfer-Encoding: chunked",
        "multipart/form-data; boundary=x\r\nContent-Length: 100000000",
    ],
    ids=["length", "chunked", "form"],
)
def test_a_strangers_body_is_not_waited_for(lone: Lone, body: str) -> None:
    """He is answered by his headers alone, also when he is over his limit; none of it is read."""
    here = "127.0.0.3"
    for _ in range(101):
        lone.delivers(b"{}", source=here, Authorization="Bearer another")
    for source, status in (("127.0.0.4", 401), (here, 429)):
        for token in ("", "Authorization: Bearer another\r\n"):
            code, said = answer_to(lone, f"{token}Content-Type: {body}", source)
            assert (code, json.loads(said)["error"]["status"]) == (status, status)


def test_who_sends_a_whole_image_reads_the_refusal(lone: Lone) -> None:
    """Duragen with the token that Odoo does not know yet: only a 401 makes it try the other one."""
    sent = lone.delivers(bytes(20_000_000), source="127.0.0.6", Authorization="Bearer another")
    assert sent.status_code == 401


def test_no_body_is_larger_than_an_image(lone: Lone) -> None:
    """Whoever has the token is answered by the length that he names."""
    stamp = int(datetime.now(UTC).timestamp())
    known = (
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        f"webhook-id: 1\r\nwebhook-signature: v1,x\r\nwebhook-timestamp: {stamp}\r\n"
    )
    assert answer_to(lone, f"{known}Content-Length: 134000000")[0] == 413


def answer_to(lone: Lone, headers: str, source: str = "127.0.0.5") -> tuple[int, bytes]:
    """What Odoo answers to a call whose body does not come."""
    url = httpx.URL(lone.odoo.url)
    place = (url.host, url.port or 80)
    with socket.create_connection(place, timeout=60, source_address=(source, 0)) as there:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n{headers}\r\n\r\n"
        there.sendall(head.encode())
        answer = HTTPResponse(there)
        answer.begin()
        return answer.status, answer.read()
