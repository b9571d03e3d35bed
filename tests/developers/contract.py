"""An OpenAPI document held against a server that runs: whatever is sent, the document is kept."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deploy.local.stack.local_stack import LocalStack
from tests.developers.world import Developer

load_all_checks()

ANY_ANSWER = frozenset(
    {
        *("connection", "content-length", "content-type", "date", "server", "vary"),
        *("transfer-encoding", "cache-control", "x-content-type-options"),
    }
)
"""Headers that say how an answer travels, and nothing about what it means."""

TAGS = ["developers", "webhooks"]
OPERATIONS = 14
"""With these tags."""

RECEIVER = "http://127.0.0.1:1/hook"
"""An address that the worker refuses: nothing is sent to those that were made up."""


Adapt = Callable[[schemathesis.Case], None]


def headers_are_documented(
    _context: schemathesis.CheckContext, answer: Response, case: schemathesis.Case
) -> None:
    """Each header that means something is in the document."""
    known = case.operation.responses.find_by_status_code(answer.status_code)
    documented = {name.lower() for name in (known.definition.get("headers") or {})} if known else {}
    if unknown := {*answer.headers} - ANY_ANSWER - {*documented}:
        raise Failure(
            operation=case.operation.label,
            title="Undocumented headers",
            message=f"{answer.status_code}: {', '.join(sorted(unknown))}",
        )


CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    headers_are_documented,
]


def call_everything(
    document: BaseSchema, auth: AuthBase, *, examples: int, adapt: Adapt = lambda _case: None
) -> Counter[tuple[str, int]]:
    """Call each operation with right and with wrong input; how often each answered which status.

    `adapt` changes a case before it is sent; `auth` has the last word on its headers.
    """
    answers: Counter[tuple[str, int]] = Counter()
    for result in document.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def call(case: schemathesis.Case) -> None:
                adapt(case)
                answer = case.call_and_validate(auth=auth, checks=CHECKS)
                answers[case.operation.label, answer.status_code] += 1

            try:
                call()
            except Unsatisfiable:
                continue  # an operation without parameters has no wrong ones
    return answers


class Key(AuthBase):
    """The key, in place of what schemathesis makes up."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Set it."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Known:
    """Puts ids that are there in place of every other one that schemathesis makes up."""

    def __init__(self, job_ids: list[str], webhook_ids: list[str]) -> None:
        self._ids = {"job_id": job_ids, "webhook_id": webhook_ids}
        self._turn = 0

    def __call__(self, case: schemathesis.Case) -> None:
        """Change the case."""
        self._turn += 1
        if isinstance(case.body, dict) and str(case.body.get("url")).startswith("http"):
            case.body["url"] = RECEIVER
        right = case.meta is not None and case.meta.generation.mode.is_positive
        for name, ids in self._ids.items():
            gone = case.method == "DELETE"
            if right and self._turn % 2 and name in case.path_parameters and len(ids) > gone:
                case.path_parameters[name] = ids.pop() if gone else ids[-1]


def document(stack: LocalStack) -> Any:
    """The operations of API users."""
    found = schemathesis.openapi.from_url(f"{stack.gateway_url}/openapi.json")
    return found.include(tag=TAGS)


async def kept_for(developer: Developer, examples: int) -> Counter[tuple[str, int]]:
    """Call everything as this developer, who has jobs and webhooks; see `call_everything`."""
    jobs = [(await developer.asks()).json()["jobId"] for _ in range(2)]
    made = [await developer.hooks("POST", "", json={"url": RECEIVER}) for _ in range(4)]
    known = Known([*jobs], [each.json()["id"] for each in made])
    answers = await asyncio.to_thread(
        call_everything,
        document(developer.stack),
        Key(developer.key),
        examples=examples,
        adapt=known,
    )
    for job in jobs:
        await developer.becomes(job, "completed", "canceled")
    return answers
