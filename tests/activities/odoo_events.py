"""Outcomes on their way to Odoo."""

from uuid import UUID, uuid4

from contracts.errors import ErrorCode
from contracts.events import origin_of
from contracts.generation import Failure, Outcome, StoredImage
from contracts.tasks import DeliverTask

CORRELATION_ID = UUID("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
CALLBACK_PATH = "/duragen/v1/callback"
REFUSED = Failure(
    code=ErrorCode.INVALID_INPUT,
    detail="the image service answered 400: invalid_value",
    hint="Check: size.",
)


def of(outcome: Outcome, odoo: str, path: str = CALLBACK_PATH) -> DeliverTask:
    """The delivery of `outcome` to the Odoo at `odoo`."""
    return DeliverTask(
        request_id=uuid4(),
        correlation_id=CORRELATION_ID,
        user_id=uuid4(),
        callback_url=odoo + path,
        odoo=origin_of(odoo),
        outcome=outcome,
    )


def failed(odoo: str, failure: Failure = REFUSED) -> DeliverTask:
    """The delivery of a failure."""
    return of(Outcome(failure=failure), odoo)


def completed(odoo: str, path: str = CALLBACK_PATH) -> DeliverTask:
    """The delivery of an image."""
    key = f"generations/{uuid4()}.png"
    image = StoredImage(key=key, format="png", size=9, width=128, height=96, sha256="ab" * 32)
    return of(Outcome(image=image), odoo, path)
