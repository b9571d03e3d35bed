"""RabbitMQ: its settings, connections, and what its refusals mean in plain words.

The entry point and the worker share them. AMQP 0-9-1 by aio-pika, without its "robust" connection:
whoever uses one here has to know that it was lost, for what was open on it is open no more.
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Annotated
from urllib.parse import unquote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AMQPConnectionError,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
)
from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from contracts.broker import (
    DEAD_LETTER_EXCHANGE,
    DEAD_LETTER_QUEUE,
    EXCHANGE,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_REQUESTED,
    REQUESTS_QUEUE,
)
from contracts.events import HttpUrl
from contracts.plain import one_line
from peers.setting_types import CaFile, Group, OwnCertificate, OwnerName

CONNECT_SECONDS = 15.0
"""From the first packet to a channel that is open."""

CLOSE_SECONDS = 5.0
"""For saying goodbye: a broker that is blocked reads nothing."""

# What the library writes in its log, we say in our own words, once.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


def _amqp_url(given: SecretStr) -> SecretStr:
    text = given.get_secret_value()
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"amqp", "amqps"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise ValueError("must be amqps://USER:PASSWORD@HOST[:PORT]/VHOST, without a query")
    return given


Name = Annotated[str, Field(min_length=1, max_length=255)]
"""Of an exchange, a queue or a routing key; AMQP's short strings have 255 bytes."""


class RabbitTable(Group):
    """`[rabbitmq]`: the broker, and what things are called there."""

    url: Annotated[SecretStr, AfterValidator(_amqp_url)]
    """`amqps://USER:PASSWORD@HOST[:PORT]/VHOST`; `%2F` is the virtual host `/`."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: somebody whom the process trusts (SSL_CERT_FILE)."""
    client_certificate: OwnCertificate | None = None
    """Who we are to a broker that asks for a certificate (mutual TLS): PEM, with its key."""
    exchange: Name = EXCHANGE
    """Topic; requests come in by it, outcomes go out."""
    requested_key: Name = JOB_REQUESTED
    completed_key: Name = JOB_COMPLETED
    failed_key: Name = JOB_FAILED
    queue: Name = REQUESTS_QUEUE
    """Where requests wait for us: a quorum queue."""
    dead_letter_exchange: Name = DEAD_LETTER_EXCHANGE
    dead_letter_queue: Name = DEAD_LETTER_QUEUE
    heartbeat_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    """A connection whose other end has gone without a word is given up after three times this and
    3 s (aiormq); by RabbitMQ after two missed ones."""
    declare: bool = True
    """Make what is missing of these. False: they must be there, made by an operator."""
    prefetch: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Requests that one process has in hand, not settled yet."""
    delivery_limit: Annotated[int, Field(ge=1, le=1_000)] = 20
    """So often a request may come again unsettled; then the broker makes a dead letter of it."""
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, Field(ge=0, le=65_535)] = 8_095
    """Of `duragen rabbitmq`: `/health` and `/health/ready`. 0 takes a free port."""
    owner: OwnerName = ""
    """Whose the generations are; "": of those with direct access to Temporal. An Odoo that asks
    the gateway for them needs a key of this owner."""
    callback_url: HttpUrl | None = None
    """Where the outcome goes of a request that names no `callbackUrl`."""
    gateway_url: HttpUrl | None = None
    """The gateway as others reach it, for `assetURL`. Needed by whoever publishes outcomes."""
    publish_outcomes: bool = True
    """Publish the outcome of every generation, once its Odoo has it."""
    cloudevents_source: str | None = None
    """CloudEvents attributes on what is published, with this `source`; None: none."""

    @model_validator(mode="after")
    def _asset_urls(self) -> "RabbitTable":
        if self.publish_outcomes and self.gateway_url is None:
            raise ValueError(
                "rabbitmq.gateway_url is missing: outcomes name an address of the gateway that"
                " leads to the image; or set rabbitmq.publish_outcomes = false"
            )
        return self

    @property
    def place(self) -> str:
        """The broker, for messages: without its password."""
        parts = urlsplit(self.url.get_secret_value())
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        return f"RabbitMQ at {parts.hostname}:{port}"

    @property
    def user(self) -> str:
        """As whom we log in."""
        return unquote(urlsplit(self.url.get_secret_value()).username or "guest")


class BrokerError(Exception):
    """The broker cannot be used now; the text names it, what is wrong, and what to do."""


@asynccontextmanager
async def connected(table: RabbitTable, name: str) -> AsyncIterator[AbstractConnection]:
    """A connection, closed at the end; operators see it as `name`. Raises BrokerError."""
    connection = await connect(table, name)
    try:
        yield connection
    finally:
        await close(connection)


async def connect(table: RabbitTable, name: str) -> AbstractConnection:
    """A new connection. Raises BrokerError."""
    url = URL(table.url.get_secret_value()).update_query(
        heartbeat=table.heartbeat_seconds, name=name
    )
    context = None
    if url.scheme == "amqps":
        context = ssl.create_default_context(cafile=table.ca_file)
        if table.client_certificate:
            context.load_cert_chain(table.client_certificate)
    with broker_errors(table):
        async with asyncio.timeout(CONNECT_SECONDS):
            return await aio_pika.connect(url, ssl_context=context)


async def close(connection: AbstractConnection) -> None:
    """Close it; one that does not answer is left to itself."""
    with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
        async with asyncio.timeout(CLOSE_SECONDS):
            await connection.close()


@contextmanager
def broker_errors(table: RabbitTable) -> Iterator[None]:
    """Raise what the library raises as a BrokerError in plain words."""
    try:
        yield
    except TimeoutError as error:
        raise BrokerError(f"{table.place} does not answer in time") from error
    except CONNECTION_EXCEPTIONS as error:
        raise BrokerError(_meaning(table, error)) from error


_NO_VHOST = "does not let {user!r} in: check the VHOST of rabbitmq.url, and the user's rights there"

_MEANINGS: tuple[tuple[type[BaseException], str], ...] = (
    # The more special ones first.
    (ProbableAuthenticationError, "refuses the user {user!r}: check rabbitmq.url"),
    # Of a virtual host that is not there, or not for this user. The second is what the library
    # makes of the broker's answer, which it does not read.
    (ConnectionNotAllowed, _NO_VHOST),
    (InvalidFrameError, _NO_VHOST),
    (
        ChannelAccessRefused,
        (
            "refuses {user!r} a right ({text}): grant it with `rabbitmqctl set_permissions`;"
            " docs/rabbitmq.md lists what is needed"
        ),
    ),
    (
        ChannelNotFoundEntity,
        "lacks something ({text}): set rabbitmq.declare = true, or make it",
    ),
    (
        ChannelPreconditionFailed,
        (
            "has something of that name that is otherwise ({text}): delete it when it is empty,"
            " give ours another name, or set rabbitmq.declare = false"
        ),
    ),
    (DeliveryError, "did not take the message ({text})"),
    (AMQPConnectionError, "cannot be reached ({text})"),
    (OSError, "cannot be reached ({text})"),
    (BaseException, "has failed ({text})"),
)
"""What an error of the library means, and what to do."""


def _meaning(table: RabbitTable, error: BaseException) -> str:
    meant = next(meaning for kind, meaning in _MEANINGS if isinstance(error, kind))
    return f"{table.place} {meant.format(user=table.user, text=_text(error))}"


def _text(error: BaseException) -> str:
    """The server's own words where there are any; never the address with the password in it."""
    words = next((each for each in error.args if isinstance(each, str) and " " in each), "")
    words = words or str(error) or type(error).__name__
    return re.sub(r"//[^@/\s]*@", "//", one_line(words))[:300]


async def silent(table: RabbitTable) -> str | None:
    """Why the broker cannot be used now; None when it lets us in."""
    try:
        async with connected(table, "duragen: a look"):
            return None
    except BrokerError as error:
        return str(error)


async def confirming(connection: AbstractConnection) -> AbstractChannel:
    """A channel on which a message that no queue gets is an error, as one that is not confirmed."""
    return await connection.channel(publisher_confirms=True, on_return_raises=True)
