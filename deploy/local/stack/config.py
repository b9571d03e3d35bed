"""The settings file and the secrets of the embedded stack.

Secrets are made once and kept; the settings file is written again at every start, because ports
may change. A developer's own settings belong in `DURAGEN_*` variables, which win over the file.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import tomli_w

from deploy.local.sandbox.images.protocols import FLUX_MODEL_ID, OPENAI_MODEL_ID, PROTOCOLS
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.ports import Ports
from deploy.local.stack.private import write_private

TWO_ROUTES_MODEL_ID = UUID("33333333-3333-4333-8333-333333333333")
"""`modelId` that goes to OpenAI Images, and to FLUX when that cannot make the image."""

BUCKET = "duragen"
ODOO_DATABASE, ODOO_LOGIN = "sandbox", "duragen"
CALLBACK_PATH = "/duragen/v1/callback"


def _random() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, repr=False)
class Secrets:
    """Every secret of one home folder."""

    api_key: str
    provider_keys: dict[str, str]
    """By kind."""
    s3_access_key: str
    s3_secret_key: str
    store_key: str
    """By which the parts of the store know each other."""
    odoo_token: str
    odoo_signing_secret: str
    odoo_password: str
    developer_key: str
    """An API user's, at the sandbox Odoo."""
    notify_token: str


def keep_secrets(file: Path) -> Secrets:
    """The secrets in `file`; those that are not there yet are made now. Mode 0600."""
    made = Secrets(
        api_key=f"dk_{_random()}",
        provider_keys={each.kind: f"sk-{_random()}" for each in PROTOCOLS},
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=_random(),
        store_key=_random(),
        odoo_token=_random(),
        odoo_signing_secret="whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
        odoo_password=_random(),
        developer_key=secrets.token_hex(20),
        notify_token=_random(),
    )
    found = json.loads(file.read_text()) if file.exists() else {}
    # Another version of the stack may have written it.
    known = {name: value for name, value in found.items() if name in asdict(made)}
    keys = made.provider_keys | known.pop("provider_keys", {})
    kept = replace(made, **known, provider_keys=keys)
    if asdict(kept) != found:
        write_private(file, json.dumps(asdict(kept), indent=2))
    return kept


@dataclass(frozen=True)
class Peers:
    """Who gets outcomes, notifications, alerts, messages: origins. The last three may be absent."""

    odoo: str
    more_odoos: tuple[str, ...] = ()
    """Further addresses by which outcomes may be delivered; each is an Odoo of its own to us."""
    notify: str | None = None
    alerts: str | None = None
    rabbitmq: str | None = None


def settings(ports: Ports, known: Secrets, peers: Peers, home: Path) -> dict[str, Any]:
    """The settings of worker and gateway, with everything pointing at this stack in `home`."""
    images = f"http://{HOST}:{ports.images}"
    routes = {each.model_id: {"provider": each.kind, "model": each.model} for each in PROTOCOLS}
    models = {
        str(each.model_id): {"name": each.title, "routes": [routes[each.model_id]]}
        for each in PROTOCOLS
    }
    both = [routes[OPENAI_MODEL_ID], routes[FLUX_MODEL_ID]]
    models[str(TWO_ROUTES_MODEL_ID)] = {"name": "flare, else FLUX.2", "routes": both}
    tables: dict[str, Any] = {
        "storage": {
            "bucket": BUCKET,
            "endpoint_url": f"http://{HOST}:{ports.s3}",
            "access_key_id": known.s3_access_key,
            "secret_access_key": known.s3_secret_key,
        },
        "providers": {
            each.kind: {
                "kind": each.kind,
                "base_url": images,
                "api_key": known.provider_keys[each.kind],
                **each.settings,
            }
            for each in PROTOCOLS
        },
        "models": models,
        "odoo": [
            {
                "origin": origin,
                "token": known.odoo_token,
                "signing_secret": known.odoo_signing_secret,
                "database": ODOO_DATABASE,
                "login": ODOO_LOGIN,
                "password": known.odoo_password,
            }
            for origin in (peers.odoo, *peers.more_odoos)
        ],
        "gateway": {
            "host": HOST,
            "port": ports.gateway,
            "keys": [
                {
                    "name": "local",
                    "sha256": hashlib.sha256(known.api_key.encode()).hexdigest(),
                    # It sees what clients with direct access to Temporal start.
                    "owner": "",
                }
            ],
        },
        "developers": {
            "url": peers.odoo,
            "database": ODOO_DATABASE,
            "login": ODOO_LOGIN,
            "password": known.odoo_password,
        },
        "worker": {
            "health_host": HOST,
            "health_port": ports.worker,
            "spool_dir": str(home / "spool"),
        },
        # A receiver of webhooks on this machine: everything else that is private is refused.
        "webhooks": {
            "private": [f"http://{name}:{ports.receiver}" for name in (HOST, "localhost")]
        },
    }
    if peers.notify:
        tables["notify"] = {"base_url": peers.notify, "token": known.notify_token}
    if peers.rabbitmq:
        gateway = f"http://{HOST}:{ports.gateway}"
        tables["rabbitmq"] = {"url": peers.rabbitmq, "gateway_url": gateway}
    if peers.alerts:
        tables["alerts"] = {"base_url": peers.alerts, "web_url": f"http://{HOST}:{ports.ui}"}
    return tables


def merge(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `more` over it, table by table.

    A table over a list of tables is merged into each of them: `{"odoo": {"delivery": "odoorpc"}}`.
    """
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        elif isinstance(old, list) and isinstance(value, Mapping):
            merged[key] = [merge(row, value) for row in old]
        else:
            merged[key] = value
    return merged


_HEADER = """\
# Written at every start of the local stack. Your own settings belong in DURAGEN_*
# variables, which win over this file: DURAGEN_PROVIDERS__OPENAI__BASE_URL=…

"""


def to_toml(tables: Mapping[str, Any]) -> str:
    """The text of the settings file."""
    return _HEADER + tomli_w.dumps(tables)
