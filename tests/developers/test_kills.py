"""Gateway and Odoo killed between each two steps of a request: charged is made, made is charged.

`make test-developers-full` kills 200 times, by `KILLS`.
"""

import os
import random
from collections.abc import Awaitable, Callable, Sequence

import httpx

from deploy.local.stack.local_stack import LocalStack
from tests.developers.killing import (
    Asked,
    at_step,
    down,
    during_the_hook,
    in_a_burst,
    insist,
    judged,
    up,
    while_it_is_made,
)
from tests.developers.world import CREDITS, Developer

KILLS = int(os.environ.get("KILLS", "8"))
IN_A_BURST = 2
"""Kills in one burst; of ten kills two are in a burst."""

USERS = 2
WHO = (("odoo",), ("gateway",), ("odoo", "gateway"))
Step = Callable[[LocalStack, httpx.AsyncClient, Developer, Sequence[str]], Awaitable[Asked]]


def _of_odoo(at: str) -> Step:
    async def step(
        stack: LocalStack, http: httpx.AsyncClient, developer: Developer, names: Sequence[str]
    ) -> Asked:
        return await at_step(stack, http, developer, at, names)

    return step


STEPS: tuple[Step, ...] = (
    *(_of_odoo("asked"), _of_odoo("committed"), during_the_hook),
    *(_of_odoo("started"), _of_odoo("answering"), while_it_is_made),
)


async def test_charged_is_made_and_made_is_charged(
    whole: LocalStack, http: httpx.AsyncClient
) -> None:
    """Whoever dies, and when: each key has one job, which ends, and all credits add up."""
    chance = random.Random(20_261_127)  # the same kills in every run
    asked: list[tuple[Developer, Asked]] = []
    bursts = max(KILLS // 10, 1)
    for number in range(KILLS - bursts * IN_A_BURST):
        turn, step = divmod(number, len(STEPS))
        developer = await Developer.new(whole, http)
        # After three turns each has been killed at each step.
        names = WHO[(turn + number % 2) % len(WHO)]
        asked.append((developer, await STEPS[step](whole, http, developer, names)))
    for _ in range(bursts):
        users = [await Developer.new(whole, http) for _ in range(USERS)]
        kills = [(chance.randrange(USERS * CREDITS), chance.choice(WHO)) for _ in range(IN_A_BURST)]
        asked += await in_a_burst(whole, users, kills)
    counts = await judged(whole, asked)
    print(counts)
    assert counts == (len(asked), counts.sent, len(asked), 0, 0, 0, 0, 0)


async def test_temporal_is_away(developer: Developer, whole: LocalStack) -> None:
    """202 all the same: it is charged, and started when Temporal is back."""
    await down(whole, ["temporal"])
    try:
        answer = await developer.asks(idempotency_key="k")
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert (await developer.status(answer.json()["jobId"]))["status"] == "pending"
    finally:
        await up(whole, ["temporal"])
    await developer.becomes(answer.json()["jobId"], "completed")
    await down(whole, ["temporal"])
    try:  # what has ended needs no Temporal to say so
        ended = await developer.asks(idempotency_key="k", prefer="wait=60")
        assert (ended.status_code, ended.json()["status"]) == (200, "completed")
    finally:
        await up(whole, ["temporal"])
    again = await insist(developer, "k")
    counts = await judged(whole, [(developer, again)])
    assert again.job_id == answer.json()["jobId"]
    assert counts == (1, 1, 1, 0, 0, 0, 0, 0)


async def test_odoo_is_gone(developer: Developer, whole: LocalStack) -> None:
    """503 with what to do, and nothing is lost: the same request is one job when it is back."""
    await down(whole, ["odoo"])
    try:
        answer = await developer.asks(idempotency_key="k")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "same Idempotency-Key" in answer.json()["detail"]
        unsure = await developer.asks()
        assert (unsure.status_code, unsure.json()["type"][-11:]) == (503, "unavailable")
        assert "may have charged it: look" in unsure.json()["detail"]
    finally:
        await up(whole, ["odoo"])
    for _ in range(2):
        asked = await insist(developer, "k")
        counts = await judged(whole, [(developer, asked)])
        assert counts == (1, 1, 1, 0, 0, 0, 0, 0)
