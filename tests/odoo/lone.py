"""An Odoo without a Duragen: what Duragen would deliver is what the test sends."""

import base64
import hashlib
import hmac
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx

from deploy.local.real_odoo.configure import (
    ADMIN,
    USER,
    Login,
    _models,
    _people,
    connect,
    set_parameters,
)
from deploy.local.real_odoo.server import RealOdoo

T = TypeVar("T")
REQUEST = "duragen.generation.request"
PATH = "/duragen/v1/callback"
TOKEN = "a-token"
KEY = b"k" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CREDITS = 1_000
_fresh = itertools.count()
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loading the machine's takes longer than a call, and these calls are without TLS."""


class RpcError(Exception):
    """What Odoo raised; `kind` is the exception's name."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data["message"])
        self.kind = str(data["name"])


class Rpc:
    """Calls of one login, as its browser makes them; from several threads at once, if need be."""

    def __init__(self, odoo: RealOdoo, who: Login) -> None:
        self._url = odoo.url
        params = {"db": odoo.database, "login": who.login, "password": who.password}
        with httpx.Client(base_url=odoo.url, trust_env=False, timeout=90) as client:
            answer = client.post("/web/session/authenticate", json={"params": params})
            self.cookies = dict(client.cookies)
        self.uid: int = answer.raise_for_status().json()["result"]["uid"]

    def __call__(self, model: str, method: str, *args: Any, **options: Any) -> Any:
        """The answer of a method. Raises RpcError."""
        params = {"model": model, "method": method, "args": args, "kwargs": options}
        with self.browser() as client:  # its own connection, as another tab would have
            answer = client.post("/web/dataset/call_kw", json={"params": params})
        said = answer.raise_for_status().json()
        if "error" in said:
            raise RpcError(said["error"]["data"])
        return said.get("result")  # a method that returns nothing has none

    def browser(self) -> httpx.Client:
        """An HTTP client with this login's cookie."""
        return httpx.Client(base_url=self._url, cookies=self.cookies, trust_env=False, timeout=90)


class Lone:
    """The server, and what tests do with it."""

    def __init__(self, odoo: RealOdoo) -> None:
        self.odoo = odoo
        self.admin = Rpc(odoo, ADMIN)
        self.user = Rpc(odoo, USER)
        [self.model] = self.admin("duragen.ai.model", "search", [], limit=1)

    @classmethod
    @contextmanager
    def on(cls, odoo: RealOdoo) -> "Iterator[Lone]":
        """Runs the server until the block ends. No cron runs unless a test runs it."""
        with odoo:
            session = connect(odoo)
            settings = {
                "start_path": "gateway",
                "gateway_url": "http://127.0.0.1:1",  # where nobody listens
                "callback_token": TOKEN,
                "signing_secret": SECRET,
                "initial_credits": str(CREDITS),
                "api_rate_per_minute": "100000",  # as fast as the machine can
            }
            set_parameters(
                session,
                {
                    "web.base.url": odoo.url,
                    "web.base.url.freeze": "True",
                    **{f"duragen.{name}": value for name, value in settings.items()},
                },
            )
            _models(session)
            _people(session, (USER,))
            yield cls(odoo)

    def someone(self, credits_left: int) -> Rpc:
        """A new user with so many credits."""
        login = f"user{next(_fresh)}"
        template = self.user.uid
        quiet = {"no_reset_password": True}
        uid = self.admin("res.users", "copy", [template], {"login": login}, context=quiet)
        # A password as everybody has: making another takes Odoo longer than all the rest.
        [uid] = uid if isinstance(uid, list) else [uid]
        same = f"(SELECT password FROM res_users WHERE id = {template})"
        self.sql(f"UPDATE res_users SET password = {same} WHERE id = {uid}")
        user = Rpc(self.odoo, Login(login, USER.password))
        vals = {"user_id": user.uid, "credits": credits_left - CREDITS}
        wizard = self.admin("duragen.grant.credits", "create", vals)
        self.admin("duragen.grant.credits", "action_grant", [wizard])
        return user

    def forgets(self, user: Rpc) -> None:
        """As if he had never been here: no account, and nothing booked."""
        for table in ("duragen_credit_entry", "duragen_account"):
            self.sql(
                f"ALTER TABLE {table} DISABLE TRIGGER USER;"
                f"DELETE FROM {table} WHERE user_id = {user.uid};"
                f"ALTER TABLE {table} ENABLE TRIGGER USER"
            )

    def asks(self, who: Rpc | None = None, **vals: Any) -> dict[str, Any]:
        """A submitted request's record."""
        wanted = {"prompt": "a fox", "model_id": self.model, "resolution": "256x256", **vals}
        [made] = (who or self.user)(REQUEST, "submit_generation", wanted)
        return self.reads(made)

    def reads(self, request: int) -> dict[str, Any]:
        """A request's record."""
        fields = ["request_uuid", "correlation_uuid", "state", "charged", "price", "image_ids"]
        [row] = self.admin(REQUEST, "read", [request], [*fields, "entry_ids", "user_id"])
        found: dict[str, Any] = row
        return found

    def ledger(self, request: int) -> list[tuple[str, int]]:
        """Kind and effect of a request's entries, in their order."""
        rows = self.sql(
            f"SELECT kind, delta FROM duragen_credit_entry WHERE request_id = {request} ORDER BY id"
        )
        return [(kind, int(delta)) for kind, delta in rows]

    def balance(self, user: Rpc) -> int:
        """What the account holds; also checked to be the sum of its entries."""
        [[balance, booked]] = self.sql(
            "SELECT a.balance, sum(e.delta) FROM duragen_account a JOIN duragen_credit_entry e"
            f" ON e.account_id = a.id WHERE a.user_id = {user.uid} GROUP BY a.id"
        )
        assert balance == booked
        return int(balance)

    def stores_images_at(self, origins: str) -> None:
        """From then on links may lead there, and to no other place."""
        self.admin("ir.config_parameter", "set_param", "duragen.image_origins", origins)

    def sql(self, text: str) -> list[list[str]]:
        """Rows of a query, or none."""
        said = self.odoo.site.postgres.sql(self.odoo.database, text)
        return [line.split("|") for line in said.splitlines()]

    def delivers(
        self,
        event: Any,
        path: str = PATH,
        *,
        late: timedelta = timedelta(),
        source: str | None = None,
        **headers: str | None,
    ) -> httpx.Response:
        """The answer to a callback, sound but for what is changed; None leaves a header out.

        `source` is the loopback address that it comes from.
        """
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        stamp = datetime.now(UTC) - late
        sound: dict[str, str | None] = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(stamp.timestamp())),
            "webhook-signature": _signature(stamp, body),
        }
        changed = {**sound, **{name.replace("_", "-"): value for name, value in headers.items()}}
        transport = httpx.HTTPTransport(local_address=source, verify=_NO_AUTHORITIES)
        with httpx.Client(transport=transport, timeout=90) as client:
            return client.post(
                self.odoo.url + path,
                content=body,
                headers={name: value for name, value in changed.items() if value is not None},
            )


def _signature(stamp: datetime, body: bytes) -> str:
    # The library signs texts alone, and some of our bodies are none.
    signed = f"msg_1.{int(stamp.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()


def completed(record: Mapping[str, Any], data: bytes, **changes: Any) -> dict[str, Any]:
    """EVT-AIG-002 of a request, with the image inside unless `imageUrl` says where it is."""
    event = {
        "requestId": record["request_uuid"],
        "correlationId": record["correlation_uuid"],
        "status": "completed",
        "imageMetadata": {"format": "png", "size": len(data), "width": 8, "height": 9},
        "hashValue": hashlib.sha256(data).hexdigest(),
        **changes,
    }
    if "imageUrl" not in event:
        event.setdefault("imageData", base64.b64encode(data).decode())
    return event


def failed(record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """EVT-AIG-003 of a request."""
    ids = {"requestId": record["request_uuid"], "correlationId": record["correlation_uuid"]}
    return {**ids, "status": "failed", "errorMessage": "down", "errorCode": "JOB_LOST", **changes}


def at_once(number: int, call: Callable[[int], T]) -> list[T | Exception]:
    """What `call(0)`, `call(1)`… return or raise, all begun at the same moment."""
    begin = threading.Barrier(number)

    def one(position: int) -> T | Exception:
        begin.wait()
        try:
            return call(position)
        except Exception as error:  # noqa: BLE001  # it is the answer
            return error

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))
