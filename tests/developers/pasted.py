"""What a client and a receiver of docs/api.md must do, in whichever language they are."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from standardwebhooks import Webhook

from tests.developers.snippets import NextLine, run, running
from tests.developers.world import PATIENCE_SECONDS, Developer, break_odoo

PROMPT = "a red fox in the snow"
OTHER_SECRET = "whsec_" + "b3RoZXI=" * 4
BODY = '{"type": "generation.completed", "data": {"jobId": "forged"}}'


async def client_gets_an_image(developer: Developer, folder: Path, *command: str) -> None:
    """One image, saved; run again with the same key, the same job and the same charge."""
    before = await developer.balance()
    known = {"API": developer.stack.gateway_url, "KEY": developer.key}
    said = [await run(*command, "order-2", PROMPT, folder=folder, **known) for _ in range(2)]
    [job_id] = await developer.job_ids()
    assert said == [(0, f"completed {job_id} image.png")] * 2
    assert (folder / "image.png").read_bytes().startswith(b"\x89PNG")
    assert await developer.balance() == before - 1


async def client_tries_again(developer: Developer, folder: Path, *command: str) -> None:
    """Odoo is away at the first try, which is a 503; there is one job in the end."""
    await break_odoo(developer.stack, developer.http, status=502, times=2)  # the gateway asks twice
    known = {"API": developer.stack.gateway_url, "KEY": developer.key}
    code, said = await run(*command, "order-2", PROMPT, folder=folder, **known)
    [job_id] = await developer.job_ids()
    assert (code, said) == (0, f"completed {job_id} image.png")


async def client_says_why_not(developer: Developer, folder: Path, *command: str) -> None:
    """A prompt that is refused, the key used for something else, and a key that is none."""
    known = {"API": developer.stack.gateway_url, "KEY": developer.key}
    code, said = await run(*command, "order-2", "forbidden", folder=folder, **known)
    assert (code, "failed" in said, "rephrase" in said) == (1, True, True)
    code, said = await run(*command, "order-2", PROMPT, folder=folder, **known)
    assert (code, "409" in said, "urn:duragen:problem:conflict" in said) == (1, True, True)
    code, said = await run(*command, "order-3", PROMPT, folder=folder, **known | {"KEY": "0" * 40})
    assert (code, "401" in said) == (1, True)
    assert not (folder / "image.png").exists()


class Client:
    """The tests of a client, in the language of the fixture `client`: the command that runs it."""

    async def test_it(self, developer: Developer, tmp_path: Path, client: tuple[str, str]) -> None:
        """From a key and a prompt to a file; a repeat costs nothing."""
        await client_gets_an_image(developer, tmp_path, *client)

    async def test_it_tries_again(
        self, developer: Developer, tmp_path: Path, client: tuple[str, str]
    ) -> None:
        """What passes is tried again, and is one job."""
        await client_tries_again(developer, tmp_path, *client)

    async def test_it_says_why_not(
        self, developer: Developer, tmp_path: Path, client: tuple[str, str]
    ) -> None:
        """What does not pass is not tried again."""
        await client_says_why_not(developer, tmp_path, *client)


async def receiver_verifies(developer: Developer, folder: Path, port: int, *command: str) -> None:
    """It takes what Duragen delivers, once; what is forged or old gets 400."""
    url = f"http://127.0.0.1:{port}/duragen"
    webhook = (await developer.hooks("POST", "", json={"url": url})).json()
    known = {"SECRET": webhook["secret"], "PORT": str(port)}
    async with running(*command, folder=folder, **known) as next_line:
        assert await next_line() == f"listens on 127.0.0.1:{port}"
        await developer.hooks("POST", f"/{webhook['id']}/test")
        assert await next_line() == "webhook.test"
        job_id = (await developer.asks()).json()["jobId"]
        assert await next_line() == f"generation.completed {job_id}"
        await _all_delivered(developer, webhook["id"], 2)
        await _refuses(developer.http, url, webhook["secret"], next_line)
    await developer.hooks("DELETE", f"/{webhook['id']}")


async def _all_delivered(developer: Developer, webhook_id: str, count: int) -> None:
    """Each has got its 204."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await developer.hooks("GET", f"/{webhook_id}/deliveries")
            found = [(each["status"], each["lastStatus"]) for each in answer.json()["deliveries"]]
            if found == [("delivered", 204)] * count:
                return
            await asyncio.sleep(0.05)


async def _refuses(http: httpx.AsyncClient, url: str, secret: str, next_line: NextLine) -> None:
    """What is not signed as it should be; most of these differ from a right one in one thing."""
    for number, wrong in enumerate(_wrong(secret)):
        answer = await http.post(url, content=BODY, headers=wrong)
        assert (number, answer.status_code) == (number, 400)
        assert (await next_line()).startswith("refused: ")
    first, rotated = _body("first"), _body("rotated")
    right = _signed(secret, body=first)
    old = "v1a,of-another-kind " + _signed(OTHER_SECRET, body=rotated)["webhook-signature"]
    both = _signed(secret, body=rotated)
    both["webhook-signature"] = f"{old} {both['webhook-signature']}"
    for body, headers in ((first, right), (first, right), (rotated, both)):
        assert (await http.post(url, content=body, headers=headers)).status_code == 204
    # The second was a repeat: taken, and not handled again.
    said = [await next_line() for _ in range(2)]
    assert said == ["generation.completed first", "generation.completed rotated"]


def _body(job_id: str) -> str:
    return json.dumps({"type": "generation.completed", "data": {"jobId": job_id}})


def _wrong(secret: str) -> list[dict[str, Any]]:
    now, right = datetime.now(UTC), _signed(secret)
    return [
        _signed(OTHER_SECRET),
        _signed(secret, body=BODY + " "),
        _signed(secret, at=now - timedelta(minutes=10)),
        _signed(secret, at=now + timedelta(minutes=10)),
        right | {"webhook-id": "msg_other"},
        right | {"webhook-timestamp": str(int(now.timestamp()) - 1)},
        right | {"webhook-timestamp": "soon"},
        right | {"webhook-signature": "v1,"},
        right | {"webhook-signature": "ü".encode()},
        {name: value for name, value in right.items() if name != "webhook-signature"},
        {},
    ]


def _signed(
    secret: str, identity: str = "", at: datetime | None = None, body: str = BODY
) -> dict[str, Any]:
    """The headers of a delivery of `body`."""
    when, name = at or datetime.now(UTC), identity or f"msg_{uuid4().hex}"
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, when, body),
    }
