"""What a key may ask for: a rate, generations under way, generations a day."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from contracts.callbacks import CALLBACK_PATHS
from starter.gateway.settings import GatewayKey
from tests.starter.entry_points import ODOO, gateway_key, make_event, serving


@asynccontextmanager
async def calling(address: str, *keys: GatewayKey, gateways: int = 1) -> AsyncIterator[list[Any]]:
    """A caller at each of so many gateways, with the first key."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(gateways):
            url = await stack.enter_async_context(serving(address, keys=keys))
            headers = {"Authorization": f"Bearer {keys[0].name}"}
            http = httpx.AsyncClient(base_url=url, headers=headers)
            found.append(await stack.enter_async_context(http))
        yield found


def key_named(name: str, **limits: Any) -> GatewayKey:
    """A key that is its own name, with limits."""
    return gateway_key(name, name, **limits)


async def start(http: httpx.AsyncClient, event: dict[str, Any] | None = None) -> httpx.Response:
    """A start, of a fresh event unless one is given."""
    return await http.post("/v1/generations", json=event or make_event())


def problem_of(answer: httpx.Response) -> str:
    """The problem's name; its headers are looked at on the way."""
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["ratelimit-remaining"] == "0"
    return str(answer.json()["type"]).removeprefix("urn:duragen:problem:")


async def test_so_many_are_under_way(address: str) -> None:
    """The third of two is refused; the answers count down."""
    async with calling(address, key_named("two-at-a-time", in_flight=2)) as [http]:
        answers = [await start(http) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert [a.headers["ratelimit-remaining"] for a in answers] == ["1", "0", "0", "0"]
    assert {a.headers["ratelimit-limit"] for a in answers} == {"2"}
    assert problem_of(answers[2]) == "too_many_in_flight"


async def test_one_that_has_ended_makes_room(address: str, temporal: Client) -> None:
    """The count is Temporal's: what has ended no longer counts."""
    async with calling(address, key_named("one-at-a-time", in_flight=1)) as [http]:
        first = (await start(http)).json()
        assert problem_of(await start(http)) == "too_many_in_flight"
        await temporal.get_workflow_handle(first["workflowId"]).terminate()
        while (await start(http)).status_code == 429:
            pass  # the count is at most a second old, and the index lags


async def test_the_limit_holds_over_gateways_and_restarts(address: str) -> None:
    """A second gateway, which has admitted nothing itself, counts what the first one did."""
    key = key_named("shared", in_flight=2)
    async with calling(address, key) as [first]:
        answers = [await start(first) for _ in range(2)]
        # The index has them when another count finds them; each refusal is a count.
        async with calling(address, key, gateways=1) as [second]:
            while (answer := await start(second)).status_code == 202:
                answers.append(answer)
    assert problem_of(answer) == "too_many_in_flight"
    # What the index had not seen yet may have come through; never more than a second's.
    assert 2 <= len(answers) <= 4


async def test_so_many_a_day(address: str, temporal: Client) -> None:
    """Those that have ended count, too; `Retry-After` leads to midnight, in UTC."""
    async with calling(address, key_named("three-a-day", starts_per_day=3)) as [http]:
        for _ in range(3):
            accepted = (await start(http)).json()
            await temporal.get_workflow_handle(accepted["workflowId"]).terminate()
        refused = await start(http)
    assert problem_of(refused) == "daily_limit"
    assert int(refused.headers["retry-after"]) <= 86_400


async def test_a_repeated_request_is_no_further_start(address: str) -> None:
    """At the limit, what was accepted before is accepted again: its answer may have been lost."""
    async with calling(address, key_named("again", in_flight=1, starts_per_day=1)) as [http]:
        event = make_event()
        assert (await start(http, event)).status_code == 202
        assert (await start(http)).status_code == 429
        again = await start(http, event)
    assert (again.status_code, again.json()["created"]) == (202, False)


async def test_keys_of_one_owner_share_its_limit(address: str) -> None:
    """A second key brings no second allowance, also before Temporal's index knows of any start."""
    keys = [key_named(name, owner="team", in_flight=2) for name in ("one", "other")]
    async with calling(address, *keys) as [http]:
        answers = []
        for key in keys * 2:
            headers = {"Authorization": f"Bearer {key.name}"}
            answers.append(await http.post("/v1/generations", json=make_event(), headers=headers))
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]


async def test_one_owners_limit_is_no_other_ones(address: str) -> None:
    """What an owner has under way counts for none but itself."""
    odoos = [f"{ODOO}{path}" for path in CALLBACK_PATHS[:2]]
    busy, idle = (
        key_named(name, in_flight=1, callbacks=[odoo])
        for name, odoo in zip(("busy", "idle"), odoos, strict=True)
    )
    async with calling(address, busy, idle) as [http]:
        assert [(await start(http)).status_code for _ in range(2)] == [202, 429]
        other = {"Authorization": "Bearer idle"}
        event = make_event(callbackUrl=odoos[1])
        answer = await http.post("/v1/generations", json=event, headers=other)
    assert answer.status_code == 202


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_rate_holds_for_every_call(address: str, method: str) -> None:
    """Two calls at once with one every 1,000 s: the second is refused, whatever it is."""
    key = key_named("slow", requests_per_second=0.001)
    path = "/v1/generations/00000000-0000-4000-8000-000000000000"
    async with calling(address, key) as [http]:
        tail = "/redeliver" if method == "POST" else ""
        answers = [await http.request(method, path + tail) for _ in range(2)]
    assert answers[0].status_code == 404
    assert problem_of(answers[1]) == "rate_limited"
    assert 900 <= int(answers[1].headers["retry-after"]) <= 1_000


async def test_without_limits_nothing_is_counted(address: str) -> None:
    """A key without limits gets no `RateLimit-*`, and no count is asked for."""
    async with calling(address, key_named("free")) as [http]:
        answer = await start(http)
    assert answer.status_code == 202
    assert not [name for name in answer.headers if name.startswith("ratelimit")]
