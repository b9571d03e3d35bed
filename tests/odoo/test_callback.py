"""The callback over real HTTP: who is believed, what is taken, and what twenty at once come to."""

import hashlib
import hmac
import io
import json
import re
import threading
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.odoo.lone import PATH, SECRET, TOKEN, Lone, at_once, completed, failed

PATHS = [PATH, "/influencegen/n8ncallback/aiimage", "/api/v1/influencegen/ai-image-callback"]
RESERVED = [("reserve", -1)]
CAPTURED = [*RESERVED, ("capture", 0)]
QUERIES_OF_ODOO = 1
"""It asks whether its caches are still right, before it calls any controller."""
NOBODY = "http://127.0.0.1:1/generations/x.png"


def picture(size: tuple[int, int] = (1200, 800), kind: str = "PNG") -> bytes:
    """A real image."""
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, kind)
    return file.getvalue()


PICTURE = picture()


@contextmanager
def serving(
    lone: Lone,
    data: bytes,
    gate: threading.Event | None = None,
    *,
    seconds: float = 0,
    together: int = 0,
    fetched: list[str] | None = None,
) -> Iterator[str]:
    """A link to an image, in the store that `lone` knows from then on.

    It is answered when the gate opens, after so many seconds, when so many wait for it together;
    `fetched` gets the path of each call.
    """
    calls = [] if fetched is None else fetched
    enough = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            if gate:
                gate.wait(30)
            if len(calls) >= together:
                enough.set()
            enough.wait(30)
            threading.Event().wait(seconds)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        lone.stores_images_at(f"http://127.0.0.1:{server.server_address[1]}")
        yield f"http://127.0.0.1:{server.server_address[1]}/generations/image.png"
        server.shutdown()


@pytest.mark.parametrize("path", PATHS)
def test_an_outcome_is_taken_once(lone: Lone, path: str) -> None:
    """On each of the paths; the repeat is answered well and changes nothing."""
    made = lone.asks()
    event = completed(made, PICTURE)
    answers = [lone.delivers(event, path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    said = [answer.json() for answer in answers]
    assert [each["status"] for each in said] == ["applied", "repeated"]
    assert {each["requestId"] for each in said} == {made["request_uuid"]}
    record = lone.reads(made["id"])
    assert (record["state"], len(record["image_ids"])) == ("completed", 1)
    assert lone.ledger(made["id"]) == CAPTURED


def test_who_is_not_known_is_refused(lone: Lone) -> None:
    """By token, by signature, by the clock; nothing is done and nothing is revealed of requests."""
    made = lone.asks()
    event = completed(made, PICTURE)
    unknown = {**event, "requestId": made["correlation_uuid"]}
    minutes = timedelta(minutes=1)
    for answer in (
        lone.delivers(event, Authorization=None),
        lone.delivers(event, Authorization="Bearer another"),
        lone.delivers(event, webhook_signature=None),
        lone.delivers(event, webhook_signature="v1,AAAA"),
        lone.delivers(event, webhook_id="msg_2"),
        lone.delivers(event, late=5.1 * minutes),
        lone.delivers(event, late=-5.1 * minutes),
        lone.delivers(unknown, Authorization=None),
        lone.delivers(b"{", Authorization=None),
    ):
        assert answer.status_code == 401
        assert answer.json()["error"]["status"] == 401
        assert made["request_uuid"] not in answer.text
    assert lone.reads(made["id"])["state"] == "requested"
    assert lone.delivers(event, late=4.9 * minutes).status_code == 200


def test_a_flood_of_strangers_is_answered_cheaply_and_stops_no_one_else(lone: Lone) -> None:
    """429 after some; from the same address, as behind one proxy, Duragen itself gets through.

    From then on it gets 401 there, also for a token that is being changed. Odoo's own log counts
    the queries: a refusal has those alone that Odoo makes for any call.
    """
    made, here = lone.asks(), "127.0.0.2"  # not where the other tests are refused
    before = len(lone.odoo.log.read_text())
    refused = [
        lone.delivers(b"{}", source=here, Authorization="Bearer another") for _ in range(300)
    ]
    over = [each for each in refused if each.status_code == 429]
    assert Counter(each.status_code for each in refused) == {401: 300 - len(over), 429: len(over)}
    assert len(over) > 50
    for each in over:
        assert 1 <= int(each.headers["retry-after"]) <= 61
        assert each.json()["error"]["status"] == 429
    answer = lone.delivers(completed(made, PICTURE), source=here)
    assert answer.json()["status"] == "applied"
    after = lone.delivers(b"{}", source=here, Authorization="Bearer another")
    assert after.status_code == 401
    said = lone.odoo.log.read_text()[before:]
    assert said.count("a callback was refused") <= 300 - len(over) + 1
    queries = re.findall(r'callback HTTP/1.1" (401|429) - (\d+) ', said)
    assert {int(number) for _, number in queries} == {QUERIES_OF_ODOO}


def test_secrets_change_one_side_after_the_other(lone: Lone) -> None:
    """The old ones are taken while they stand as the previous ones, and no longer."""

    def enter(**values: str | bool) -> None:
        for name, value in values.items():
            lone.admin("ir.config_parameter", "set_param", f"duragen.{name}", value)

    event = completed(lone.asks(), PICTURE)
    previous = {"previous_callback_token": TOKEN, "previous_signing_secret": SECRET}
    try:
        enter(callback_token="new", signing_secret="whsec_" + "bmV3" * 8)
        assert lone.delivers(event).status_code == 401
        enter(**previous)
        assert lone.delivers(event).json()["status"] == "applied"
        assert lone.delivers(event, Authorization="Bearer new").json()["status"] == "repeated"
        assert lone.delivers(event, webhook_signature=None).status_code == 401
        enter(**dict.fromkeys(previous, False))
        assert lone.delivers(event).status_code == 401
    finally:
        enter(callback_token=TOKEN, signing_secret=SECRET, **dict.fromkeys(previous, False))
    assert lone.delivers(event).json()["status"] == "repeated"


def test_what_cannot_be_applied_says_why(lone: Lone) -> None:
    """404 for no such request, 422 for what is wrong with the event; nothing is half done."""
    made, other = lone.asks(), lone.asks()
    lone.stores_images_at(f"{NOBODY} http://a..b")
    sound = completed(made, PICTURE)
    strange = completed({**made, "request_uuid": other["correlation_uuid"]}, PICTURE)
    for status, word, event in (
        (404, other["correlation_uuid"], strange),
        (422, "correlationId", {**sound, "correlationId": other["correlation_uuid"]}),
        (422, "requestId", {**sound, "requestId": "x"}),
        (422, "status", {**sound, "status": "done"}),
        (422, "SHA-256", {**sound, "hashValue": "0" * 64}),
        (422, "bytes", {**sound, "imageMetadata": {**sound["imageMetadata"], "size": 7}}),
        (422, "imageMetadata.width", {**sound, "imageMetadata": {}}),
        (422, "JSON", b"{"),
        (422, "JSON", b""),
        (422, "JSON", b"[" * 100_000),
        (422, "JSON", b"\xff\xfe\x00"),
        (422, "object", [sound]),
        (422, "image store", completed(made, PICTURE, imageUrl=lone.odoo.url)),
        (503, "link", completed(made, PICTURE, imageUrl=NOBODY)),
        (503, "link", completed(made, PICTURE, imageUrl="http://a..b/x")),
    ):
        answer = lone.delivers(event)
        assert (answer.status_code, answer.json()["error"]["status"]) == (status, status)
        assert word in answer.json()["error"]["detail"]
    assert (lone.reads(made["id"])["state"], lone.ledger(made["id"])) == ("requested", RESERVED)
    assert lone.delivers(sound).json()["status"] == "applied"


def test_callbacks_are_posted(lone: Lone) -> None:
    """405 for everything else."""
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, lone.odoo.url + PATH, trust_env=False)
        assert answer.status_code == 405


def test_twenty_deliveries_at_once_are_one(either: Lone) -> None:
    """One image, one capture; every one of them is answered well, and one with `applied`."""
    made = either.asks()
    with serving(either, PICTURE, together=2) as url:
        event = completed(made, PICTURE, imageUrl=url)
        answers = at_once(20, lambda _: either.delivers(event))
    said = Counter((each.status_code, each.json()["status"]) for each in _responses(answers))
    assert said == {(200, "applied"): 1, (200, "repeated"): 19}
    assert len(either.reads(made["id"])["image_ids"]) == 1
    assert either.ledger(made["id"]) == CAPTURED


def test_images_of_one_user_do_not_hold_each_other_up(lone: Lone) -> None:
    """Six at once, each fetched from a link that takes its time: each is fetched once."""
    user = lone.someone(20)
    records = [lone.asks(user) for _ in range(6)]
    fetched: list[str] = []
    with serving(lone, PICTURE, fetched=fetched, seconds=0.3) as url:
        answers = at_once(
            6, lambda number: lone.delivers(completed(records[number], PICTURE, imageUrl=url))
        )
    said = Counter((each.status_code, each.json()["status"]) for each in _responses(answers))
    assert said == {(200, "applied"): 6}
    assert len(fetched) == 6
    assert lone.balance(user) == 14


def test_contradictions_at_once_end_well(lone: Lone) -> None:
    """Failures and an image in any order: the image stays, and is paid for once."""
    user = lone.someone(5)
    made = lone.asks(user)
    outcomes = [completed(made, PICTURE), failed(made), failed(made, errorCode="POLICY_INPUT")]
    answers = at_once(12, lambda position: lone.delivers(outcomes[position % 3]))
    assert {each.status_code for each in _responses(answers)} == {200}
    record = lone.reads(made["id"])
    assert (record["state"], record["charged"], len(record["image_ids"])) == ("completed", True, 1)
    kinds = [kind for kind, _ in lone.ledger(made["id"])]
    assert len(kinds) == len(set(kinds))
    assert lone.balance(user) == 4


def test_the_order_does_not_matter(lone: Lone) -> None:
    """An image comes after a failure, and a failure after an image changes nothing."""
    early, late = lone.asks(), lone.asks()
    assert lone.delivers(failed(late)).json()["status"] == "applied"
    assert lone.delivers(completed(late, PICTURE)).json()["status"] == "applied"
    assert lone.delivers(completed(early, PICTURE)).json()["status"] == "applied"
    assert lone.delivers(failed(early)).json()["status"] == "repeated"
    assert lone.ledger(late["id"]) == [*RESERVED, ("release", 1), ("capture", -1)]
    assert lone.ledger(early["id"]) == CAPTURED


def test_a_slow_link_does_not_hold_the_request(lone: Lone) -> None:
    """While one delivery fetches, another is applied; the first one then is a repeat."""
    made, gate = lone.asks(), threading.Event()
    with serving(lone, PICTURE, gate) as url:
        slow: list[httpx.Response] = []
        fetching = threading.Thread(
            target=lambda: slow.append(lone.delivers(completed(made, PICTURE, imageUrl=url)))
        )
        fetching.start()
        try:
            quick = lone.delivers(completed(made, PICTURE))
        finally:
            gate.set()
            fetching.join()
    assert {quick.json()["status"], slow[0].json()["status"]} == {"applied", "repeated"}
    assert (quick.status_code, slow[0].status_code) == (200, 200)
    assert lone.ledger(made["id"]) == CAPTURED


# The image route ----------------------------------------------------------------------------------


def test_an_image_is_its_users_own(lone: Lone) -> None:
    """Its bytes for him, 404 for everybody else: they do not even learn that it is there."""
    image = _image_of(lone, completed(made := lone.asks(), PICTURE), made)
    with lone.user.browser() as owner, lone.someone(0).browser() as stranger:
        answer = owner.get(f"/duragen/image/{image}")
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(PICTURE).digest()
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "private" in answer.headers["cache-control"]
        download = owner.get(f"/duragen/image/{image}", params={"download": 1})
        assert made["request_uuid"] in download.headers["content-disposition"]
        assert "attachment" in download.headers["content-disposition"]
        nobody = httpx.Client(base_url=lone.odoo.url, trust_env=False)
        for client in (stranger, nobody):
            for where in (f"/duragen/image/{image}", f"/duragen/image/{image}/thumbnail"):
                assert client.get(where).status_code == 404
        for unknown in (0, 10**6, 2**31, 2**63, 10**30):
            for where in (f"/duragen/image/{unknown}", f"/duragen/image/{unknown}/thumbnail"):
                assert owner.get(where).status_code == 404, where


def test_a_thumbnail_is_small(lone: Lone) -> None:
    """A JPEG of at most 512 pixels; what is no picture is handed out as it is, as a file."""
    image = _image_of(lone, completed(made := lone.asks(), PICTURE), made)
    odd = _image_of(lone, completed(made := lone.asks(), b"<svg onload='x()'/>"), made, "svg")
    with lone.user.browser() as owner:
        answer = owner.get(f"/duragen/image/{image}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        with Image.open(io.BytesIO(answer.content)) as small:
            assert (small.format, small.size) == ("JPEG", (512, 341))
        for where in (f"/duragen/image/{odd}", f"/duragen/image/{odd}/thumbnail"):
            answer = owner.get(where)
            assert answer.content.startswith(b"<svg")
            assert "attachment" in answer.headers["content-disposition"]
            assert "svg" not in answer.headers["content-type"]


def test_a_signed_link_needs_no_login(lone: Lone) -> None:
    """For an hour and for this image alone."""
    image = _image_of(lone, completed(made := lone.asks(), PICTURE), made)
    other = _image_of(lone, completed(made := lone.asks(), PICTURE), made)
    secret = lone.sql("SELECT value FROM ir_config_parameter WHERE key = 'database.secret'")[0][0]
    now = int(lone.sql("SELECT extract(epoch FROM now())::bigint")[0][0])

    def get(token: str, number: int = image) -> int:
        url = f"{lone.odoo.url}/duragen/image/{number}"
        return httpx.get(url, params={"token": token}, trust_env=False).status_code

    sound = _token(secret, image, now + 60)
    assert get(sound) == 200
    assert get(sound, other) == 404
    assert get(_token(secret, image, now - 1)) == 404
    assert get(_token("another", image, now + 60)) == 404
    assert get(_token(secret, image, now + 60, "another.scope")) == 404
    for forged in (sound[:-4], sound + "AAAA", "x", "%%%", "ü", "A" * 60, "AQ" + "A" * 80, "\0"):
        assert get(forged) == 404, forged


def _image_of(lone: Lone, event: dict[str, Any], made: dict[str, Any], kind: str = "png") -> int:
    event["imageMetadata"]["format"] = kind
    assert lone.delivers(event).status_code == 200
    [image] = lone.reads(made["id"])["image_ids"]
    found: int = image
    return found


def _token(secret: str, image: int, expires: int, scope: str = "duragen.image") -> str:
    """What Odoo's hash_sign makes; the sound one above proves that it is so."""
    message = json.dumps(image)
    signed = repr((scope, f"1:{message}:{expires}")).encode()
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    raw = b"\x01" + expires.to_bytes(8, "little") + digest + message.encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _responses(answers: list[httpx.Response | Exception]) -> list[httpx.Response]:
    wrong = [each for each in answers if isinstance(each, Exception)]
    assert not wrong
    return [each for each in answers if isinstance(each, httpx.Response)]
