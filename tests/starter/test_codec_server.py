"""The codec server as a process, asked by the real `temporal` command, browsers and attackers."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from temporalio.api.common.v1 import Payload

from peers.encryption import KEYS_VARIABLE, PayloadEncryption, keyring, new_key
from starter.client import AsyncDuragenClient
from tests.ports import free_port
from tests.starter.entry_points import (
    TEMPORAL,
    make_event,
)

KEYS, CALLER, WEB_UI = f"2026-11:{new_key()}", "sesame", "https://temporal.example.com"
PROMPT = "a portrait of my daughter Wilhelmina"
DURAGEN = (sys.executable, "-c", "from starter.cli import main; main()")


class Server(NamedTuple):
    """A codec server that runs."""

    url: str
    log: Path

    def post(
        self, path: str = "/decode", *, key: str | None = CALLER, **more: Any
    ) -> httpx.Response:
        """As Temporal's programs do."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= {"X-Namespace": "default", **more.pop("headers", {})}
        return httpx.post(self.url + path, headers=headers, trust_env=False, timeout=60, **more)


def settings(folder: Path, port: int, *more: str) -> Path:
    """The file with a caller and a Web UI."""
    digest = hashlib.sha256(CALLER.encode()).hexdigest()
    lines = (
        *("[codec]", f"port = {port}", f'keys = [{{ name = "ops", sha256 = "{digest}" }}]'),
        *(f'origins = ["{WEB_UI}"]', *more),
    )
    file = folder / "duragen.toml"
    file.write_text("\n".join(lines))
    return file


def environment(file: Path, keys: str = KEYS) -> dict[str, str]:
    """Nothing else of ours."""
    return {"PATH": os.environ["PATH"], "DURAGEN_CONFIG": str(file), KEYS_VARIABLE: keys}


def running(folder: Path, *more: str) -> Iterator[Server]:
    """The process, until the test ends; it must end in order."""
    port = free_port()
    codec = Server(f"http://127.0.0.1:{port}", folder / "log")
    env = environment(settings(folder, port, *more))
    with codec.log.open("w") as log:
        process = subprocess.Popen([*DURAGEN, "codec"], env=env, stdout=log, stderr=log)
    try:
        transport = httpx.HTTPTransport(retries=30)  # half a second, doubling up to two minutes
        with httpx.Client(transport=transport, trust_env=False) as client:
            assert client.get(f"{codec.url}/health").json() == {"status": "live"}
        yield codec
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that only decrypts, as it is by default."""
    yield from running(tmp_path_factory.mktemp("codec"))


@pytest.fixture
def encoding(tmp_path: Path) -> Iterator[Server]:
    """One that also encrypts."""
    yield from running(tmp_path, "encode = true")


def _as_json(payload: Payload) -> dict[str, Any]:
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"metadata": metadata, "data": base64.b64encode(payload.data).decode()}


def encrypted(keys: str = KEYS, text: str = PROMPT) -> dict[str, Any]:
    """A payload as it comes out of a history."""
    found = keyring(keys)
    assert found
    clear = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(text).encode())
    return _as_json(PayloadEncryption(found).encrypted(clear))


def text_of(answer: httpx.Response) -> list[str]:
    """The values that were decoded."""
    payloads = answer.json()["payloads"]
    return [json.loads(base64.b64decode(payload["data"])) for payload in payloads]


async def test_the_temporal_command_shows_prompts_with_the_key_alone(
    codec: Server, address: str, tmp_path: Path
) -> None:
    """`temporal workflow show`: not without the codec server, and not with a wrong key.

    Variables or a profile hold the key, so that it does not stand in `ps`.
    """
    starter = AsyncDuragenClient(address, encryption_keys=KEYS)
    started = await starter.start(make_event(prompt=PROMPT))

    def shown(**environment: str) -> str:
        command = [TEMPORAL, "workflow", "show", "--address", address, "-w", started.workflow_id]
        done = subprocess.run(
            [*command, "--detailed", "--command-timeout", "20s"],
            # No profile of a developer's.
            env={"PATH": os.environ["PATH"], "TEMPORAL_CONFIG_FILE": str(profile), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    profile = tmp_path / "temporal.toml"
    profile.touch(0o600)
    key = f"Bearer {CALLER}"
    assert PROMPT not in shown()
    for endpoint in (codec.url, f"{codec.url}/{{namespace}}"):
        assert PROMPT in shown(TEMPORAL_CODEC_ENDPOINT=endpoint, TEMPORAL_CODEC_AUTH=key)
    wrong = shown(TEMPORAL_CODEC_ENDPOINT=codec.url, TEMPORAL_CODEC_AUTH="Bearer wrong")
    assert PROMPT not in wrong
    profile.write_text(f'[profile.default.codec]\nendpoint = "{codec.url}"\nauth = "{key}"\n')
    assert PROMPT in shown()


def test_what_is_in_clear_stays_as_it_is(codec: Server) -> None:
    """A history that began before the keys has both; the order is kept."""
    clear = {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "ImNsZWFyIg=="}
    body = {"payloads": [encrypted(), clear, encrypted(text="another")]}
    answer = codec.post("/any/namespace/decode", json=body)
    assert answer.status_code == 200
    assert text_of(answer) == [PROMPT, "clear", "another"]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {CALLER}",
        "Basic !",
        f"Token {CALLER}",
    ],
)
def test_nobody_without_the_key_decodes(codec: Server, authorization: str | None) -> None:
    """401 before the body is read; the answer says how."""
    headers = {} if authorization is None else {"Authorization": authorization}
    body = {"payloads": [encrypted()]}
    answer = codec.post(key=None, headers=headers, json=body)
    assert answer.status_code == 401
    assert "Wilhelmina" not in answer.text
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    refused = [line for line in codec.log.read_text().splitlines() if "refused" in line]
    assert "127.0.0.1" in refused[-1]
    assert CALLER not in refused[-1]


def test_a_browser_sends_the_key_as_a_password(codec: Server) -> None:
    """The Web UI knows no other way without a login of its own: `GET /` asks, and it is kept."""
    assert httpx.get(codec.url, trust_env=False).status_code == 401
    answer = httpx.get(codec.url, auth=("anybody", CALLER), trust_env=False)
    assert answer.status_code == 200
    basic = base64.b64encode(f"anybody:{CALLER}".encode()).decode()
    answer = codec.post(
        key=None, headers={"Authorization": f"Basic {basic}"}, json={"payloads": [encrypted()]}
    )
    assert text_of(answer) == [PROMPT]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (WEB_UI, True),
        ("https://evil.example.com", False),
        ("null", False),
        (WEB_UI + ".evil", False),
    ],
)
def test_pages_of_the_web_ui_alone_may_ask(codec: Server, origin: str, allowed: bool) -> None:
    """CORS: the preflight of `fetch` with credentials, and the answer itself."""
    wanted = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
    }
    url = f"{codec.url}/decode"
    preflight = httpx.options(url, headers=wanted, trust_env=False)
    answers = [preflight, codec.post(headers={"Origin": origin}, json={"payloads": []})]
    for answer in answers:
        named = answer.headers.get("Access-Control-Allow-Origin")
        assert named == (origin if allowed else None)
    if allowed:
        assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
        assert "x-namespace" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert (preflight.status_code == 200) is allowed


def test_no_answer_is_kept(codec: Server) -> None:
    """Prompts in clear: no cache has them, and no browser takes them for a page."""
    preflight = {"Origin": WEB_UI, "Access-Control-Request-Method": "POST"}
    answers = [
        codec.post(json={"payloads": [encrypted()]}),
        codec.post(key=None),
        codec.post("/nothing"),
        httpx.get(codec.url, auth=("anybody", CALLER), trust_env=False),
        httpx.options(f"{codec.url}/decode", headers=preflight, trust_env=False),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 404, 200, 200]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_key_that_is_missing_is_named(codec: Server) -> None:
    """400, as the protocol has it; nothing of the others is answered."""
    other = encrypted(f"2025-05:{new_key()}")
    answer = codec.post(json={"payloads": [encrypted(), other]})
    assert answer.status_code == 400
    assert "2025-05" in answer.text
    assert any("2025-05" in line and '"ops"' in line for line in codec.log.read_text().splitlines())


WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "no JSON": ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
    "no UTF-8": ({"content": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
    "other JSON": ({"json": {"payloads": 7}}, 400),
    "a list of numbers": ({"json": [1]}, 400),
    "nested deeply": (
        {"content": b'{"a":' * 9_000, "headers": {"Content-Type": "application/json"}},
        413,
    ),
    "a form": ({"data": {"payloads": "x"}}, 415),
    "compressed": ({"json": {}, "headers": {"Content-Encoding": "gzip"}}, 415),
    "large": ({"json": {"payloads": [], "x": "x" * 4 * 1024**2}}, 413),
    "many elements": ({"json": {"payloads": [{}] * 30_000}}, 413),
    "a cut-off payload": (
        {"json": {"payloads": [{"metadata": encrypted()["metadata"], "data": "AAAA"}]}},
        400,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_hostile_bodies_are_refused(codec: Server, name: str) -> None:
    """A status that says so, and never a 500."""
    request, status = WRONG[name]
    assert codec.post(**request).status_code == status


def test_only_what_is_wanted_is_served(codec: Server) -> None:
    """`/encode` is off, other methods are refused, and there is no page that describes it."""
    assert codec.post("/encode", json={"payloads": []}).status_code == 404
    assert codec.post("/", json={"payloads": []}).status_code == 405
    assert httpx.get(f"{codec.url}/decode", trust_env=False).status_code == 405
    for path in ("/docs", "/openapi.json", "/decode/../x"):
        assert httpx.get(codec.url + path, trust_env=False).status_code == 404


def test_encoding_is_an_option(encoding: Server) -> None:
    """For starts and signals out of Temporal's own programs: what it encrypts, we read."""
    clear = {"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "ImNsZWFyIg=="}
    answer = encoding.post("/encode", json={"payloads": [clear]})
    [sealed] = answer.json()["payloads"]
    assert base64.b64decode(sealed["metadata"]["encryption-key-id"]) == b"2026-11"
    assert text_of(encoding.post(json={"payloads": [sealed]})) == ["clear"]


def test_nothing_of_what_is_decoded_is_logged(tmp_path: Path) -> None:
    """Who asked, and for how many payloads; no contents, no key."""
    for codec in running(tmp_path):
        assert text_of(codec.post(json={"payloads": [encrypted()]})) == [PROMPT]
        codec.post(json={"payloads": [encrypted(f"old:{new_key()}")]})
        codec.post(content=PROMPT.encode(), headers={"Content-Type": "application/json"})
        codec.post(key="a-wrong-key", json={})
    said = codec.log.read_text()
    assert '"caller": "ops"' in said
    for secret in ("Wilhelmina", CALLER, "a-wrong-key", KEYS.partition(":")[2], "Traceback"):
        assert secret not in said


@pytest.mark.parametrize(
    ("keys", "more", "said"),
    [
        ("", (), f"set {KEYS_VARIABLE}"),
        ("a:b", (), "the key a is not 32 bytes"),
        (f"clear,{KEYS}", ("encode = true",), "codec.encode"),
        (KEYS, ("prot = 1",), "codec.prot"),
    ],
    ids=["no keys", "a short key", "encode without a key", "a misspelling"],
)
def test_wrong_settings_are_named(
    tmp_path: Path, keys: str, more: tuple[str, ...], said: str
) -> None:
    """Exit 2, one clear text, no traceback."""
    env = environment(settings(tmp_path, 0, *more), keys)
    done = subprocess.run(
        [*DURAGEN, "codec"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_new_keys_are_usable(tmp_path: Path) -> None:
    """What is printed is what the settings take; each one is new."""
    env = environment(settings(tmp_path, 0))
    found = [
        subprocess.run(
            [*DURAGEN, "codec", "--new-encryption-key"],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert found[0] != found[1]
    assert all(keyring(each) for each in found)
