"""RabbitMQ, as Odoo uses it: requests are published, outcomes are read. Needs the package `pika`.

This module imports nothing of Odoo. Errors are those of `starter.client`, so that a start by the
broker waits in the outbox as any other does.
"""

import json
import logging
import ssl
import time
from contextlib import contextmanager, suppress
from functools import cache
from urllib.parse import urlsplit

from .starter.client import SetupError, UnavailableError, canonical, normalized, traced

REQUESTED, VERSION = "AIGenerationJobRequested", "1"
PERSISTENT = 2

CONNECT_SECONDS = 5.0
HEARTBEAT, LISTENING_HEARTBEAT = 1, 60
"""Seconds. A broker that falls silent is given up after twice this and ten more. The second: while
an image is fetched nobody answers the broker, which waits for two of them."""

LOOK_SECONDS = 1.0
"""So often a listener looks at the clock."""

MOST_LEFT = 50
"""So many outcomes that have to stay may lie before one that can be applied."""

UNLIMITED = 2**31 - 1
"""Outcomes that have to stay are given out again and again; RabbitMQ 4 would take them for poison
after 20 times."""

REFUSED_SUFFIX = ".refused"
"""Behind the name of the queue: where outcomes go that Odoo can never apply."""


class UncertainError(UnavailableError):
    """The broker has not said yes: it may have the request all the same."""


class NoOutcomeError(Exception):
    """The message is no JSON object."""


class Broker:
    """One broker; each call has a connection of its own, for pika's may not be shared by threads.

    Methods raise SetupError when something must be set or made first, and UnavailableError when a
    later try may do.
    """

    def __init__(self, url, exchange, queue, keys):
        self._url = url
        self._exchange = exchange
        self._queue = queue
        self._requested, self._completed, self._failed = keys

    def publish(self, event, seconds):
        """Return when a queue of Duragen's has the request. Publishing it twice starts it once.

        Raises UncertainError when nobody knows whether the broker has it, ValidationError when the
        event is malformed. `seconds` is for connecting.
        """
        pika = _pika()
        event = normalized(event)
        with traced(event) as carrier, self._channel(seconds, HEARTBEAT) as channel:
            channel.confirm_delivery()
            properties = pika.BasicProperties(
                content_type="application/json",
                delivery_mode=PERSISTENT,
                message_id=event["requestId"],
                correlation_id=event["correlationId"],
                type=REQUESTED,
                app_id="odoo",
                headers={"schema-version": VERSION, **carrier},
            )
            unsure = (pika.exceptions.AMQPConnectionError, pika.exceptions.NackError, OSError)
            try:
                channel.basic_publish(
                    self._exchange, self._requested, canonical(event), properties, mandatory=True
                )
            except unsure as error:
                raise UncertainError(f"RabbitMQ did not confirm it: {_said(error)}") from None

    def check(self, seconds):
        """Return when the broker lets us in and has the exchange."""
        with self._channel(seconds, HEARTBEAT) as channel:
            channel.exchange_declare(self._exchange, passive=True)

    def listen(self, take, patience, most):
        """Give each outcome to `take(headers, body)`, until none has come for `patience` seconds.

        No longer than `most` seconds, and then to the end of the one that is taken.

        What `take` returns settles it: True takes it off the queue, False puts it with those that
        are refused, None leaves it there for the next time.
        """
        began = last = time.monotonic()
        with self._channel(CONNECT_SECONDS, LISTENING_HEARTBEAT) as channel:
            self._declare(channel)
            channel.basic_qos(prefetch_count=MOST_LEFT)
            for method, properties, body in channel.consume(
                self._queue, inactivity_timeout=LOOK_SECONDS
            ):
                if method is not None:
                    taken = take(properties.headers or {}, body)
                    if taken:
                        channel.basic_ack(method.delivery_tag)
                    elif taken is not None:
                        channel.basic_nack(method.delivery_tag, requeue=False)
                    last = time.monotonic()
                now = time.monotonic()
                if now - last > patience or now - began > most:
                    return

    def _declare(self, channel):
        refused = self._queue + REFUSED_SUFFIX
        lasting = {"x-queue-type": "quorum", "x-delivery-limit": UNLIMITED}
        # With an exchange of its own: writing to the default one is writing to every queue.
        channel.exchange_declare(refused, "fanout", durable=True)
        channel.queue_declare(refused, durable=True, arguments=lasting)
        channel.queue_bind(refused, refused)
        channel.queue_declare(
            self._queue, durable=True, arguments={**lasting, "x-dead-letter-exchange": refused}
        )
        for key in (self._completed, self._failed):
            channel.queue_bind(self._queue, self._exchange, key)

    @contextmanager
    def _channel(self, seconds, heartbeat):
        exceptions = _pika().exceptions
        parameters = self._parameters(seconds, heartbeat)
        place = f"RabbitMQ at {parameters.host}:{parameters.port}"
        try:
            connection = _connected(parameters)
            try:
                yield connection.channel()
            finally:
                # What was asked for is done or has failed by now.
                with suppress(exceptions.AMQPError, OSError):
                    connection.close()
        except exceptions.UnroutableError:
            raise SetupError(
                f"{place}: no queue takes {self._requested!r} from the exchange"
                f" {self._exchange!r}: start `duragen rabbitmq`, which makes one"
            ) from None
        except exceptions.ChannelClosedByBroker as error:
            raise SetupError(f"{place}: {_refusal(error, self._exchange)}") from None
        except (
            exceptions.ProbableAuthenticationError,
            exceptions.ProbableAccessDeniedError,
        ) as error:
            raise SetupError(f"{place} lets nobody in with this address: {_said(error)}") from None
        except (exceptions.AMQPError, OSError) as error:
            raise UnavailableError(f"{place} does not answer: {_said(error)}") from None

    def _parameters(self, seconds, heartbeat):
        pika = _pika()
        if not _is_address(self._url):
            raise SetupError("RabbitMQ's address must be amqps://USER:PASSWORD@HOST[:PORT]/VHOST")
        parameters = pika.URLParameters(self._url)
        if parameters.ssl_options:
            trusted = ssl.create_default_context()  # and whom SSL_CERT_FILE names
            parameters.ssl_options = pika.SSLOptions(trusted, parameters.host)
        parameters.socket_timeout = parameters.stack_timeout = seconds
        # Blocked by an alarm, or silent: neither may hold a page up for longer.
        parameters.blocked_connection_timeout = seconds
        parameters.heartbeat = heartbeat
        parameters.connection_attempts = 1
        return parameters


def outcome_of(body):
    """The JSON object of a message. Raises NoOutcomeError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise NoOutcomeError("the outcome must be a JSON object")


def _connected(parameters):
    pika = _pika()
    try:
        return pika.BlockingConnection(parameters)
    except (pika.exceptions.AMQPError, OSError):
        raise
    except Exception as error:
        # A port that says nothing, a name that cannot be one: pika has no common class for these.
        raise OSError(_said(error)) from None


def _is_address(url):
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"amqp", "amqps"} and parts.hostname and parts.port != 0
    except ValueError:
        return False
    # pika wants a password beside a user; a query could change all that we set.
    return bool(known) and (parts.username is None) == (parts.password is None) and not parts.query


def _refusal(error, exchange):
    text = str(error.reply_text)[:300]
    if error.reply_code == 404:
        return (
            f"{text}. `duragen rabbitmq` makes what it needs when it is started; or make the topic"
            f" exchange {exchange!r}"
        )
    return f"{text}. The page on Odoo in Duragen's documentation lists the rights that are needed"


def _said(error):
    words = " ".join(str(part) for part in getattr(error, "args", ()) if part)
    return (words or type(error).__name__)[:300]


@cache
def _pika():
    try:
        import pika
        import pika.exceptions
        import pika.spec
    except ImportError:
        raise SetupError(
            "the Python package pika is missing: pip install pika, into the Python that runs Odoo"
        ) from None

    class Properties(pika.BasicProperties):
        """Those of a message whose headers nobody can decode are none.

        pika gives up the connection otherwise; the message would come again, for ever.
        """

        def decode(self, encoded, offset=0):
            try:
                return super().decode(encoded, offset)
            except Exception:
                self.headers = None
                return self

    # What it writes in its log, loudly and in several lines, we say in our own words, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    pika.spec.props[pika.BasicProperties.INDEX] = Properties
    return pika
