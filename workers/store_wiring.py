"""The part of the wiring that is the store's."""

from activities.bucket import Bucket
from activities.s3 import S3Bucket
from activities.store_ways import Ways
from peers.store import StorageSettings, s3_client

IMAGE_THREADS = 4
"""For what needs nobody else: decoding an image, the spool's disk. More would only wait for the two
or so cores."""


def bucket_of(
    storage: StorageSettings, known: Ways | None = None, *, use_proxies: bool = False
) -> Bucket:
    """The bucket of the settings; links are for whoever reaches the public endpoint.

    `known` in place of what the settings know of its ways.
    """
    public = storage.public_endpoint_url
    encryption = {
        "ServerSideEncryption": storage.encryption,
        "SSEKMSKeyId": storage.kms_key_id,
    }
    s3 = S3Bucket(
        s3_client(storage, use_proxies=use_proxies),
        storage.bucket,
        {name: value for name, value in encryption.items() if value},
    )
    linking = None
    if public:
        linking = S3Bucket(s3_client(storage, public, use_proxies=use_proxies), storage.bucket)
    return Bucket(
        s3,
        known or Ways(storage.checksums, storage.conditional_writes),
        link_seconds=storage.link_seconds,
        linking=linking,
        own_keys=storage.access_key_id is not None,
    )
