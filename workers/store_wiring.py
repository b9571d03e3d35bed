"""The part of the wiring that is the store's."""

import os
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from activities.bucket import Bucket
from activities.s3 import S3Bucket
from activities.store_ways import Ways
from peers.loopback import is_loopback
from peers.proxies import keep_credentials_off
from workers.settings import StorageSettings

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

STORE_THREADS, IMAGE_THREADS = 8, 4
"""For boto3; and for what needs nobody else: decoding an image, the spool's disk. More would only
wait for the two or so cores."""

CONNECT_SECONDS = 5.0


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


def s3_client(
    storage: StorageSettings, endpoint_url: str | None = None, *, use_proxies: bool = False
) -> "S3Client":
    """A boto3 client for the store; retries are ours (`activities.storage`), timeouts short.

    For another address of the same store, give its `endpoint_url`. `use_proxies`: those of the
    environment (`peers.proxies`), else none.
    """
    secret = storage.secret_access_key
    if secret is None:
        keep_credentials_off()
    endpoint_url = endpoint_url or storage.endpoint_url
    style = storage.addressing_style or ("path" if endpoint_url else "auto")
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=storage.region,
        verify=_ca_file(storage),
        aws_access_key_id=storage.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=30,
            proxies=None if use_proxies else {},  # None: boto3 reads the environment
            retries={"total_max_attempts": 1, "mode": "standard"},
            signature_version="s3v4",  # the older one, boto3's default for links, AWS refuses
            max_pool_connections=STORE_THREADS,
            # Path style needs no host name for each bucket.
            s3={"addressing_style": style, "payload_signing_enabled": _in_clear(endpoint_url)},
            user_agent="duragen",  # boto3 would put one of its own together for each call
            # Only where we give one.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _in_clear(endpoint_url: str | None) -> bool:
    """Whether bodies may be changed on their way; else their checksum alone vouches for them."""
    url = endpoint_url or "https:"  # as boto3 has it for Amazon's
    return not (url.startswith("https:") or is_loopback(url))


def _ca_file(storage: StorageSettings) -> str | None:
    """Whose certificates count; None leaves it to boto3, which brings its own."""
    if storage.ca_file:
        return str(storage.ca_file)
    return os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or None
