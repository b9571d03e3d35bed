"""The embedded stack with a real Odoo in the sandbox's place."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from deploy.local.real_odoo.addon import with_addon
from deploy.local.real_odoo.configure import configure, technical_user
from deploy.local.real_odoo.install import installed, timed
from deploy.local.real_odoo.server import RealOdoo, Serving
from deploy.local.real_odoo.site import OdooSite, Say
from deploy.local.stack.config import keep_secrets, merge
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.local_stack import LocalStack
from deploy.local.stack.parts import ALL_PARTS
from deploy.local.stack.ports import Ports

DATABASE = "duragen19"


class Beside(NamedTuple):
    """Odoo and the stack that it works with, both running."""

    odoo: RealOdoo
    stack: LocalStack


@contextmanager
def stack_with_odoo(  # each is LocalStack's own
    home: Path,
    parts: Collection[str] = ALL_PARTS,
    *,
    say: Say,
    ports: Ports | None = None,
    options: SandboxOptions | None = None,
    overrides: Mapping[str, Any] | None = None,
    disposable: bool = False,
) -> Iterator[Beside]:
    """Everything that runs in `home`: a database server, Odoo with our addon, the stack.

    Odoo's databases that cannot be read any more are made anew where they are `disposable`.

    Raises what LocalStack does, OdooUnavailableError and OdooFailedError.
    """
    home = home.resolve()
    with OdooSite.of(installed(say), home, say, disposable=disposable) as site:
        with timed("addon", say):
            with_addon(site, DATABASE)
        odoo = RealOdoo(site, DATABASE, say, Serving(port=ports.odoo if ports else 0))
        stack = stack_for(
            odoo, home, parts, say=say, ports=ports, options=options, overrides=overrides
        )
        with timed("Odoo", say):
            odoo.start()
        try:
            with timed("the rest", say):
                stack.start()
            with timed("settings", say):
                configure(odoo, stack)
            yield Beside(odoo, stack)
        finally:
            stack.stop()
            odoo.stop()


def stack_for(  # noqa: PLR0913  # each is LocalStack's own
    odoo: RealOdoo,
    home: Path,
    parts: Collection[str] = ALL_PARTS,
    *,
    say: Say,
    delivery: str = "callback",
    ports: Ports | None = None,
    options: SandboxOptions | None = None,
    rabbitmq_url: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LocalStack:
    """The stack for a real Odoo, not started yet; `configure` then sets it up in Odoo."""
    home.mkdir(parents=True, exist_ok=True)
    who = technical_user(keep_secrets(home / "secrets.json"))
    account = {"database": odoo.database, "login": who.login, "password": who.password}
    ours = {"odoo": {"delivery": delivery, **account}, "developers": account}
    return LocalStack(
        home,
        [part for part in parts if part != "odoo"],
        # Odoo's port is handed on so that no part takes it.
        ports=replace(ports or Ports(), odoo=odoo.port),
        options=options,
        odoo_url=odoo.url,
        rabbitmq_url=rabbitmq_url,
        overrides=merge(ours, overrides or {}),
        say=say,
    )
