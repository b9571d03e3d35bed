"""What the addon believes of a callback, held against our contracts and against the library."""

import base64
import hmac
import json
import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from contracts.errors import TAXONOMY
from contracts.events import GenerationCompleted, GenerationFailed
from tests.deploy.addon import module

wire, signatures = module("wire"), module("signatures")

URI_CHARACTERS = string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%"
SIZES = st.integers(1, wire.MAX_IMAGE_BYTES)
SIDES = st.integers(1, wire.MAX_SIDE_PIXELS)
VERSIONS = st.none() | st.from_regex(r"1(\.[0-9]{1,5}){0,2}", fullmatch=True)
URLS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["http://", "https://"]),
    st.sampled_from(["s3.example", "127.0.0.1:8333", "[::1]:9", "a.b-c.example:443"]),
    st.just("") | st.text(URI_CHARACTERS, max_size=300).map("/{}".format),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def cleaned(text: str | None) -> str | None:
    """A text as a database can keep it."""
    return None if text is None else text.replace("\0", "")[: wire.MAX_TEXT]


def delivered(event: GenerationCompleted | GenerationFailed) -> Any:
    """The event as the callback gets it."""
    return json.loads(event.model_dump_json(exclude_none=True))


@st.composite
def completed(draw: st.DrawFn) -> GenerationCompleted:
    """Whatever our delivery may send of an image."""
    by_link = draw(st.booleans())
    size, width, height = draw(SIZES), draw(SIDES), draw(SIDES)
    image_format = draw(st.sampled_from(["png", "jpeg", "webp", "avif", "PNG", "svg+xml"]))
    metadata = {"format": image_format, "size": size, "width": width, "height": height}
    fields: dict[str, Any] = {
        "request_id": draw(st.uuids()),
        "correlation_id": draw(st.uuids()),
        "status": "completed",
        "image_metadata": metadata,
        "hash_value": draw(st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)),
        "payload_version": draw(VERSIONS),
    }
    if by_link:
        fields["image_url"] = draw(URLS)
    else:
        fields["image_data"] = base64.b64encode(draw(st.binary(max_size=200))).decode()
    try:
        return GenerationCompleted(**fields)
    except ValidationError:
        assume(condition=False)
        raise


@st.composite
def failed(draw: st.DrawFn) -> GenerationFailed:
    """Whatever EVT-AIG-003 can hold."""
    texts = st.none() | st.text(max_size=60)
    flags = st.none() | st.booleans()
    codes = st.sampled_from([code.value for code in TAXONOMY])
    return GenerationFailed(
        request_id=draw(st.uuids()),
        correlation_id=draw(st.uuids()),
        status="failed",
        error_message=draw(st.text(max_size=60) | st.just("x" * 20_000)),
        error_code=draw(texts | codes),
        error_type=draw(texts | st.sampled_from(["system", "user", "canceled"])),
        is_system_error=draw(flags),
        is_user_error=draw(flags),
        retry_suggestion=draw(flags),
        user_message=draw(texts),
        payload_version=draw(VERSIONS),
    )


@given(completed())
def test_an_image_arrives_as_it_was_sent(event: GenerationCompleted) -> None:
    """No event that we send is refused, and none is read as another."""
    found = wire.parse_outcome(delivered(event))
    assert found.request_id == str(event.request_id)
    assert found.correlation_id == str(event.correlation_id)
    assert (found.state, found.failure) == ("completed", None)
    image, sent = found.image, event.image_metadata
    assert image.format == sent.format.lower()
    assert (image.size, image.width, image.height) == (sent.size, sent.width, sent.height)
    assert image.sha256 == event.hash_value.lower()
    assert image.url == event.image_url
    data = None if event.image_data is None else base64.b64decode(event.image_data)
    assert image.data == data


@given(failed())
def test_a_failure_arrives_as_it_was_sent(event: GenerationFailed) -> None:
    """With its texts, its code and whose fault it was."""
    found = wire.parse_outcome(delivered(event))
    assert found.request_id == str(event.request_id)
    assert found.correlation_id == str(event.correlation_id)
    assert found.image is None
    assert found.state == ("canceled" if event.error_code == "CANCELED" else "failed")
    failure = found.failure
    assert failure.code == cleaned(event.error_code)
    assert failure.type == cleaned(event.error_type)
    assert failure.message == cleaned(event.error_message)
    assert failure.user_message == cleaned(event.user_message)
    assert failure.retry_suggestion is event.retry_suggestion
    if event.is_system_error:
        assert not failure.by_policy


@given(JSON)
def test_nothing_but_a_wire_error_comes_of_anything(event: Any) -> None:
    """Whatever JSON holds, the caller learns what is wrong with it."""
    with suppress(wire.WireError):
        wire.parse_outcome(event)


@given(st.data(), completed() | failed())
def test_a_damaged_event_is_read_or_refused(
    data: st.DataObject, event: GenerationCompleted | GenerationFailed
) -> None:
    """One or two fields are anything at all, or missing; what is believed then is sound."""
    damaged = delivered(event)
    for _ in range(data.draw(st.integers(1, 2))):
        inner = damaged.get("imageMetadata")
        target = data.draw(
            st.sampled_from([damaged, inner] if isinstance(inner, dict) else [damaged])
        )
        if not target:
            continue
        name = data.draw(st.sampled_from(sorted(target)))
        if data.draw(st.booleans()):
            del target[name]
        else:
            target[name] = data.draw(JSON)
    try:
        found = wire.parse_outcome(damaged)
    except wire.WireError:
        return
    assert wire.UUID.fullmatch(found.request_id)
    assert (found.image is None) != (found.failure is None)
    if found.image:
        assert (found.image.data is None) != (found.image.url is None)
        assert 1 <= found.image.size <= wire.MAX_IMAGE_BYTES
        assert len(found.image.sha256) == 64
    for text in found.failure or ():
        assert not isinstance(text, str) or "\0" not in text


# Signatures ---------------------------------------------------------------------------------------

SECRETS = st.binary(min_size=signatures.LEAST_KEY_BYTES, max_size=64).map(
    lambda key: base64.b64encode(key).decode()
)
IDS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=40)
BODIES = st.text(max_size=200)
SOUND = base64.b64encode(b"k" * 24).decode()
NOW = datetime.now(UTC).replace(microsecond=0)


def believed(
    headers: dict[str, str], body: str, secret: str, now: datetime = NOW, more: tuple[str, ...] = ()
) -> bool:
    """What the addon makes of a call."""
    try:
        signatures.check(headers, body.encode(), (), (secret, *more), now.timestamp())
    except signatures.UnauthorizedError:
        return False
    return True


def signed(secret: str, identity: str, body: str, stamp: datetime = NOW) -> dict[str, str]:
    """The headers that the library makes, as our delivery sends them."""
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": Webhook(secret).sign(identity, stamp, body),
    }


@given(SECRETS, st.booleans(), IDS, BODIES)
def test_what_the_library_signs_is_believed(
    secret: str, prefixed: bool, identity: str, body: str
) -> None:
    """With the prefix of a secret or without it, whatever the body."""
    secret = f"whsec_{secret}" if prefixed else secret
    assert believed(signed(secret, identity, body), body, secret)


@given(SECRETS, IDS, BODIES, st.data())
def test_what_is_believed_the_library_believes(
    secret: str, identity: str, body: str, data: st.DataObject
) -> None:
    """Whatever is changed on the way: we never take what the library refuses."""
    headers = signed(secret, identity, body)
    name = data.draw(st.sampled_from(sorted(headers)))
    how = data.draw(st.sampled_from(["any", "longer", "cut", "twice", "gone"]))
    ascii_text = st.text(string.printable[:95], max_size=20)
    headers[name] = {
        "any": data.draw(ascii_text),
        "longer": headers[name] + data.draw(ascii_text),
        "cut": headers[name][:-1],
        "twice": f"v1,AAAA {headers[name]}",
        "gone": "",
    }[how]
    ours = believed(headers, body, secret, datetime.now(UTC))
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError, OverflowError):
        assert not ours


@given(SECRETS, SECRETS, IDS, BODIES, BODIES)
@example(SOUND, SOUND, "id", "{}", "{} ")
def test_another_secret_or_body_is_not_believed(
    secret: str, other: str, identity: str, body: str, changed: str
) -> None:
    """Only the one that was signed, with the secret that we know."""
    headers = signed(secret, identity, body)
    assert believed(headers, changed, secret) == (changed == body)
    same = base64.b64decode(other).rstrip(b"\0") == base64.b64decode(secret).rstrip(b"\0")
    assume(same == (other == secret))  # HMAC fills short keys up with zeros
    assert believed(headers, body, other) == (other == secret)


@given(SECRETS, SECRETS, SECRETS, IDS, BODIES)
def test_while_secrets_are_changed(
    new: str, old: str, foreign: str, identity: str, body: str
) -> None:
    """Signed with either or both, it is believed by who knows either; a third opens nothing."""
    keys = {base64.b64decode(each).rstrip(b"\0") for each in (new, old, foreign)}
    assume(len(keys) == 3)  # HMAC fills short keys up with zeros
    by_new, by_old, by_foreign = (signed(each, identity, body) for each in (new, old, foreign))
    by_both = {**by_new}
    by_both["webhook-signature"] += " " + by_old["webhook-signature"]
    for headers in (by_new, by_old, by_both):
        assert believed(headers, body, new, more=(old,))
        assert not believed(headers, body, foreign)
    assert believed(by_both, body, new)
    assert believed(by_both, body, old)
    assert not believed(by_foreign, body, new, more=(old,))


def test_tokens_while_they_are_changed() -> None:
    """Either; both together, none, and a beginning of one are wrong."""
    tokens = ("new-token", "old-token")
    for given_token, right in (
        *((token, True) for token in tokens),
        *(
            (wrong, False)
            for wrong in ("", "new-toke", "new-token old-token", "new-token,old-token")
        ),
    ):
        headers = {"Authorization": f"Bearer {given_token}"}
        try:
            signatures.check(headers, b"", tokens, ())
            taken = True
        except signatures.UnauthorizedError:
            taken = False
        assert taken == right, given_token


@given(st.binary(max_size=signatures.LEAST_KEY_BYTES - 1))
def test_a_key_that_could_be_guessed_opens_nothing(key: bytes) -> None:
    """Not even for a caller who knows it; everybody knows the empty one."""
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = {
        "webhook-id": "id",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": "v1,"
        + base64.b64encode(
            hmac.digest(key, f"id.{int(NOW.timestamp())}.{{}}".encode(), "sha256")
        ).decode(),
    }
    assert not believed(headers, "{}", secret)


@given(st.integers(-1_000, 1_000))
@example(-301)
@example(-300)
@example(300)
@example(301)
def test_the_window_is_five_minutes_to_both_sides(seconds: int) -> None:
    """As the library's."""
    headers = signed(SOUND, "id", "{}", NOW - timedelta(seconds=seconds))
    assert believed(headers, "{}", SOUND) == (abs(seconds) <= 300)
