"""Delivering the outcome to Odoo: EVT-AIG-002 or EVT-AIG-003, by the way its settings say."""

import base64
import re
from collections.abc import Collection, Mapping
from typing import Protocol

from temporalio import activity

from activities.errors import OdooError, ProviderError
from activities.heartbeat import beating
from activities.images import MAX_IMAGE_BYTES
from activities.odoo.gate import OdooGates
from activities.storage import ImageStore
from contracts.connection import TestEvent
from contracts.errors import DeliveryError, ErrorCode, ErrorKind
from contracts.events import GenerationCompleted, GenerationFailed, ImageMetadata
from contracts.generation import Failure, StoredImage
from contracts.names import DELIVER_ACTIVITY
from contracts.tasks import Delivered, DeliverTask

# spec: event-driven-architecture, EVT-AIG-002, Timeout Ms: 60000
TIMEOUT_SECONDS = 60.0

OutcomeEvent = GenerationCompleted | GenerationFailed | TestEvent


class OdooDelivery(Protocol):
    """One way to one Odoo. May be called twice with the same event; Odoo takes it once."""

    async def deliver(self, task: DeliverTask, event: OutcomeEvent) -> str:
        """Hand the event over; the answer is for operators. Raises OdooError."""


class OdooActivities:
    """Delivery to each Odoo of the settings, by origin.

    Those in `with_data` get the image itself, the others a link to it.
    """

    def __init__(
        self,
        odoos: Mapping[str, OdooDelivery],
        store: ImageStore,
        gates: OdooGates,
        with_data: Collection[str] = (),
    ) -> None:
        self._odoos = odoos
        self._store = store
        self._gates = gates
        self._with_data = with_data

    @activity.defn(name=DELIVER_ACTIVITY)
    async def deliver(self, task: DeliverTask) -> Delivered:
        """Deliver the outcome. Raises ApplicationError whose type is a DeliveryError."""
        odoo = self._odoos.get(task.odoo)
        if odoo is None:
            raise OdooError(
                DeliveryError.ODOO_REFUSED,
                f"{task.odoo} is no longer in the settings: add it to [[odoo]], then retry",
            ).to_application_error()
        try:
            async with beating():
                if not task.trial:
                    await self._gates.pass_through(task.odoo, asked=task.asked)
                answer = await self._tried(odoo, task, await self._event(task))
        except OdooError as error:
            error.detail = _without_link(task, error.detail)
            raise error.to_application_error() from None
        except ProviderError as error:  # the store: it says nothing of Odoo
            away = OdooError(DeliveryError.STORE_UNAVAILABLE, error.failure.detail)
            raise away.to_application_error() from None
        return Delivered(answer=_without_link(task, answer))

    async def _tried(self, odoo: OdooDelivery, task: DeliverTask, event: OutcomeEvent) -> str:
        """One attempt, noted for Odoo's health: a refusal of one outcome is an answer as well."""
        try:
            answer = await odoo.deliver(task, event)
        except OdooError as error:
            if error.code is DeliveryError.ODOO_UNAVAILABLE:
                self._gates.failed(task.odoo, _without_link(task, error.detail))
            else:
                self._gates.answered(task.odoo)
            raise
        self._gates.answered(task.odoo)
        return answer

    async def _event(self, task: DeliverTask) -> OutcomeEvent:
        image, failure = task.outcome.image, task.outcome.failure
        if image:
            data = await self._data(image) if task.odoo in self._with_data else None
            return GenerationCompleted(
                request_id=task.request_id,
                correlation_id=task.correlation_id,
                status="completed",
                image_metadata=ImageMetadata(
                    format=image.format, size=image.size, width=image.width, height=image.height
                ),
                hash_value=image.sha256,
                image_data=data,
                image_url=None if data else await self._store.link(image),
                ignored_fields=task.outcome.ignored or None,
            )
        if failure is None:
            raise ValueError("an outcome has an image or a failure")
        return failed_event(task, failure)

    async def _data(self, image: StoredImage) -> str:
        data = await self._store.read(image.key, MAX_IMAGE_BYTES)
        if data is None:
            raise ProviderError(ErrorCode.INTERNAL, f"the store has no {image.key} any more")
        return base64.b64encode(data).decode()


def _detail(task: DeliverTask, failure: Failure) -> str:
    """The last failure, and why each other route was left before; nothing of it for an owner.

    It names addresses and services, which are an operator's to know. An owner is somebody else.
    """
    if task.owner:
        return f"{failure.code}: {failure.user_message}"
    # The last one is the failure itself, but where the generation was canceled.
    tried = task.outcome.tried
    before = tried if failure.code is ErrorCode.CANCELED else tried[:-1]
    left = "".join(f"; before that {e.route.provider}: {e.failure.code}" for e in before)
    return f"{failure.detail}{left}"


def _without_link(task: DeliverTask, text: str) -> str:
    # An Odoo that quotes the event would bring the presigned link into history.
    image = task.outcome.image
    if image is None:
        return text
    return re.sub(re.escape(image.key) + r"\?[^\s\"'<>]*", f"{image.key}?…", text)


def failed_event(task: DeliverTask, failure: Failure) -> GenerationFailed:
    """EVT-AIG-003 of a failure; the platform decides from it what is charged."""
    rule, detail = failure.rule, _detail(task, failure)
    return GenerationFailed(
        request_id=task.request_id,
        correlation_id=task.correlation_id,
        status="failed",
        error_code=failure.code,
        error_message=detail,
        error_details=detail,
        may_have_been_paid=failure.perhaps_paid > 0,
        error_type=rule.kind,
        # For the platform our settings are the system: neither is the user's fault.
        is_system_error=rule.kind in {ErrorKind.SYSTEM, ErrorKind.CONFIGURATION},
        is_user_error=rule.kind is ErrorKind.USER,
        retry_suggestion=rule.retry_suggestion,
        user_message=failure.user_message,
    )
