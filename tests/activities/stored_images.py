"""Images as `submit` and `collect` keep them, without a call to an image service."""

from activities.bucket import ImageId
from activities.images import Wanted
from activities.storage import ImageStore
from contracts.events import GenerationRequested
from contracts.generation import StoredImage
from workers.clients import Clients

SIZE = (128, 96)


def image_of(request: GenerationRequested, image_format: str = "png") -> ImageId:
    """Whose image it is."""
    return ImageId(request.request_id, request.image_digest, image_format)


async def stored(
    clients: Clients, wanted: ImageId, data: bytes, size: tuple[int, int] = SIZE
) -> StoredImage:
    """The image in the store, verified before."""
    return await kept_by(clients.store, wanted, data, size)


async def kept_by(
    store: ImageStore, wanted: ImageId, data: bytes, size: tuple[int, int] = SIZE
) -> StoredImage:
    """The same for another store."""
    image = await store.verified(wanted, data, Wanted(wanted.format, size))
    return await store.put(image, wanted, data)
