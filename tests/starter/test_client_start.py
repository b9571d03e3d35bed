"""Starting a generation over Temporal."""

import hashlib
import socket
import time
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from contracts import connection, events, names
from starter import client as module
from starter.client import (
    AsyncDuragenClient,
    ConflictError,
    SetupError,
    TooLargeError,
    UnavailableError,
    ValidationError,
)
from tests.ports import free_port
from tests.starter.entry_points import (
    ODOO,
    make_event,
)

OPTIONAL = [name for name in module.FIELDS if name not in module.REQUIRED_FIELDS]


async def test_start_names_the_workflow_after_the_request(client: AsyncDuragenClient) -> None:
    """A started generation's workflow id is made of the request id, and it is new."""
    event = make_event()
    started = await client.start(event)
    assert started.workflow_id == f"generation-{event['requestId']}"
    assert started.created


async def test_the_same_request_gives_the_run_that_exists(client: AsyncDuragenClient) -> None:
    """Starting the same request twice returns the first run."""
    event = make_event()
    first, second = await client.start(event), await client.start(event)
    assert (second.run_id, second.created) == (first.run_id, False)


async def test_spelling_does_not_make_another_payload(client: AsyncDuragenClient) -> None:
    """None, key order, 7 for 7.0, unknown fields and a UUID's spelling change nothing."""
    event = make_event(cfgScale=7, inferenceSteps=20)
    await client.start(event)
    same = {
        "seed": None,
        "sentAt": "later",
        **dict(reversed(event.items())),
        "cfgScale": 7.0,
        "inferenceSteps": 20.0,
        "userId": event["userId"].upper(),
    }
    assert not (await client.start(same)).created


async def test_another_payload_is_a_conflict(client: AsyncDuragenClient) -> None:
    """The same request id with a different prompt is refused."""
    event = make_event()
    await client.start(event)
    with pytest.raises(ConflictError):
        await client.start({**event, "prompt": "something else"})


async def test_a_closed_run_still_refuses_its_duplicate(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """A request that ended is not started again."""
    event = make_event()
    first = await client.start(event)
    await temporal.get_workflow_handle(first.workflow_id).terminate()
    assert await client.start(event) == first._replace(created=False)


async def test_operators_find_it_by_its_ids(client: AsyncDuragenClient, temporal: Client) -> None:
    """Search attributes hold the ids and the state; none holds the prompt."""
    event = make_event(campaignId=str(uuid4()))
    started = await client.start(event)
    described = await temporal.get_workflow_handle(started.workflow_id).describe()
    found = {
        name: described.typed_search_attributes.get(SearchAttributeKey.for_keyword(name))
        for name in names.SEARCH_ATTRIBUTES
    }
    assert found == {
        "RequestId": event["requestId"],
        "CorrelationId": event["correlationId"],
        "UserId": event["userId"],
        "CampaignId": event["campaignId"],
        "GenerationStatus": "accepted",
        "Provider": None,
        "ErrorCode": None,
        "Owner": ODOO,
    }


async def test_the_summary_shows_no_prompt_and_no_person(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """The model and the size alone."""
    event = make_event()
    started = await client.start(event)
    described = await temporal.get_workflow_handle(started.workflow_id).describe()
    summary = await described.static_summary()
    assert summary == f"model {event['modelId']}, 1024x1024"


async def _fairness_keys(
    client: AsyncDuragenClient, temporal: Client, users: int, **start: str
) -> set[str]:
    """Those of a start for each of so many users."""
    found = set()
    for number in range(users):
        event = make_event(userId=str(UUID(int=number)))
        started = await client.start(event, **start)
        described = await temporal.get_workflow_handle(started.workflow_id).describe()
        found.add(described.raw_info.priority.fairness_key)
    return found


async def test_an_owner_shares_by_a_few_groups_of_its_users(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """However many users a key's holder makes up, its owner gets a bounded number of turns."""
    keys = await _fairness_keys(client, temporal, 2 * module.USER_GROUPS, owner="acme")
    assert keys == {f"acme/{number}" for number in range(module.USER_GROUPS)}


async def test_each_user_of_an_odoo_has_a_turn(
    client: AsyncDuragenClient, temporal: Client
) -> None:
    """Of this Odoo: another one's user of the same id has another turn."""
    whose = hashlib.sha256(ODOO.encode()).hexdigest()[:16]
    keys = await _fairness_keys(client, temporal, 3)
    assert keys == {f"{whose}/{UUID(int=number)}" for number in range(3)}


@pytest.mark.parametrize(
    "url",
    [ODOO, f"{ODOO}:80/x", "https://ODOO.example.com:8443/a?b", "http://[::1]:8069/c"],
)
def test_the_client_reads_an_origin_as_everybody_does(url: str) -> None:
    """`Owner` of a start by the client is what `[[odoo]]` calls the origin."""
    assert module._origin_of(url) == events.origin_of(url)


async def test_a_summary_holds_no_markdown(client: AsyncDuragenClient, temporal: Client) -> None:
    """The client lets any text through as a resolution; the Web UI would show it as an image."""
    event = make_event(resolution="![x](http://evil.example/x)\n\x1b[31m")
    started = await client.start(event)
    described = await temporal.get_workflow_handle(started.workflow_id).describe()
    summary = await described.static_summary()
    assert summary == f"model {event['modelId']}, xhttpevilexamplex31m"


async def test_the_worker_reads_the_argument(client: AsyncDuragenClient, temporal: Client) -> None:
    """The workflow's argument is the event, as the worker's converter decodes it."""
    event = make_event(seed=7)
    started = await client.start(event)
    history = await temporal.get_workflow_handle(started.workflow_id).fetch_history()
    payloads = history.events[0].workflow_execution_started_event_attributes.input.payloads
    [read] = await temporal.data_converter.decode(payloads, [events.GenerationRequested])
    assert read == events.GenerationRequested.model_validate(event)


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"prompt": None}, ["prompt"]),
        ({"prompt": ""}, ["prompt"]),
        ({"prompt": "\ud800"}, ["prompt"]),
        ({"requestId": "x", "userId": 7}, ["requestId", "userId"]),
        ({"negativePrompt": False}, ["negativePrompt"]),
        ({"seed": True}, ["seed"]),
        ({"seed": 1.5}, ["seed"]),
        ({"seed": float("inf")}, ["seed"]),
        ({"modelId": "{0b6f4b1e-8f4d-4c7e-9b39-6c8a2f1d7e05}"}, ["modelId"]),
        ({"cfgScale": float("nan")}, ["cfgScale"]),
        ({"campaignId": "none"}, ["campaignId"]),
        ({"requestId": "", "resolution": ""}, ["requestId", "resolution"]),
    ],
)
async def test_every_bad_field_is_named(
    client: AsyncDuragenClient, change: dict[str, object], fields: list[str]
) -> None:
    """A bad event is refused before anything is sent, naming each bad field."""
    with pytest.raises(ValidationError) as caught:
        await client.start(make_event(**change))
    assert [fault["field"] for fault in caught.value.errors] == fields


async def test_an_empty_text_is_an_absent_field(client: AsyncDuragenClient) -> None:
    """An optional field that is "" changes nothing: it is the same request as without it."""
    event = make_event()
    first = await client.start({**event, **dict.fromkeys(OPTIONAL, "")})
    assert await client.start(event) == first._replace(created=False)


async def test_an_event_over_256_kb_is_too_large(client: AsyncDuragenClient) -> None:
    """What no gateway would take is not started over Temporal either."""
    with pytest.raises(TooLargeError):
        await client.start(make_event(prompt="x" * 262_144))


async def test_temporal_away_is_said_at_once() -> None:
    """A refused connection is UnavailableError, without waiting."""
    before = time.monotonic()
    with pytest.raises(UnavailableError):
        await AsyncDuragenClient(f"127.0.0.1:{free_port()}", retry_seconds=()).start(make_event())
    assert time.monotonic() - before < 1


async def test_temporal_away_is_tried_again() -> None:
    """Each pause is followed by one more attempt."""
    patient = AsyncDuragenClient(f"127.0.0.1:{free_port()}", retry_seconds=(0.1, 0.2))
    before = time.monotonic()
    with pytest.raises(UnavailableError):
        await patient.start(make_event())
    assert time.monotonic() - before >= 0.3


async def test_a_server_that_says_nothing_is_bounded() -> None:
    """A server that accepts the connection and stays silent costs one attempt's time, no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody reads
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        before = time.monotonic()
        with pytest.raises(UnavailableError):
            await AsyncDuragenClient(address, timeout=0.5, retry_seconds=()).ping()
        assert time.monotonic() - before < 2


async def test_a_missing_namespace_is_a_matter_of_setup(address: str) -> None:
    """Trying again would not help, so it is not UnavailableError."""
    with pytest.raises(SetupError):
        await AsyncDuragenClient(address, "nowhere", retry_seconds=()).start(make_event())


def test_repeated_names_agree_with_the_contracts() -> None:
    """What client.py repeats is what contracts/ says."""
    fields = {f.alias: f for f in events.GenerationRequested.model_fields.values()}
    assert set(module.FIELDS) == set(fields)
    assert set(module.REQUIRED_FIELDS) == {n for n, f in fields.items() if f.is_required()}
    assert module.WORKFLOW == names.GENERATION_WORKFLOW
    assert module.WORKFLOW_ID_PREFIX == names.WORKFLOW_ID_PREFIX
    assert module.TASK_QUEUE == names.GENERATION_QUEUE
    assert module.STATUS_QUERY == names.STATUS_QUERY
    assert module.RETRY_DELIVERY_UPDATE == names.RETRY_DELIVERY_UPDATE
    assert module.DIGEST_MEMO == names.PAYLOAD_DIGEST_MEMO
    assert module.FAILURE_MEMO == names.FAILURE_MEMO
    assert module.STATUS_ATTRIBUTE == names.GENERATION_STATUS
    assert module.OWNER_ATTRIBUTE == names.OWNER
    assert module.SEARCH_ATTRIBUTES == names.SEARCH_ATTRIBUTES
    assert module.CONNECTION_WORKFLOW == names.CONNECTION_WORKFLOW
    assert module.CONNECTION_ID_PREFIX == names.CONNECTION_ID_PREFIX
    assert module.MOST_MODELS == connection.MOST_MODELS
    assert module._OWNER.pattern == names.OWNER_PATTERN
    assert (module.TRACE_STATE_KEY, module.TRACE_UNDECIDED) == (
        names.TRACE_STATE_KEY,
        names.TRACE_UNDECIDED,
    )
    own = [names.REQUEST_ID, names.CORRELATION_ID, names.USER_ID, names.CAMPAIGN_ID]
    assert list(module.EVENT_ATTRIBUTES.values()) == own


@pytest.mark.parametrize(
    "changes",
    [
        {"cfgScale": 7, "seed": 0, "unknown": 1},
        dict.fromkeys(OPTIONAL, ""),
        dict.fromkeys(OPTIONAL),
    ],
    ids=["values", "empty texts", "nulls"],
)
def test_both_entry_points_digest_alike(changes: dict[str, object]) -> None:
    """The gateway's validated event and Odoo's own have the same digest."""
    event = make_event(**changes)
    parsed = events.GenerationRequested.model_validate(event)
    through_gateway = parsed.model_dump(mode="json", exclude_none=True)
    assert module.digest(module.normalized(event)) == module.digest(
        module.normalized(through_gateway)
    )
