"""Faults of the sandbox image service, as data: what is wrong, and with which call.

Fault
    status            answers `status` with `headers` and `body`
    html              answers 200 with a maintenance page
    empty             answers 200 with nothing
    close             ends the connection without an answer
    hang              never answers
    drip              answers correctly, but takes `seconds` over the body
    accept_then_reset, accept_then_hang
                      does the work, which is paid for; then the answer is lost
    half_image, bomb, wrong_size, not_base64, html_image, empty_image
                      accepts, and what should be the image is not
    moderated_input, moderated_output, error
                      refuses as the real services do (`error`: FLUX `Error`, OpenAI 500)
    job_lost, sample_expired, never_ready
                      FLUX only: polling finds no task; the result's URL answers 403; the task
                      stays Pending

A fault meets the next submission; with `on` it meets the next poll or fetch of a sample instead.
"""

import random
import re
from collections import deque
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr


class Kind(StrEnum):
    """See the module's docstring."""

    STATUS = "status"
    HTML = "html"
    EMPTY = "empty"
    CLOSE = "close"
    HANG = "hang"
    DRIP = "drip"
    ACCEPT_THEN_RESET = "accept_then_reset"
    ACCEPT_THEN_HANG = "accept_then_hang"
    HALF_IMAGE = "half_image"
    BOMB = "bomb"
    WRONG_SIZE = "wrong_size"
    NOT_BASE64 = "not_base64"
    HTML_IMAGE = "html_image"
    EMPTY_IMAGE = "empty_image"
    MODERATED_INPUT = "moderated_input"
    MODERATED_OUTPUT = "moderated_output"
    ERROR = "error"
    JOB_LOST = "job_lost"
    SAMPLE_EXPIRED = "sample_expired"
    NEVER_READY = "never_ready"


Operation = Literal["submit", "poll", "sample"]


class Fault(BaseModel):
    """One thing that goes wrong once. `seconds` belongs to `drip`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    on: Operation = "submit"
    status: Annotated[int, Field(ge=200, le=599)] = 500
    headers: dict[str, str] = {}
    body: str | dict[str, Any] = ""
    seconds: Annotated[float, Field(ge=0, le=600)] = 2


_WORD = re.compile(r"\bsandbox:([a-z0-9_]+)")

_NAMED = {
    "throttled": Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "2"}),
    "overloaded": Fault(kind=Kind.STATUS, status=503),
    "unauthorized": Fault(kind=Kind.STATUS, status=401),
    "unpaid": Fault(kind=Kind.STATUS, status=402),
    "moved": Fault(kind=Kind.STATUS, status=301, headers={"location": "https://example.com/"}),
}


def fault_in(prompt: str) -> Fault | None:
    """The fault that words in the prompt ask for, for people who try things by hand.

    "forbidden" is refused at the input, "indecent" at the output. `sandbox:KIND` names any kind of
    fault, and `sandbox:throttled`, `overloaded`, `unauthorized`, `unpaid`, `moved` a status.
    """
    lower = prompt.lower()
    if match := _WORD.search(lower):
        word = match[1]
        if word in _NAMED:
            return _NAMED[word]
        if word in list(Kind):
            return Fault(kind=Kind(word))
    if "forbidden" in lower:
        return Fault(kind=Kind.MODERATED_INPUT)
    if "indecent" in lower:
        return Fault(kind=Kind.MODERATED_OUTPUT)
    return None


class LastingFault(Fault):
    """One that meets `share` of the calls, drawn by dice with `seed`: the same row each time."""

    share: Annotated[float, Field(ge=0, le=1)] = 1
    seed: int = 0


class Faults(BaseModel):
    """What `PUT /_sandbox/faults` takes; `latency_seconds` is what each image takes."""

    model_config = ConfigDict(extra="forbid")

    latency_seconds: Annotated[float, Field(ge=0, le=600)] = 0
    queue: deque[Fault] = deque()
    always: LastingFault | None = None
    _dice: random.Random = PrivateAttr()

    def model_post_init(self, _context: Any, /) -> None:
        """Throw the dice again for each set of faults."""
        seed = self.always.seed if self.always else 0
        self._dice = random.Random(seed)  # noqa: S311  # chance in a test, not a secret

    def take(self, operation: Operation, prompt: str = "") -> Fault | None:
        """The fault that meets this call: the queue first, then `always`, then the prompt."""
        if self.queue and self.queue[0].on == operation:
            return self.queue.popleft()
        always = self.always
        if always and always.on == operation and self._dice.random() < always.share:
            return always
        return fault_in(prompt) if operation == "submit" else None
