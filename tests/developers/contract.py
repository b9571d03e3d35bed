"""An OpenAPI document held against a server that runs: whatever is sent, the document is kept."""

from collections import Counter
from collections.abc import Callable

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
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

load_all_checks()

ANY_ANSWER = frozenset(
    {
        *("connection", "content-length", "content-type", "date", "server", "vary"),
        *("transfer-encoding", "cache-control", "x-content-type-options"),
    }
)
"""Headers that say how an answer travels, and nothing about what it means."""

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
