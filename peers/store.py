"""The S3 store: its settings, and boto3's client for it."""

import os
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from contracts.events import HttpUrl
from peers.loopback import is_loopback
from peers.proxies import keep_credentials_off
from peers.setting_types import CaFile, Group

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

STORE_THREADS = 8
"""For boto3, which blocks. More would only wait for the two or so cores."""

CONNECT_SECONDS = 5.0


class StorageSettings(Group):
    """Any S3 endpoint; None is AWS. Without keys, boto3's own credential chain is used."""

    bucket: str
    endpoint_url: HttpUrl | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    link_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3_600
    """Life of the link in an event; 7 days is S3's maximum."""
    public_endpoint_url: HttpUrl | None = None
    """The store as Odoo reaches it, for links; None: the endpoint itself."""
    addressing_style: Literal["path", "virtual"] | None = None
    """`virtual` has the bucket in the host's name. None: `path` with an endpoint, AWS chooses."""
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Asked for with each object, where the bucket's policy demands that."""
    kms_key_id: str | None = None
    conditional_writes: bool | None = None
    """Whether the store refuses a second object under the same key (`If-None-Match: *`). None: the
    worker finds out. Where it does not, each image has a key of its own."""
    ca_file: CaFile | None = None
    """Who signed its certificate; None: AWS_CA_BUNDLE's, SSL_CERT_FILE's, or boto3's own."""
    checksums: bool | None = None
    """Whether it takes `x-amz-checksum-sha256`. None: the worker finds out; else Content-MD5."""

    @model_validator(mode="after")
    def _key_for_kms(self) -> Self:
        if self.kms_key_id and not (self.encryption or "").startswith("aws:kms"):
            raise ValueError('storage.kms_key_id needs storage.encryption = "aws:kms"')
        return self


def s3_client(
    storage: StorageSettings, endpoint_url: str | None = None, *, use_proxies: bool = False
) -> "S3Client":
    """A boto3 client for the store; retries are ours (`activities.storage`), timeouts short.

    For another address of the same store, give its `endpoint_url`. `use_proxies`: those of the
    environment (`peers.proxies`), else none.
    """
    # Not at the top: whoever has the settings may never call the store, and boto3 is large.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

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
