"""API users at the gateway: known by a key of Odoo's, served by Odoo."""

import logging
from typing import Annotated, Any, NamedTuple, TypeVar, cast
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import ValidationError

from contracts.events import WireModel
from starter.gateway.developers.desk import Desk, DeskError
from starter.gateway.developers.models import Job
from starter.gateway.developers.refusals import Refusals, may_be_key
from starter.gateway.developers.waiting import Waiting
from starter.gateway.problems import ProblemError
from starter.request_body import BodyRoom

logger = logging.getLogger(__name__)

Read = TypeVar("Read", bound=WireModel)

MAX_BODY_BYTES = 262_144
"""As an event has: two prompts of 32,000 characters and what stands around them."""


class Developers(NamedTuple):
    """What all requests of API users share."""

    desk: Desk
    waiting: Waiting
    refusals: Refusals
    room: BodyRoom
    public_url: str

    def status_url(self, job_id: UUID | str) -> str:
        """The link to a job's status."""
        return f"{self.public_url}/v1/generate/{job_id}/status"


class Asker:
    """An API user, known by the key; each method asks Odoo, and raises ProblemError."""

    def __init__(self, developers: Developers, key: str) -> None:
        self.developers = developers
        self._key = key

    async def ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        """What a method of `duragen.api` answers to this user."""
        try:
            return await self.developers.desk.ask(method, self._key, *arguments)
        except ProblemError as error:
            if error.status == 401:
                self.developers.refusals.add(self._key)
            raise

    def job(self, answer: Any) -> Job:
        """A job as Odoo describes it."""
        if not isinstance(answer, dict):
            raise DeskError
        url = self.developers.status_url(str(answer.get("jobId")))
        return read(Job, {**answer, "statusUrl": url})


_bearer = HTTPBearer(
    scheme_name="ApiKey",
    auto_error=False,
    description="An API key of Odoo: Preferences, Account Security.",
)


async def _asker(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Asker:
    developers = cast("Developers", request.app.state.developers)
    key = given.credentials if given else ""
    if not may_be_key(key) or developers.refusals.knows(key):
        raise ProblemError(
            401,
            "send Authorization: Bearer KEY, with an API key of Odoo",
            headers={"WWW-Authenticate": "Bearer"},
        )
    # The part that Odoo itself keeps in clear: with it the key is found there.
    request.state.caller_name = f"api-key {key[:8]}"
    return Asker(developers, key)


Caller = Annotated[Asker, Depends(_asker)]


def read(model: type[Read], answer: dict[str, Any]) -> Read:
    """A model of Odoo's answer. Raises DeskError when it is none."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        faults = "; ".join(f"{each['loc']}: {each['msg']}" for each in error.errors())
        logger.error("Odoo's developer API answers what is no %s: %s", model.__name__, faults)  # noqa: TRY400
        raise DeskError from None
