"""The sandbox Odoo keeps the contract of the callback, as every Odoo that takes outcomes must."""

import asyncio
import json
from uuid import uuid4

import httpx
import jsonschema_rs

from contracts.callback_openapi import FAILURE_EXAMPLE, FAILURE_PATH
from deploy.local.stack.local_stack import LocalStack
from tests.developers.callback import DOCUMENT, Headers, Request, answers_to, call_callback, signed
from tests.starter.entry_points import make_event


def secrets_of(stack: LocalStack) -> Headers:
    """Those of the stack's own worker."""
    return signed(stack.secrets.odoo_token, stack.secrets.odoo_signing_secret)


async def test_the_contract_is_kept(whole: LocalStack, http: httpx.AsyncClient) -> None:
    """Whatever a believed caller sends: no 5xx, and nothing that the document does not have."""
    known = []
    for _ in range(5):
        event = make_event(requestId=str(uuid4()))
        (await http.post(f"{whole.odoo_url}/_sandbox/requests", json=event)).raise_for_status()
        known.append(Request(event["requestId"], event["correlationId"]))
    answers = await asyncio.to_thread(
        call_callback, whole.odoo_url, secrets_of(whole), known, examples=8
    )
    assert len({route for route, _ in answers}) == 4
    for route in {route for route, _ in answers}:
        assert answers[route, 200], route
        assert answers[route, 422], route


async def test_who_is_not_believed_gets_no_further(whole: LocalStack) -> None:
    """401, before anything of the event is looked at."""
    for wrong in (lambda _body: {}, signed("wrong", "whsec_" + "bm90aGlz" * 4)):
        answers = await asyncio.to_thread(call_callback, whole.odoo_url, wrong, examples=3)
        assert {status for _, status in answers} == {401}


async def test_a_request_that_is_not_known(whole: LocalStack) -> None:
    """The sandbox makes it of an event, for it may be all that there is; a real Odoo has 404."""
    url, headers = whole.odoo_url, secrets_of(whole)
    failure = {**FAILURE_EXAMPLE, "generationRequestId": str(uuid4())}
    body = json.dumps(failure).encode()
    async with httpx.AsyncClient(trust_env=False) as http:
        unknown = await http.post(url + FAILURE_PATH, content=body, headers=headers(body))
    assert unknown.status_code == 404  # it has no correlationId, so there is nothing to make
    assert set(await asyncio.to_thread(answers_to, url, headers)) == {200}


def test_each_example_is_right() -> None:
    """Of each route and each model."""
    document = json.loads(DOCUMENT.read_text())
    models = document["components"]["schemas"]
    examples = [(model, model["example"]) for model in models.values() if "example" in model]
    for methods in document["paths"].values():
        content = methods["post"]["requestBody"]["content"]["application/json"]
        examples += [(content["schema"], each["value"]) for each in content["examples"].values()]
    assert len(examples) == 12
    for schema, example in examples:
        inside = {**schema, "components": document["components"]}
        validator = jsonschema_rs.Draft202012Validator(inside, validate_formats=True)
        assert [str(fault) for fault in validator.iter_errors(example)] == []
