"""Start, watch and cancel image generations; the file that runs inside Odoo.

Self-contained on purpose, and longer than our other modules for that reason: an Odoo addon carries
this very file, so it imports the standard library, `temporalio` and, when it is there, the
OpenTelemetry API, and runs on Python 3.10. Without `temporalio` it is still what
`gateway_client.py` builds on. Nothing happens at import. `DuragenClient` keeps one thread with its
own event loop per process, made at the first call and again after a fork, which suits threaded and
prefork servers; gevent is not supported.

    DuragenClient        sync; the connection comes from the `TEMPORAL_*` variables and profiles
    AsyncDuragenClient   the same for asyncio
    (gateway_client.py)  the same over HTTP, for those without access to Temporal

Errors, decided by status code and never by text:

    DuragenError
        ValidationError         the event is wrong; `errors` names each field        400, 415, 422
            TooLargeError       the event is over 256 KB                             413
        ConflictError           the requestId is taken by another payload            409
        NotFoundError           no such generation                                   404
        UnauthorizedError       no key, or a wrong one                               401, 403
        SetupError              the server lacks what we need: a namespace, search attributes
        UnavailableError        no answer, also after 3 retries (1 s, factor 2)      503
        NotFinishedError        `result` waited as long as it was asked to
        GenerationFailedError   there is no image; `code` and `detail` say why
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import math
import os
import re
import secrets
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

try:
    from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
    from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import (
        DescribeNamespaceRequest,
        DescribeTaskQueueRequest,
        ListWorkflowExecutionsRequest,
    )
    from temporalio.client import (
        Client,
        Interceptor,
        OutboundInterceptor,
        RPCTimeoutOrCancelledError,
        StartWorkflowInput,
        WorkflowExecutionDescription,
        WorkflowExecutionStatus,
        WorkflowFailureError,
        WorkflowHandle,
        WorkflowQueryFailedError,
        WorkflowUpdateStage,
    )
    from temporalio.common import (
        Priority,
        SearchAttributeKey,
        SearchAttributePair,
        TypedSearchAttributes,
        WorkflowIDConflictPolicy,
        WorkflowIDReusePolicy,
    )
    from temporalio.converter import DataConverter, PayloadConverter
    from temporalio.envconfig import ClientConfig
    from temporalio.exceptions import ApplicationError, CancelledError, WorkflowAlreadyStartedError
    from temporalio.runtime import Runtime, TelemetryConfig
    from temporalio.service import RetryConfig, RPCError, RPCStatusCode
except ImportError:  # the gateway's client needs only what stands above "Temporal"
    Client = None  # type: ignore[assignment, misc]
    Interceptor = OutboundInterceptor = object  # type: ignore[assignment, misc]

try:
    from opentelemetry import baggage, context, trace
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # tracing then is the header alone
    trace = None  # type: ignore[assignment]

T = TypeVar("T")
Event = Mapping[str, Any]

# Repeated from contracts/names.py and contracts/events.py; a test holds them together.
WORKFLOW, WORKFLOW_ID_PREFIX, TASK_QUEUE = "Generation", "generation-", "generation"
WEBHOOK_WORKFLOW, WEBHOOK_ID_PREFIX = "WebhookDelivery", "webhook-"
CONNECTION_WORKFLOW, CONNECTION_ID_PREFIX = "ConnectionTest", "connection-test-"
STATUS_QUERY, DIGEST_MEMO, FAILURE_MEMO = "status", "payloadSha256", "failure"
STATUS_ATTRIBUTE, OWNER_ATTRIBUTE = "GenerationStatus", "Owner"
TRACE_STATE_KEY, TRACE_UNDECIDED = "duragen", "undecided"
KEYS_VARIABLE = "DURAGEN_ENCRYPTION_KEYS"
RETRY_DELIVERY_UPDATE = "retry_delivery"
EVENT_ATTRIBUTES = {
    "requestId": "RequestId",
    "correlationId": "CorrelationId",
    "userId": "UserId",
    "campaignId": "CampaignId",
}
SEARCH_ATTRIBUTES = (*EVENT_ATTRIBUTES.values(), STATUS_ATTRIBUTE, "Provider", "ErrorCode", "Owner")
UUID_FIELDS = ("requestId", "correlationId", "userId", "modelId", "campaignId")
TEXT_FIELDS = ("prompt", "resolution", "aspectRatio", "callbackUrl", "negativePrompt", "cancelAt")
REQUIRED_FIELDS = (*UUID_FIELDS[:4], *TEXT_FIELDS[:4])
INTEGER_FIELDS, NUMBER_FIELDS = ("seed", "inferenceSteps"), ("cfgScale",)
FIELDS = (*UUID_FIELDS, *TEXT_FIELDS, *INTEGER_FIELDS, *NUMBER_FIELDS, "payloadVersion")

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_OWNER = re.compile(r"(?!check-)[a-z0-9][a-z0-9_-]{0,39}", re.ASCII)
MAX_BODY_BYTES = 262_144
# spec: event-driven-architecture, Retry Policies (3 retries, initial 1 s, factor 2)
RETRY_SECONDS = (1.0, 2.0, 4.0)
ATTEMPT_SECONDS = 5.0
USER_GROUPS = 8  # an owner has so many turns at most, however many users it names
CONNECTION_SECONDS = 10.0  # a connection test, once its workflow is started
MOST_MODELS = 500  # of one connection test
QUERY_SECONDS = 1.0  # a worker that is there answers in milliseconds; past this, describe() does


class DuragenError(Exception):
    """The base of all errors that this module raises."""


class ValidationError(DuragenError):
    """The event is wrong. `errors` holds one {"field", "rule", "message"} per fault."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("; ".join(f"{e['field']}: {e['message']}" for e in errors))
        self.errors = errors


class TooLargeError(ValidationError):
    """The event is larger than any entry point takes."""


class ConflictError(DuragenError):
    """The requestId belongs to a generation with another payload."""


class NotFoundError(DuragenError):
    """There is no such generation, or it ended longer ago than Temporal remembers."""


class UnauthorizedError(DuragenError):
    """The key is missing, wrong or not allowed to do this."""


class SetupError(DuragenError):
    """The other side answers but is not set up for us; trying again does not help."""


class UnavailableError(DuragenError):
    """No answer; the event was not refused and may be sent again as it is."""


class LimitedError(UnavailableError):
    """The gateway takes no more from this key for now; the text says of what there was too much."""


class NotFinishedError(DuragenError):
    """The generation goes on; only the waiting ended."""


class GenerationFailedError(DuragenError):
    """It ended without an image. `detail` is for operators, not for end users."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Started(NamedTuple):
    """An accepted generation. `created` is False when the same request was started before."""

    request_id: str
    workflow_id: str
    run_id: str
    created: bool


# The event ------------------------------------------------------------------------------------


def normalized(event: Event) -> dict[str, Any]:
    """The event as all entry points send it: known fields that hold something, UUIDs in lower case.

    An optional field that is None or "" is left out, as the models of `contracts/events.py` do.

    Checks presence and types alone; the complete check belongs to the gateway and the workflow.
    Raises ValidationError, naming every bad field at once.
    """
    errors: list[dict[str, str]] = []
    clean: dict[str, Any] = {}
    for field in FIELDS:
        value = event.get(field)
        if value is None or (value == "" and field not in REQUIRED_FIELDS):
            if field in REQUIRED_FIELDS:
                errors.append({"field": field, "rule": "missing", "message": "is required"})
            continue
        try:
            clean[field] = _checked(field, value)
        except (TypeError, ValueError) as error:
            errors.append({"field": field, "rule": "type", "message": str(error)})
    if errors:
        raise ValidationError(errors)
    if len(canonical(clean)) > MAX_BODY_BYTES:
        raise TooLargeError([{"field": "event", "rule": "size", "message": "is over 256 KB"}])
    return clean


def _checked(field: str, value: object) -> object:
    if field in INTEGER_FIELDS or field in NUMBER_FIELDS:
        return _checked_number(value, whole=field in INTEGER_FIELDS)
    if not isinstance(value, str):
        raise TypeError("must be a string")
    if field in UUID_FIELDS:
        if not _UUID.fullmatch(value):
            raise ValueError("must be a UUID")
        return value.lower()
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if not value and field in REQUIRED_FIELDS:
        raise ValueError("must not be empty")
    return value


def _checked_number(value: object, *, whole: bool) -> float:
    if isinstance(value, str):
        raise TypeError("must be a number without quotes")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("must be a number")
    # 7 and 7.0 are one payload, so each field has one spelling.
    if whole and (isinstance(value, int) or value.is_integer()):
        return int(value)
    if whole or not -1e300 < value < 1e300:
        raise ValueError("must be an integer" if whole else "must be a finite number")
    return float(value)


def canonical(event: Event) -> bytes:
    """The event as JSON that is always the same: sorted keys, compact, UTF-8."""
    return json.dumps(
        event, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(event: Event) -> str:
    """SHA-256 of the canonical JSON of a normalized event; another one is a conflict."""
    return hashlib.sha256(canonical(event)).hexdigest()


def workflow_id_of(request_id: str, owner: str = "") -> str:
    """`generation-{requestId}` of a request id, and `.{owner}` after it when it has an owner.

    Also of one that already is a workflow id. Raises ValidationError.
    """
    text, dot, named = request_id.removeprefix(WORKFLOW_ID_PREFIX).partition(".")
    if not _UUID.fullmatch(text) or (dot and not _OWNER.fullmatch(named)):
        raise ValidationError([{"field": "requestId", "rule": "uuid", "message": "must be a UUID"}])
    owner = named or owner
    return WORKFLOW_ID_PREFIX + text.lower() + (f".{owner}" if owner else "")


def _origin_of(url: str) -> str:
    """scheme://host[:port], as `contracts.events.origin_of`; "" for what is no URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}{'' if port in {None, default} else f':{port}'}"


# Tracing: the correlationId is the trace id -----------------------------------------------------

_carrier: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar(
    "duragen_carrier", default=None
)


@contextmanager
def traced(event: Event) -> Iterator[dict[str, str]]:
    """Open the span `generation.start` in the correlationId's trace; yield its W3C headers."""
    wanted = uuid.UUID(event["correlationId"])
    if trace is None:
        yield {
            "traceparent": f"00-{wanted.hex}-{secrets.token_hex(8)}-01",
            "tracestate": f"{TRACE_STATE_KEY}={TRACE_UNDECIDED}",
        }
        return
    carrier: dict[str, str] = {}
    parent, links = context.get_current(), []
    current = trace.get_current_span().get_span_context()
    if current.trace_id != wanted.int:
        root = _root(wanted, trace.get_tracer("duragen.client"))
        parent = trace.set_span_in_context(trace.NonRecordingSpan(root), parent)
        links = [trace.Link(current)] if current.is_valid else []
    span = trace.get_tracer("duragen.client").start_span(
        "generation.start",
        parent,
        kind=trace.SpanKind.PRODUCER,
        links=links,
        attributes={"duragen.request_id": event["requestId"]},
    )
    inside = trace.set_span_in_context(span, parent)
    # Not the global propagator: the worker reads W3C headers whatever this process speaks.
    TraceContextTextMapPropagator().inject(carrier, inside)
    # From empty baggage: what this process carries for its own peers stays in the house.
    ours = context.Context()
    for name in ("correlationId", "requestId"):
        ours = baggage.set_baggage(name, event[name], ours)
    W3CBaggagePropagator().inject(carrier, ours)
    with trace.use_span(span, end_on_exit=True):
        yield carrier


def _root(wanted: uuid.UUID, tracer: Any) -> Any:
    """A parent for the first span of the trace; the sampler of this process decides, if any.

    The trace id comes from outside, and a UUID's bits are not all random: a ratio of the trace ids
    is decided by a digest.
    """
    sampled, state = True, [(TRACE_STATE_KEY, TRACE_UNDECIDED)]
    sampler = getattr(tracer, "sampler", None)  # the SDK's tracers have one
    if sampler:
        even = int.from_bytes(hashlib.sha256(wanted.bytes).digest()[:16], "big")
        asked = sampler.should_sample(context.Context(), even, "generation.start")
        sampled, state = asked.decision.is_sampled(), []
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else trace.TraceFlags.DEFAULT)
    return trace.SpanContext(
        wanted.int, secrets.randbits(63) + 1, True, flags, trace.TraceState(state)
    )


class _TraceHeader(Interceptor):
    """Puts the carrier where Temporal's OpenTelemetry plugin looks for it in the worker."""

    def intercept_client(
        self,
        next: OutboundInterceptor,  # noqa: A002  # the base class's name
    ) -> OutboundInterceptor:
        return _TraceHeaderOutbound(super().intercept_client(next))


class _TraceHeaderOutbound(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        carrier = _carrier.get()
        if carrier:
            # In clear, also where payloads are encrypted: the SDK reads headers without a codec.
            payload = PayloadConverter.default.to_payloads([carrier])[0]
            input.headers = {**input.headers, "_tracer-data": payload}
        return await super().start_workflow(input)


# Temporal ---------------------------------------------------------------------------------------

_TRANSIENT = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})
_TRANSIENT |= {"INTERNAL", "UNKNOWN", "CANCELLED", "DATA_LOSS"}
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_runtimes: dict[int, Runtime] = {}


def _runtime() -> Runtime:
    """The SDK's runtime of this process: one that was inherited through a fork is of no use."""
    found = _runtimes.get(os.getpid())
    # An inherited one stays in the table: freeing it would wait for threads this process lacks.
    return found or _runtimes.setdefault(os.getpid(), Runtime(telemetry=TelemetryConfig()))


def error_of(error: RPCError) -> DuragenError:
    """The error that an answer of Temporal's server means."""
    if error.status.name in _TRANSIENT:
        return UnavailableError(f"Temporal does not answer ({error.status.name})")
    if error.status.name in _REFUSED:
        return UnauthorizedError(f"Temporal refuses our credentials ({error.status.name})")
    details = error.grpc_status.details
    if any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details):
        return SetupError(f"Temporal lacks the namespace: {error.message}")
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFoundError("there is no such generation")
    return SetupError(f"Temporal refuses the call ({error.status.name}): {error.message}")


class AsyncDuragenClient:
    """Generations over Temporal, for asyncio. Connects at the first call; safe to share.

    Arguments win over the `TEMPORAL_*` variables and the profile, and `encryption_keys` over
    `DURAGEN_ENCRYPTION_KEYS` (`encryption.py`, which must lie beside this file then). Each attempt
    takes at most `timeout` seconds; `retry_seconds` are the pauses before further attempts.
    """

    def __init__(
        self,
        address: str | None = None,
        namespace: str | None = None,
        *,
        api_key: str | None = None,
        tls: bool | None = None,
        encryption_keys: str | None = None,
        timeout: float = ATTEMPT_SECONDS,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        given = {"target_host": address, "namespace": namespace, "api_key": api_key, "tls": tls}
        self._given = {name: value for name, value in given.items() if value}
        self._encryption_keys = encryption_keys
        self._unreadable: tuple[type[Exception], ...] = ()
        self._timeout = timeout
        self._retry_seconds = retry_seconds
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def start(self, event: Event, *, owner: str = "") -> Started:
        """Start the generation of EVT-AIG-001; the same request again gives the run that exists.

        Each `owner` has its requestIds for itself. Without one, the generation belongs to those
        with access to Temporal, and is listed under the origin of its Odoo.

        Raises ValidationError, ConflictError, UnavailableError, UnauthorizedError, SetupError.
        """
        event = normalized(event)
        with traced(event) as carrier:
            token = _carrier.set(carrier)
            try:
                return await self._call(lambda client: _start(client, event, owner))
            finally:
                _carrier.reset(token)

    async def status(self, request_id: str, *, ask_worker: bool = True) -> dict[str, Any]:
        """Where the generation stands; answers at any time, with or without a worker.

        With `ask_worker` False no worker has to work for the answer. A generation that runs then
        has the state that Temporal lists it by, without progress, route and why it is parked.

        Keys: requestId, workflowId, runId, state, progress (percent), route {provider, model},
        image {key, format, size, width, height, sha256}, error {code, detail, hint,
        mayHaveBeenPaid}, parked {code, detail, attempts, nextTry, rests}, None where there is none;
        ignoredFields, those of the request that the route has no place for; activities, the pending
        ones as {type, attempt, heartbeat, lastFailure}; live, whether a worker answered.
        """
        workflow_id = workflow_id_of(request_id)
        return await self._call(lambda client: _status(client, workflow_id, ask_worker=ask_worker))

    async def cancel(self, request_id: str) -> bool:
        """Ask for the cancellation; False when the generation has already ended."""
        workflow_id = workflow_id_of(request_id)
        return await self._call(lambda client: _cancel(client, workflow_id))

    async def redeliver(self, request_id: str) -> None:
        """Have a parked outcome delivered now; returns at once, and `status` says how it goes.

        Nothing happens when it is not parked. Raises NotFoundError when it has ended.
        """
        workflow_id = workflow_id_of(request_id)
        await self._call(lambda client: _redeliver(client, workflow_id))

    async def result(
        self,
        request_id: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the sync twin has it too
    ) -> dict[str, Any]:
        """The image, as in `status`, once everybody who must know has the outcome.

        Raises GenerationFailedError, or NotFinishedError when `timeout` seconds have passed.
        """
        workflow_id = workflow_id_of(request_id)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            wait = min(left, 30.0)
            if await self._call(lambda client: _ended(client, workflow_id, wait), wait):  # noqa: B023
                return image_of(await self.status(request_id))
        raise NotFinishedError(f"{workflow_id} goes on after {timeout} s")

    async def start_webhook(self, delivery: Event, *, owner: str = "") -> bool:
        """Have one webhook of an API user delivered; False when it was started before.

        `delivery` has deliveryId (UUID), source (the Odoo's route that has the request to send),
        receiver (whose it is, any short text), and requestId and correlationId, where there are.
        Raises ValidationError, UnavailableError, UnauthorizedError, SetupError.
        """
        task = webhook_task(delivery)
        return await self._call(lambda client: _start_webhook(client, task, owner))

    async def test_connection(self, test: Event, *, owner: str = "") -> dict[str, Any]:
        """Whether generations of these models could be made, and their outcomes reach Odoo.

        `test` has testId and correlationId (UUIDs), modelIds (a list of UUIDs) and, where the
        callback is to be tried, callbackUrl: a worker sends a test event there, as it sends
        outcomes. Nothing is generated. The answer comes within 10 s and one `timeout`.

        Keys: workflowId; missingAttributes, the search attributes that Temporal lacks, and
        createAttributes, the command that adds them; unservedQueues, the task queues that no worker
        polls; answered, whether a worker answered; unknownModels, the ids that it does not know;
        callback {ok, detail}, where `ok` is None when no call was made.

        Raises ValidationError, ConflictError, UnavailableError, UnauthorizedError, SetupError.
        """
        task = connection_task(test)
        work = lambda client: _test_connection(client, task, owner)  # noqa: E731
        return await self._call(work, CONNECTION_SECONDS)

    async def exists(self, request_id: str) -> bool:
        """Whether Temporal knows this generation."""
        workflow_id = workflow_id_of(request_id)

        async def describe(client: Client) -> bool:
            await client.get_workflow_handle(workflow_id).describe()
            return True

        try:
            return await self._call(describe)
        except NotFoundError:
            return False

    async def count(self, query: str) -> int:
        """How many workflows a visibility query finds; the index lags behind a little."""

        async def counted(client: Client) -> int:
            return (await client.count_workflows(query)).count

        return await self._call(counted)

    async def ping(self) -> None:
        """Return when Temporal answers and has the namespace; raise what `start` would."""

        async def describe(client: Client) -> None:
            request = DescribeNamespaceRequest(namespace=client.namespace)
            await client.workflow_service.describe_namespace(request)

        await self._call(describe)

    async def _call(self, work: Callable[[Client], Awaitable[T]], extra: float = 0) -> T:
        for pause in (*self._retry_seconds, None):
            try:
                return await asyncio.wait_for(self._attempt(work), self._timeout + extra)
            except asyncio.TimeoutError:  # noqa: UP041  # not yet the builtin in Python 3.10
                failure = UnavailableError(f"Temporal does not answer within {self._timeout} s")
            except UnavailableError as error:
                failure = error
            if pause is None:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError  # the loop ends by return or raise

    async def _attempt(self, work: Callable[[Client], Awaitable[T]]) -> T:
        client = self._client or await self._connect()
        try:
            return await work(client)
        except RPCError as error:
            raise error_of(error) from error
        except RPCTimeoutOrCancelledError as error:  # an update that no worker takes
            raise UnavailableError("no worker answers: start one, or try again") from error
        except self._unreadable as error:  # a key that we do not have
            raise SetupError(str(error)) from error

    async def _connect(self) -> Client:
        if Client is None:
            raise SetupError("install the package temporalio, or start through the gateway")
        async with self._connecting:
            if self._client:
                return self._client
            try:
                options: Any = {**ClientConfig.load_client_connect_config(), **self._given}
                options.setdefault("target_host", "localhost:7233")
            except (RuntimeError, ValueError, OSError) as error:
                raise SetupError(f"the TEMPORAL_* settings are wrong: {error}") from error
            converter, self._unreadable = _converter(self._encryption_keys)
            try:
                self._client = await Client.connect(
                    **options,
                    data_converter=converter,
                    interceptors=[_TraceHeader()],
                    runtime=_runtime(),
                    connect_timeout=timedelta(seconds=self._timeout),
                    retry_config=RetryConfig(max_retries=1),  # one attempt: the retries are ours
                )
            except ValueError as error:
                raise SetupError(f"the TEMPORAL_* settings are wrong: {error}") from error
            except RuntimeError as error:  # the SDK has no status code for this one
                host = options["target_host"]
                raise UnavailableError(f"cannot reach Temporal at {host}") from error
            return self._client


def _converter(keys: str | None) -> tuple[DataConverter, tuple[type[Exception], ...]]:
    """How payloads are written and read, and what is raised where a key is missing."""
    try:
        from . import encryption  # noqa: PLC0415  # not everyone carries that file
    except ImportError:
        wanted = keys or os.environ.get(KEYS_VARIABLE) or os.environ.get(f"{KEYS_VARIABLE}_FILE")
        if wanted:
            raise SetupError("to encrypt, encryption.py must lie beside client.py") from None
        return DataConverter.default, ()
    clear = DataConverter(payload_converter_class=encryption.DefaultRefusingEncrypted)
    try:
        converter = encryption.with_keys(clear, encryption.keyring(keys))
    except encryption.EncryptionError as error:
        raise SetupError(str(error)) from error
    return converter, (encryption.EncryptionError,)


async def _start(client: Client, event: dict[str, Any], owner: str) -> Started:
    request_id, workflow_id = event["requestId"], workflow_id_of(event["requestId"], owner)
    found = {name: event[field] for field, name in EVENT_ATTRIBUTES.items() if field in event}
    found[STATUS_ATTRIBUTE] = "accepted"
    origin = _origin_of(event["callbackUrl"])
    found[OWNER_ATTRIBUTE] = owner or origin
    attributes = TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(n), v) for n, v in found.items()]
    )
    try:
        handle = await client.start_workflow(
            WORKFLOW,
            event,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes,
            memo={DIGEST_MEMO: digest(event)},
            # Shown in clear: neither the prompt nor anything about a person.
            static_summary=f"model {event['modelId']}, {_word(event['resolution'])}",
            priority=Priority(fairness_key=_fairness_key(event["userId"], owner, origin)),
        )
    except WorkflowAlreadyStartedError:
        existing = await client.get_workflow_handle(workflow_id).describe()
        if await existing.memo_value(DIGEST_MEMO, None) != digest(event):
            text = f"requestId {request_id} belongs to a generation with another payload"
            raise ConflictError(text) from None
        return Started(request_id, workflow_id, existing.run_id, created=False)
    return Started(request_id, workflow_id, handle.result_run_id or "", created=True)


def webhook_task(delivery: Event) -> dict[str, Any]:
    """A delivery as the workflow takes it. Raises ValidationError, naming each field."""
    errors, task = [], {}
    for field, name, needed in (
        ("deliveryId", "delivery_id", True),
        ("source", "source", True),
        ("receiver", "receiver", True),
        ("requestId", "request_id", False),
        ("correlationId", "correlation_id", False),
    ):
        value = delivery.get(field)
        if value is None and not needed:
            continue
        is_id = field not in {"source", "receiver"}
        if not isinstance(value, str) or not value or (is_id and not _UUID.fullmatch(value)):
            message = "must be a UUID" if is_id else "must be a text"
            errors.append({"field": field, "rule": "type", "message": message})
        else:
            task[name] = value.lower() if is_id else value
    if errors:
        raise ValidationError(errors)
    return task


async def _start_webhook(client: Client, task: dict[str, Any], owner: str) -> bool:
    known = {"RequestId": task.get("request_id"), "CorrelationId": task.get("correlation_id")}
    known[OWNER_ATTRIBUTE] = owner or _origin_of(task["source"])
    attributes = TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(n), v) for n, v in known.items() if v]
    )
    try:
        await client.start_workflow(
            WEBHOOK_WORKFLOW,
            task,
            id=f"{WEBHOOK_ID_PREFIX}{task['delivery_id']}{f'.{owner}' if owner else ''}",
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            search_attributes=attributes,
            priority=Priority(fairness_key=task["receiver"][:64]),
        )
    except WorkflowAlreadyStartedError:
        return False
    return True


def connection_task(test: Event) -> dict[str, Any]:
    """A connection test as the workflow takes it. Raises ValidationError, naming each field."""
    errors, task = [], {}
    models = test.get("modelIds") or []
    ids = {"testId": "request_id", "correlationId": "correlation_id"}
    for field, name in ids.items():
        value = test.get(field)
        if isinstance(value, str) and _UUID.fullmatch(value):
            task[name] = value.lower()
        else:
            errors.append({"field": field, "rule": "type", "message": "must be a UUID"})
    if not isinstance(models, (list, tuple)) or len(models) > MOST_MODELS:
        message = f"must be a list of at most {MOST_MODELS}"
        errors.append({"field": "modelIds", "rule": "type", "message": message})
    elif not all(isinstance(each, str) and _UUID.fullmatch(each) for each in models):
        errors.append({"field": "modelIds", "rule": "type", "message": "must be UUIDs"})
    url = test.get("callbackUrl")
    if not (url is None or isinstance(url, str)):
        errors.append({"field": "callbackUrl", "rule": "type", "message": "must be a text"})
    if errors:
        raise ValidationError(errors)
    return {**task, "model_ids": [each.lower() for each in models], "callback_url": url}


async def _test_connection(client: Client, task: dict[str, Any], owner: str) -> dict[str, Any]:
    (missing, listed), served = await asyncio.gather(
        missing_attributes(client), _is_served(client, TASK_QUEUE)
    )
    workflow_id = f"{CONNECTION_ID_PREFIX}{task['request_id']}{f'.{owner}' if owner else ''}"
    report: dict[str, Any] = {
        "workflowId": workflow_id,
        "missingAttributes": missing,
        "createAttributes": creating(client.namespace, missing, listed=listed) if missing else "",
        "unservedQueues": [] if served else [TASK_QUEUE],
        "answered": False,
        "unknownModels": [],
        "callback": {"ok": None, "detail": ""},
    }
    # Somebody else's server gets no workflow of ours, and one without a worker would not run it.
    if missing or not served:
        return report
    try:
        handle = await client.start_workflow(
            CONNECTION_WORKFLOW,
            task,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            execution_timeout=timedelta(seconds=CONNECTION_SECONDS),
        )
    except WorkflowAlreadyStartedError:
        raise ConflictError(f"testId {task['request_id']} was used before") from None
    try:
        found = await asyncio.wait_for(handle.result(), CONNECTION_SECONDS)
    except (asyncio.TimeoutError, WorkflowFailureError):  # noqa: UP041  # as above
        return report
    serving = await asyncio.gather(*(_is_served(client, queue) for queue in found["queues"]))
    unserved = [queue for queue, well in zip(found["queues"], serving) if not well]  # noqa: B905
    return {
        **report,
        "answered": True,
        "unservedQueues": unserved,
        "unknownModels": found["unknown_models"],
        "callback": {name: found["callback"][name] for name in ("ok", "detail")},
    }


async def _is_served(client: Client, queue: str) -> bool:
    """Whether a worker polls the queue, or did within the last minutes."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    if queue == TASK_QUEUE:
        kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    return bool((await client.workflow_service.describe_task_queue(request)).pollers)


async def missing_attributes(client: Client) -> tuple[list[str], bool]:
    """The search attributes that the namespace lacks; whether its operator service says so.

    A server may keep that service to itself, as Temporal Cloud does: then the index is asked.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        answer = await client.operator_service.list_search_attributes(request)
    except RPCError as error:
        # An unknown namespace is NOT_FOUND, too; then a query meets the same answer.
        if error.status.name not in {"PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"}:
            raise
        return await _not_queried(client), False
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    found = answer.custom_attributes
    return [name for name in SEARCH_ATTRIBUTES if found.get(name) != keyword], True


async def _not_queried(client: Client) -> list[str]:
    """Those that no query may name; it finds the same, by other rights."""
    missing = []
    for name in SEARCH_ATTRIBUTES:
        # STARTS_WITH is for the type Keyword alone, so an attribute of another type is refused.
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace, page_size=1, query=f"{name} STARTS_WITH 'x'"
        )
        try:
            await client.workflow_service.list_workflow_executions(request)
        except RPCError as error:
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            missing.append(name)
    return missing


def creating(namespace: str, missing: list[str], *, listed: bool) -> str:
    """The command that adds search attributes; `listed` as `missing_attributes` has it."""
    create = f"temporal operator search-attribute create --namespace {namespace}"
    if not listed:
        on_cloud = "".join(f" --search-attribute {name}=Keyword" for name in missing)
        create = (
            f"on Temporal Cloud: tcld namespace search-attributes add --namespace"
            f" {namespace}{on_cloud}; elsewhere, with an operator's rights: {create}"
        )
    return create + "".join(f" --name {name} --type Keyword" for name in missing)


def _fairness_key(user_id: str, owner: str, origin: str) -> str:
    """Who shares a queue with whom: each user of an Odoo; of an owner, a few groups of its users.

    A key's holder may make user ids up: they bring it no more than its few turns. Temporal takes
    64 bytes.
    """
    if owner:
        return f"{owner}/{uuid.UUID(user_id).int % USER_GROUPS}"
    return f"{hashlib.sha256(origin.encode()).hexdigest()[:16]}/{user_id}"


def _word(text: str) -> str:
    # Temporal's Web UI reads a summary as Markdown; here nothing has checked what this is.
    return "".join(c for c in text[:40] if c.isalnum())


async def _cancel(client: Client, workflow_id: str) -> bool:
    handle = client.get_workflow_handle(workflow_id)
    # Described first: the server accepts a cancellation also for some that have ended.
    described = await handle.describe()
    if described.status is not WorkflowExecutionStatus.RUNNING:
        return False
    try:
        await handle.cancel()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False  # it ended in between
        raise
    return True


async def _redeliver(client: Client, workflow_id: str) -> None:
    handle = client.get_workflow_handle(workflow_id)
    decision = {"by": "the client", "reason": "asked to deliver it now"}
    await handle.start_update(
        RETRY_DELIVERY_UPDATE, decision, wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )


async def _ended(client: Client, workflow_id: str, wait: float) -> bool:
    try:
        with suppress(WorkflowFailureError):
            await asyncio.wait_for(client.get_workflow_handle(workflow_id).result(), wait)
    except asyncio.TimeoutError:  # noqa: UP041  # not yet the builtin in Python 3.10
        return False
    return True


async def _status(client: Client, workflow_id: str, *, ask_worker: bool) -> dict[str, Any]:
    handle = client.get_workflow_handle(workflow_id)
    described = await handle.describe()
    answered, live = None, False
    if described.status is not WorkflowExecutionStatus.RUNNING:
        handle = client.get_workflow_handle(workflow_id, run_id=described.run_id)
        answered = await _closed(handle)
        if described.status is WorkflowExecutionStatus.CANCELED:
            # It has no result; what it may have cost stands here.
            recorded = await described.memo_value(FAILURE_MEMO, None)
            answered["outcome"]["failure"] = recorded or answered["outcome"]["failure"]
    elif ask_worker:
        try:
            wait = timedelta(seconds=QUERY_SECONDS)
            answered = await handle.query(STATUS_QUERY, rpc_timeout=wait)
            live = True
        except (RPCError, WorkflowQueryFailedError):
            live = False  # no worker, or a busy one: what the server knows is the answer
    pending = await _pending(client, described)
    return {**_view(answered, described), "activities": pending, "live": live}


async def _closed(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    """What a closed workflow returned, or the failure that closed it, in one shape."""
    try:
        outcome = await handle.result()
    except WorkflowFailureError as error:
        outcome = _outcome_of(error.cause)
    return {"state": outcome.get("state"), "progress": 100, "outcome": outcome}


def _outcome_of(cause: BaseException) -> dict[str, Any]:
    code, state = "INTERNAL", "failed"
    if isinstance(cause, CancelledError):
        code, state = "CANCELED", "canceled"
    elif isinstance(cause, ApplicationError):
        recorded = next(iter(cause.details), None)
        if isinstance(recorded, dict) and recorded.get("failure"):
            return recorded  # the workflow says more than its error's text
        code = cause.type or code
    detail = getattr(cause, "message", None) or type(cause).__name__
    return {"state": state, "failure": {"code": code, "detail": detail, "hint": None}}


def _view(answered: dict[str, Any] | None, desc: WorkflowExecutionDescription) -> dict[str, Any]:
    attribute = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)
    known = desc.typed_search_attributes.get(attribute, "accepted")
    view = answered or {}
    outcome, route, parked = (view.get(name) or {} for name in ("outcome", "route", "parked"))
    if parked:
        parked = {"nextTry" if name == "next_try" else name: v for name, v in parked.items()}
    return {
        "requestId": desc.id[len(WORKFLOW_ID_PREFIX) :].partition(".")[0],
        "workflowId": desc.id,
        "runId": desc.run_id,
        # Only the attribute says that a delivery was given up: the outcome itself was reached.
        "state": known if known == "abandoned" else view.get("state") or known,
        "progress": view.get("progress", 0),
        "route": {name: route.get(name) for name in ("provider", "model")} if route else None,
        "image": outcome.get("image"),
        "error": _error(outcome.get("failure")),
        "parked": parked or None,
        "ignoredFields": outcome.get("ignored") or route.get("ignores") or [],
    }


def _error(failure: dict[str, Any] | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    known = {name: failure.get(name) for name in ("code", "detail", "hint")}
    return {**known, "mayHaveBeenPaid": bool(failure.get("perhaps_paid"))}


async def _pending(client: Client, desc: WorkflowExecutionDescription) -> list[dict[str, Any]]:
    converter, found = client.data_converter, []
    for activity in desc.raw_description.pending_activities:
        failure = activity.last_failure.message or None
        if activity.last_failure.HasField("encoded_attributes"):
            failed = await converter.decode_failure(activity.last_failure)
            failure = getattr(failed, "message", None) or failure
        found.append(
            {
                "type": activity.activity_type.name,
                "attempt": activity.attempt,
                "heartbeat": await converter.decode(activity.heartbeat_details.payloads),
                "lastFailure": failure,
            }
        )
    return found


def image_of(status: dict[str, Any]) -> dict[str, Any]:
    """The image of a final status. Raises GenerationFailedError when it has none."""
    if status["image"]:
        found: dict[str, Any] = status["image"]
        return found
    error = status["error"] or {"code": "INTERNAL", "detail": "ended without an outcome"}
    # The gateway says what the user may read; what operators know is not for its callers.
    raise GenerationFailedError(error["code"], error.get("detail") or error["userMessage"])


# Sync: one thread with its own loop per process -------------------------------------------------


class _Home:
    """The event loop of one process, in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A process id may be used again: the thread that is known for it is dead then.
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="duragen-client", daemon=True
                )
                self._thread.start()
            return self._loop


_homes: dict[int, _Home] = {}


class DuragenClient:
    """`AsyncDuragenClient` without asyncio: the same methods, arguments and errors."""

    def __init__(
        self,
        address: str | None = None,
        namespace: str | None = None,
        *,
        api_key: str | None = None,
        tls: bool | None = None,
        encryption_keys: str | None = None,
        timeout: float = ATTEMPT_SECONDS,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        self._make: Callable[[], AsyncDuragenClient] = lambda: AsyncDuragenClient(
            address,
            namespace,
            api_key=api_key,
            tls=tls,
            encryption_keys=encryption_keys,
            timeout=timeout,
            retry_seconds=retry_seconds,
        )
        self._clients: dict[int, AsyncDuragenClient] = {}

    def start(self, event: Event, *, owner: str = "") -> Started:
        """See AsyncDuragenClient.start."""
        return self._run(lambda client: client.start(event, owner=owner))

    def status(self, request_id: str, *, ask_worker: bool = True) -> dict[str, Any]:
        """See AsyncDuragenClient.status."""
        return self._run(lambda client: client.status(request_id, ask_worker=ask_worker))

    def cancel(self, request_id: str) -> bool:
        """See AsyncDuragenClient.cancel."""
        return self._run(lambda client: client.cancel(request_id))

    def redeliver(self, request_id: str) -> None:
        """See AsyncDuragenClient.redeliver."""
        self._run(lambda client: client.redeliver(request_id))

    def start_webhook(self, delivery: Event, *, owner: str = "") -> bool:
        """See AsyncDuragenClient.start_webhook."""
        return self._run(lambda client: client.start_webhook(delivery, owner=owner))

    def test_connection(self, test: Event, *, owner: str = "") -> dict[str, Any]:
        """See AsyncDuragenClient.test_connection."""
        return self._run(lambda client: client.test_connection(test, owner=owner))

    def ping(self) -> None:
        """See AsyncDuragenClient.ping."""
        self._run(lambda client: client.ping())

    def result(self, request_id: str, timeout: float | None = None) -> dict[str, Any]:
        """See AsyncDuragenClient.result."""
        return self._run(lambda client: client.result(request_id, timeout))

    def _run(self, call: Callable[[AsyncDuragenClient], Coroutine[Any, Any, T]]) -> T:
        # Keyed by process, for a lock or a connection from before a fork is of no use after it;
        # `setdefault` is atomic, so no lock is needed here that a fork could leave held.
        pid = os.getpid()
        home = _homes.setdefault(pid, _Home())
        client = self._clients.get(pid) or self._clients.setdefault(pid, self._make())
        future = asyncio.run_coroutine_threadsafe(call(client), home.loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C, or a server's time limit: the caller has left
            raise
