"""Asking a provider for free: the sandboxes' own look-ups, and peers that misbehave."""

import httpx
import pytest
from pydantic import SecretStr

from activities.providers.probing import (
    MAX_ANSWER_BYTES,
    NO_JSON,
    LookUp,
    ProbeActivities,
    probe_by_look_up,
)
from activities.providers.registry import REGISTRY, probes
from contracts.provider_health import Probed, ProbeTask
from deploy.local.stack.local_stack import LocalStack
from tests.activities.activity_runs import Attempt
from tests.activities.http_peer import (
    Peer,
    Reply,
    answer,
    drip,
    hang,
    html,
    raw,
    refusing_url,
    reset,
)
from workers.settings import Settings

KEY = "sk-0123456789abcdef"


async def probed(
    http: httpx.AsyncClient,
    url: str,
    kind: str = "openai",
    key: str = KEY,
    models: tuple[str, ...] = (),
    **more: object,
) -> Probed:
    """What is found at `url`, by the activity."""
    # Not validated: a probe must bear what a settings file would not let through.
    known = {"kind": kind, "base_url": url, "api_key": SecretStr(key), **more}
    spare = REGISTRY[kind].settings.model_construct(**known)
    asking = ProbeActivities(probes({"spare": spare}, http, {"spare": models}))
    found = await Attempt().run(asking.probe_provider, ProbeTask(provider="spare"))
    assert KEY not in found.model_dump_json()
    return found


@pytest.mark.parametrize("name", ["openai", "flux"])
async def test_key_taken(
    http: httpx.AsyncClient, parts: LocalStack, worker_settings: Settings, name: str
) -> None:
    """Each provider of the settings is asked with its own key."""
    asking = ProbeActivities(probes(worker_settings.providers, http))
    found = await Attempt().run(asking.probe_provider, ProbeTask(provider=name))
    assert found == Probed(found=f"{parts.images_url} takes the key", key_taken=True)


@pytest.mark.parametrize("kind", ["openai", "flux"])
async def test_key_refused(http: httpx.AsyncClient, parts: LocalStack, kind: str) -> None:
    """A wrong key is named by its setting."""
    found = await probed(http, parts.images_url, kind)
    assert found.found == f"{parts.images_url} refuses the key"
    assert found.fix == "set a valid key: providers.spare.api_key"
    assert found.key_taken is False


@pytest.mark.parametrize(
    ("kind", "path", "header"),
    [("openai", "/v1/models", f"Bearer {KEY}"), ("flux", "/v1/credits", KEY)],
)
async def test_wire(http: httpx.AsyncClient, peer: Peer, kind: str, path: str, header: str) -> None:
    """One GET of what costs nothing, with the key where the service expects it."""
    peer.says(answer(200, {}), answer(401))
    await probed(http, f"{peer.url}/", kind)
    received = peer.received[0]
    assert (received.method, received.path) == ("GET", path)
    assert header in (received.headers.get("authorization"), received.headers.get("x-key"))


async def test_wire_of_azure(http: httpx.AsyncClient, peer: Peer) -> None:
    """The key alone, and the address with its version: as for the images."""
    peer.says(answer(200, {}), answer(401))
    base_url = f"{peer.url}/openai/deployments/img?api-version=2024-02-01"
    await probed(http, base_url, key_header="api-key")
    received = peer.received[0]
    assert received.path == "/openai/deployments/img/models?api-version=2024-02-01"
    assert received.headers["api-key"] == KEY
    assert "authorization" not in received.headers


async def test_a_list_for_everybody(http: httpx.AsyncClient, peer: Peer) -> None:
    """A look-up that answers without the key, too, is no check of it (OpenRouter's)."""
    peer.says(answer(200, {"data": [{"id": "m"}]}))
    found = await probed(http, peer.url)
    assert "no check" in found.found
    assert (found.fix, found.key_taken) == ("", False)
    assert "authorization" not in peer.received[1].headers


async def test_a_web_servers_own_refusal(http: httpx.AsyncClient, peer: Peer) -> None:
    """Apache's words for a wrong path or a blocked address say nothing about the key's rights."""
    page = "<p>You don't have permission to access this resource.</p>"
    peer.says(answer(403, page, {"content-type": "text/html"}))
    assert (await probed(http, peer.url)).fix == "set a valid key: providers.spare.api_key"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_may_not_look(http: httpx.AsyncClient, peer: Peer, status: int) -> None:
    """A restricted key that may not list the models may make images all the same."""
    message = "You have insufficient permissions. Missing scopes: api.model.read."
    peer.says(answer(status, {"error": {"message": message}}))
    found = await probed(http, peer.url)
    assert "may make images all the same" in found.found
    assert (found.fix, found.key_taken) == ("", False)


async def test_models_of_the_routes(
    http: httpx.AsyncClient, parts: LocalStack, worker_settings: Settings
) -> None:
    """The sandboxes have those of the settings; and nothing is paid by asking."""
    providers = worker_settings.providers
    named = worker_settings.models_by_provider
    for name, ask in probes(providers, http, named).items():
        if name in named:
            assert (await ask()).fix == ""
    misspelled = {"openai": ("gpt-imge-2",), "flux": ("fluks-2",)}
    found = {name: await ask() for name, ask in probes(providers, http, misspelled).items()}
    assert "does not list the model gpt-imge-2" in found["openai"].found
    assert "/v1/fluks-2 answered 404" in found["flux"].found
    assert "the model of the routes to" in found["openai"].fix
    assert "the model of the routes to" in found["flux"].fix


@pytest.mark.parametrize(
    "look_ups", [[answer(404)], [answer(200, {"data": [{"id": "m"}]}), answer(401)]]
)
async def test_no_images_there(http: httpx.AsyncClient, peer: Peer, look_ups: list[Reply]) -> None:
    """A base_url below which nothing makes images, whatever the look-up says."""
    peer.says(*look_ups, answer(404))
    found = await probed(http, peer.url, models=("m",))
    assert found.found == f"{peer.url}/v1/images/generations answered 404 to a call"
    assert found.fix == "check providers.spare.base_url"
    asked = peer.received[-1]
    assert (asked.method, asked.body) == ("POST", NO_JSON)


@pytest.mark.parametrize("body", [{}, [], {"data": []}, {"data": [3]}, "page", {"models": ["x"]}])
async def test_lists_that_say_nothing(http: httpx.AsyncClient, peer: Peer, body: object) -> None:
    """No list, or an empty one, accuses no model."""
    peer.says(answer(200, body), answer(401), answer(400))  # type: ignore[arg-type]  # each is one
    assert (await probed(http, peer.url, models=("m",))).fix == ""


@pytest.mark.parametrize("credits_left", [0, -3.5])
async def test_no_credits(http: httpx.AsyncClient, peer: Peer, credits_left: float) -> None:
    """A key that is taken for an account with nothing on it would not serve us."""
    peer.says(answer(200, {"credits": credits_left}))
    found = await probed(http, peer.url, "flux")
    assert found.key_taken is True
    assert found.fix == "top up the account"
    assert f"the account has {credits_left} credits" in found.found


@pytest.mark.parametrize(
    "body", [{"credits": 12.5}, {"credits": True}, {"credits": "0"}, {}, [], "no JSON", b"\xff"]
)
async def test_credits(http: httpx.AsyncClient, peer: Peer, body: object) -> None:
    """Credits that are there, or cannot be read, are no trouble."""
    peer.says(answer(200, body))  # type: ignore[arg-type]  # each of them is one it takes
    found = await probed(http, peer.url, "flux")
    assert (found.fix, found.key_taken) == ("", True)


ANSWERS = {
    "has no look-up": (answer(404), "it has no way to check the key", ""),
    "takes no GET": (answer(405), "it has no way to check the key", ""),
    "refuses": (answer(403), "refuses the key", "providers.spare.api_key"),
    "is elsewhere": (answer(301), "answered 301", "providers.spare.base_url"),
    "is a web page": (html(), "answers with a web page", "providers.spare.base_url"),
    "wants money": (answer(402), "answered 402", "top it up"),
    "does not know the key (LiteLLM)": (
        answer(400, {"error": {"message": "No connected db.", "type": "no_db_connection"}}),
        "refuses the key",
        "providers.spare.api_key",
    ),
    "has spent its budget (LiteLLM)": (
        answer(400, {"error": {"message": "Budget has been exceeded!", "type": "budget_exceeded"}}),
        "answered 400",
        "top it up",
    ),
    "has enough of us": (answer(429), "answered 429", "providers.spare.submissions_per_second"),
    "is down": (html(503), "answered 503", "status page"),
    "says nothing": (raw(), "cannot be reached (", "providers.spare.base_url"),
    "breaks off": (reset, "cannot be reached (", "providers.spare.base_url"),
    "is no web server": (raw(b"220 mail\r\n"), "cannot be reached (", "providers.spare.base_url"),
    "says too much": (
        answer(200, b" " * (MAX_ANSWER_BYTES + 1)),
        "at most",
        "providers.spare.base_url",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_findings(http: httpx.AsyncClient, peer: Peer, name: str) -> None:
    """Whatever it answers is a finding, with what to do; only a success takes the key."""
    reply, found, fix = ANSWERS[name]
    peer.says(reply)
    result = await probed(http, peer.url)
    assert peer.url in result.found
    assert found in result.found
    assert fix in result.fix
    assert bool(fix) == bool(result.fix)
    assert result.key_taken is False


@pytest.mark.parametrize("reply", [hang, drip])
async def test_cut_off(http: httpx.AsyncClient, peer: Peer, reply: Reply) -> None:
    """A service that hangs or drips is a finding too."""
    peer.says(reply)
    found = await probe_by_look_up(
        http, "spare", peer.url, SecretStr(KEY), LookUp(peer.url, {}), timeout_seconds=0.3
    )
    assert found.found == f"{peer.url} did not answer in time"
    assert found.fix


UNASKABLE = {
    "no such scheme": ("gopher://127.0.0.1", KEY, "providers.spare.base_url"),
    "no URL": ("http://[::1", KEY, "providers.spare.base_url"),
    "a line break in the key": ("", f"{KEY}\n", "providers.spare.api_key"),
    "a key beyond ASCII": ("", f"{KEY}ü", "providers.spare.api_key"),
}


@pytest.mark.parametrize("name", UNASKABLE)
async def test_unaskable(http: httpx.AsyncClient, peer: Peer, name: str) -> None:
    """What cannot even be asked is a finding that does not show the key."""
    url, key, fix = UNASKABLE[name]
    peer.says(answer(200))
    found = await probed(http, url or peer.url, key=key)
    assert fix in found.fix
    assert found.key_taken is False


async def test_nobody_there(http: httpx.AsyncClient) -> None:
    """A refused connection is a finding."""
    url = refusing_url()
    found = await probed(http, url)
    assert found.found.startswith(f"{url} cannot be reached (")
    assert "providers.spare.base_url" in found.fix


async def test_unknown_provider() -> None:
    """A provider that left the settings has a health workflow for a while yet."""
    found = await Attempt().run(ProbeActivities({}).probe_provider, ProbeTask(provider="gone"))
    assert found.found == "not in the settings"
    assert (found.unknown, found.fix) == (True, "")
