"""The addon keeps the callback's document, whoever calls: docs/openapi/odoo-callback.json."""

from tests.developers.callback import Request, answers_to, call_callback, signed
from tests.odoo.lone import SECRET, TOKEN, Lone

OURS = signed(TOKEN, SECRET)


def test_the_contract_is_kept(lone: Lone) -> None:
    """Whatever a believed caller sends: no 5xx, and nothing that the document does not have."""
    made = [lone.asks() for _ in range(5)]
    known = [Request(each["request_uuid"], each["correlation_uuid"]) for each in made]
    answers = call_callback(lone.odoo.url, OURS, known, examples=20)
    routes = {route for route, _ in answers}
    assert len(routes) == 4
    for route in routes:
        assert answers[route, 200], route
        assert answers[route, 422], route


def test_who_is_not_believed_gets_no_further(lone: Lone) -> None:
    """401, before anything of the event is looked at."""
    answers = call_callback(lone.odoo.url, lambda _body: {}, examples=2)
    assert {401} <= {status for _, status in answers} <= {401, 429}


def test_a_request_that_is_not_known(lone: Lone) -> None:
    """404 on each route: Duragen parks the outcome."""
    assert set(answers_to(lone.odoo.url, OURS)) == {404}
