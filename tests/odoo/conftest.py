"""A real Odoo 19 with our addon, and the stack beside it, once a session."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import pytest
from aiormq.exceptions import ChannelNotFoundEntity
from playwright.sync_api import Browser

from deploy.local.real_odoo.addon import with_addon
from deploy.local.real_odoo.beside import Beside, stack_for
from deploy.local.real_odoo.configure import configure, connect, set_parameters
from deploy.local.real_odoo.install import installed
from deploy.local.real_odoo.server import RealOdoo, Serving
from deploy.local.real_odoo.site import OdooSite, scratch_site
from deploy.local.stack.config import keep_secrets
from deploy.local.stack.layout import SandboxOptions
from deploy.local.stack.private import private_folder
from tests.developers.world import RECEIVER_PORTS
from tests.odoo.api_user import ApiUser
from tests.odoo.browser import DESKTOP, Visit, Visitor, chromium, customer, is_logged_in, log_in
from tests.odoo.desk import Desk
from tests.odoo.lone import Lone
from tests.odoo.people import LATENCY_SECONDS, PATIENCE_SECONDS
from tests.rabbitmq.server import RabbitServer

TEMPLATE = "with_addon"
Start = Callable[..., Any]


AS_PROCESSES_TOO = {"test_an_image_arrives", "test_the_connection_test_asks_the_workers"}
"""Of the tests with a stack, what is tried with Odoo as several processes each time."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The others are run with several processes by `make test-odoo-full` alone."""
    for item in items:
        name, _, how = item.name.partition("[")
        if "prefork" in how and name not in AS_PROCESSES_TOO:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def site() -> Iterator[OdooSite]:
    """A database server with Odoo's template, and none of ours yet."""
    with scratch_site(installed(), print) as running:
        yield running


@pytest.fixture(scope="session")
def installation(site: OdooSite) -> str:
    """What Odoo said while the addon was installed on the database `TEMPLATE`."""
    return with_addon(site, TEMPLATE)


@pytest.fixture(scope="session")
def new_database(site: OdooSite, installation: str) -> Callable[[str], str]:
    """Makes a database with the addon."""

    def make(name: str) -> str:
        site.clone(TEMPLATE, name)
        return name

    return make


@pytest.fixture(scope="session")
def running(site: OdooSite, new_database: Callable[[str], str]) -> Start:
    """A context manager: an Odoo on a new database and a stack beside it, both its own."""

    @contextmanager
    def run(
        name: str,
        how: Serving | None = None,
        delivery: str = "callback",
        more: Callable[[RealOdoo, Path], dict[str, Any]] = lambda *_: {},
    ) -> Iterator[Beside]:
        options = SandboxOptions(latency_seconds=LATENCY_SECONDS)
        with RealOdoo(site, new_database(name), print, how) as odoo:
            home = site.home / name
            rest = more(odoo, home)
            with stack_for(
                odoo, home, say=print, delivery=delivery, options=options, **rest
            ) as stack:
                configure(odoo, stack)
                yield Beside(odoo, stack)

    return run


@pytest.fixture(scope="session")
def broker(site: OdooSite) -> Iterator[RabbitServer]:
    """A RabbitMQ that is known to the stack of `threaded`, and runs when a test starts it."""
    server = RabbitServer(site.home / "rabbitmq")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def threaded(running: Start, broker: RabbitServer) -> Iterator[Beside]:
    """Odoo as one process with threads; outcomes come to its callback.

    Those that name its other origin come through RabbitMQ.
    """

    def at_two_addresses(odoo: RealOdoo, home: Path) -> dict[str, Any]:
        known = keep_secrets(private_folder(home) / "secrets.json")
        secret = {"signing_secret": known.odoo_signing_secret}
        called = {"origin": odoo.url, "token": known.odoo_token, **secret}
        listens = {"origin": other_origin(odoo), "delivery": "rabbitmq", **secret}
        tables = {
            "odoo": [called, listens],
            "rabbitmq": {"publish_outcomes": False},
            "webhooks": {"private": [f"http://127.0.0.1:{port}" for port in RECEIVER_PORTS]},
        }
        return {"rabbitmq_url": broker.url, "overrides": tables}

    with running("threaded", more=at_two_addresses) as beside:
        yield beside


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Without a key and a session."""
    async with httpx.AsyncClient(timeout=200, trust_env=False) as client:
        yield client


@pytest.fixture
async def user(threaded: Beside, http: httpx.AsyncClient) -> ApiUser:
    """An API user who was not there before, with five credits."""
    return await ApiUser.of(threaded, http)


def other_origin(odoo: RealOdoo) -> str:
    """The same Odoo under another name."""
    return odoo.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="session")
def running_broker(broker: RabbitServer, threaded: Beside) -> RabbitServer:
    """The same, with its clients."""
    broker.start()
    consumer = threaded.stack.supervisor("rabbitmq")
    consumer.stop()  # it would try again within half a minute only
    consumer.start()
    consumer.wait()
    return broker


@pytest.fixture
def at_broker(threaded: Beside, running_broker: RabbitServer) -> Iterator[Desk]:
    """The threaded Odoo, whose requests and outcomes go through RabbitMQ until the test ends."""
    desk = Desk(threaded)
    paths = {"start_path": "rabbitmq", "outcome_path": "rabbitmq"}
    where = {"rabbitmq_url": running_broker.url, "callback_base_url": other_origin(threaded.odoo)}
    with desk.set_up(**paths, **where):
        desk.saves_settings()
        asyncio.run(_made(running_broker.url, desk.outcome_queue))
        yield desk


async def _made(url: str, queue: str) -> None:
    """Wait until this Odoo has made its queue: before, outcomes reach nobody."""
    async with asyncio.timeout(PATIENCE_SECONDS), await aio_pika.connect(url) as connection:
        while True:
            with suppress(ChannelNotFoundEntity):
                channel = await connection.channel()
                await channel.declare_queue(queue, passive=True)
                return
            await asyncio.sleep(0.2)


@pytest.fixture(scope="session")
def prefork(running: Start) -> Iterator[Beside]:
    """Odoo as several processes; outcomes come by odoorpc."""
    with running("prefork", Serving(workers=2), "odoorpc") as beside:
        yield beside


@pytest.fixture(params=["threaded", "prefork"])
def beside(request: pytest.FixtureRequest) -> Beside:
    """Either of them."""
    chosen: Beside = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(params=["temporal", "gateway"])
def start_path(request: pytest.FixtureRequest, beside: Beside) -> str:
    """How Odoo starts a generation, set in `beside`."""
    path: str = request.param
    set_parameters(connect(beside.odoo), {"duragen.start_path": path})
    return path


@pytest.fixture
def image_storage(beside: Beside) -> Iterator[Callable[[str], None]]:
    """Chooses where images stay, until the test ends."""
    session = connect(beside.odoo)

    def choose(where: str) -> None:
        set_parameters(session, {"duragen.image_storage": where})

    with ExitStack() as after:
        after.callback(choose, "odoo")
        yield choose


@pytest.fixture(scope="session")
def lone(site: OdooSite, new_database: Callable[[str], str]) -> Iterator[Lone]:
    """A threaded Odoo without a Duragen."""
    with Lone.on(RealOdoo(site, new_database("lone"), print, Serving(cron_threads=0))) as alone:
        yield alone


@pytest.fixture(scope="session")
def lone_prefork(site: OdooSite, new_database: Callable[[str], str]) -> Iterator[Lone]:
    """The same as several processes."""
    how = Serving(workers=2, cron_threads=0)
    with Lone.on(RealOdoo(site, new_database("lone_prefork"), print, how)) as alone:
        yield alone


@pytest.fixture(params=["lone", "lone_prefork"], ids=["threads", "workers"])
def either(request: pytest.FixtureRequest) -> Lone:
    """Either of them."""
    chosen: Lone = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file; each visit has cookies of its own."""
    with chromium() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, threaded: Beside) -> Iterator[Visit]:
    """Opens a tab for a newcomer, who is logged in."""
    contexts = []

    def begin(*, by_form: bool = False, **options: Any) -> Visitor:
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-US", **options})
        contexts.append(context)
        who = customer(threaded)
        if not by_form:
            is_logged_in(context, threaded.odoo, who)
        visitor = Visitor(context.new_page(), threaded.odoo.url)
        if by_form:
            log_in(visitor.page, visitor.url, who)
        return visitor

    yield begin
    for context in contexts:
        context.close()


@pytest.fixture
def images_meet(threaded: Beside) -> Iterator[Callable[..., None]]:
    """Sets what the sandbox does to images, until the test ends."""

    def put(**faults: Any) -> None:
        url = f"{threaded.stack.images_url}/_sandbox/faults"
        httpx.put(url, json=faults, trust_env=False).raise_for_status()

    yield put
    put(latency_seconds=LATENCY_SECONDS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed shows the end of the logs: their folder goes away with the session."""
    report: Any = yield
    site: OdooSite | None = getattr(item, "funcargs", {}).get("site")
    beside: Beside | None = getattr(item, "funcargs", {}).get("beside")
    if report.failed and (site or beside):
        home = site.home if site else beside.odoo.site.home  # type: ignore[union-attr]
        for log in sorted(home.glob("**/logs/*.log")):
            text = log.read_text(errors="replace").splitlines()[-40:]
            report.sections.append((f"the end of {log.name}", "\n".join(text)))
    return report
