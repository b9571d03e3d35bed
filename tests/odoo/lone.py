"""An Odoo with nobody at the other end: what Duragen tells it is what the test sends."""

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
from standardwebhooks import Webhook

from deploy.local.odoo19.configure import (
    ADMIN,
    MANAGER,
    PORTAL,
    USER,
    Login,
    _models,
    _people,
    connect,
    set_parameters,
)
from deploy.local.odoo19.server import RealOdoo

T = TypeVar("T")
REQUEST = "duragen.generation.request"
PATH = "/duragen/v1/callback"
TOKEN = "a-token"
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
CREDITS = 1_000
GATEWAY = Login("gateway", "gateway", ("base.group_user", "duragen.group_gateway"))
_fresh = itertools.count()


class RpcError(Exception):
    """What Odoo raised; `kind` is the exception's name."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data["message"])
        self.kind = str(data["name"])


@dataclass
class Rpc:
    """Calls of one login; from several threads at once, if need be."""

    odoo: RealOdoo
    who: Login
    uid: int = field(init=False)

    def __post_init__(self) -> None:
        self.uid = self._post("common", "login", self.odoo.database, self.who.login, self._word)

    def __call__(self, model: str, method: str, *args: Any, **options: Any) -> Any:
        """The answer of a method. Raises RpcError."""
        ids = (self.odoo.database, self.uid, self._word)
        return self._post("object", "execute_kw", *ids, model, method, args, options)

    @property
    def _word(self) -> str:
        return self.who.password

    def _post(self, service: str, method: str, *args: Any) -> Any:
        params = {"service": service, "method": method, "args": args}
        # A connection of its own, as another process would have.
        with httpx.Client(trust_env=False, timeout=90) as client:
            answer = client.post(f"{self.odoo.url}/jsonrpc", json={"params": params})
        said = answer.raise_for_status().json()
        if "error" in said:
            raise RpcError(said["error"]["data"])
        return said["result"]


class Lone:
    """The server, and what tests do with it."""

    def __init__(self, odoo: RealOdoo) -> None:
        self.odoo = odoo
        self.admin = Rpc(odoo, ADMIN)
        self.user = Rpc(odoo, USER)
        self.portal = Rpc(odoo, PORTAL)
        self.gateway = Rpc(odoo, GATEWAY)
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
            _people(session, (MANAGER, USER, PORTAL, GATEWAY))
            yield cls(odoo)

    def someone(self, credits_left: int) -> Rpc:
        """A new user with so many credits."""
        login = f"user{next(_fresh)}"
        who = Login(login, login, ("base.group_user", "duragen.group_user"))
        _people(connect(self.odoo), [who])
        user = Rpc(self.odoo, who)
        vals = {"user_id": user.uid, "credits": credits_left - CREDITS}
        wizard = self.admin("duragen.grant.credits", "create", vals)
        self.admin("duragen.grant.credits", "action_grant", [wizard])
        return user

    def asks(self, who: Rpc | None = None, **vals: Any) -> dict[str, Any]:
        """A submitted request's record."""
        wanted = {"prompt": "a fox", "model_id": self.model, "resolution": "256x256", **vals}
        [made] = (who or self.user)(REQUEST, "submit_generation", wanted)
        return self.reads(made)

    def reads(self, request: int) -> dict[str, Any]:
        """A request's record."""
        fields = ["request_id", "correlation_id", "state", "charged", "price", "image_ids"]
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

    def sql(self, text: str) -> list[list[str]]:
        """Rows of a query, or none."""
        said = self.odoo.site.postgres.sql(self.odoo.database, text)
        return [line.split("|") for line in said.splitlines()]

    def tells(
        self,
        event: Any,
        path: str = PATH,
        *,
        late: timedelta = timedelta(),
        **headers: str | None,
    ) -> httpx.Response:
        """The answer to a callback, sound but for what is changed; a header that is None is left out."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        stamp = datetime.now(UTC) - late
        sound: dict[str, str | None] = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(stamp.timestamp())),
            "webhook-signature": Webhook(SECRET).sign("msg_1", stamp, body.decode("latin-1"))
            if isinstance(event, bytes)
            else Webhook(SECRET).sign("msg_1", stamp, body.decode()),
        }
        changed = {**sound, **{name.replace("_", "-"): value for name, value in headers.items()}}
        with httpx.Client(trust_env=False, timeout=90) as client:
            return client.post(
                self.odoo.url + path,
                content=body,
                headers={name: value for name, value in changed.items() if value is not None},
            )


def completed(record: Mapping[str, Any], data: bytes, **changes: Any) -> dict[str, Any]:
    """EVT-AIG-002 of a request, with the image inside unless `imageUrl` says where it is."""
    event = {
        "requestId": record["request_id"],
        "correlationId": record["correlation_id"],
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
    ids = {"requestId": record["request_id"], "correlationId": record["correlation_id"]}
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
