"""Whether a history can be read: a replay without the key would only say that something failed."""

from collections.abc import Iterator

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter

from peers.encryption import ENCODING


async def check_readable(history: WorkflowHistory, converter: DataConverter) -> None:
    """Raise EncryptionError when a payload is encrypted with a key that we do not have."""
    for event in history.events:
        for payload in _payloads(event):
            if payload.metadata.get("encoding") == ENCODING:
                await converter.decode([payload])


def _payloads(message: Message) -> Iterator[Payload]:
    """All that are in a message, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [each for each in value.values() if isinstance(each, Message)]
        else:
            inner = list(value) if field.is_repeated else [value]
        for each in inner:
            yield from _payloads(each)
