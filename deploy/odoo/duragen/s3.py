"""The S3 store, for images that stay there: makes links when somebody looks, and reads objects.

Needs the package `boto3`, but only where a bucket is set; it is imported at the first use.
"""

import functools

LINK_SECONDS = 300
"""The browser that is redirected to a link follows it at once."""


def origins(bucket, endpoint_url, region, addressing_style=""):
    """Where links to the bucket lead, as far as the settings say it; no boto3 is needed for it."""
    if endpoint_url:
        scheme, _, host = endpoint_url.partition("://")
        virtual = addressing_style == "virtual"
        return {f"{scheme}://{bucket}.{host}"} if virtual and bucket else {endpoint_url}
    if not bucket:
        return set()
    regional = f"s3.{region}.amazonaws.com"
    # The second one is from before there were regions, and still in use.
    hosts = {f"{bucket}.{regional}", f"{bucket}.s3.amazonaws.com", regional}
    return {f"https://{host}" for host in hosts}


_ATTEMPTS, _SECONDS = 2, 10


class S3Error(Exception):
    """The store cannot be used; the text says what to do, and is for operators."""


class Store:
    """One bucket, with credentials that may read it. Raises S3Error when something is not set.

    `addressing_style` is "path", "virtual" (the bucket is part of the host's name), or empty: path
    with an endpoint, virtual at AWS.
    """

    def __init__(
        self, *, bucket, endpoint_url, region, access_key_id, secret_access_key, addressing_style=""
    ):
        if not bucket or not access_key_id or not secret_access_key:
            raise S3Error("set the bucket and the keys that may read it")
        self.bucket = bucket
        # Every S3 server takes paths, or nearly; AWS has the bucket in the host's name.
        style = addressing_style or ("path" if endpoint_url else "virtual")
        self._client = _client(endpoint_url, region, access_key_id, secret_access_key, style)

    def link(self, key, file_name=None):
        """A link to the object `key`, valid for five minutes; `file_name` is its name when saved.

        It is made without a call to the store.
        """
        parameters = {"Bucket": self.bucket, "Key": key}
        if file_name:
            parameters["ResponseContentDisposition"] = f'attachment; filename="{file_name}"'
        return self._client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=LINK_SECONDS
        )

    def get(self, key, size):
        """The bytes of the object, at most one more than `size`. Raises S3Error."""
        return self._called(
            lambda: self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read(size + 1)
        )

    def check(self):
        """Return when the bucket can be read. Raises S3Error."""
        self._called(lambda: self._client.list_objects_v2(Bucket=self.bucket, MaxKeys=1))

    def _called(self, call):
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            return call()
        except (BotoCoreError, ClientError, HTTPClientError, OSError) as error:
            raise S3Error(f"the bucket {self.bucket}: {error}") from error


@functools.lru_cache(maxsize=16)
def _client(endpoint_url, region, access_key_id, secret_access_key, addressing_style):
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise S3Error("install boto3 into Odoo's Python: pip install boto3") from None
    try:
        options = Config(
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            retries={"total_max_attempts": _ATTEMPTS},
            signature_version="s3v4",
            s3={"addressing_style": addressing_style},
        )
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=options,
        )
    except (BotoCoreError, ValueError) as error:
        raise S3Error(f"the S3 settings are wrong: {error}") from error
