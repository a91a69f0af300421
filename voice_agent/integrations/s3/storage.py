"""S3Storage: files in a bucket, by boto3 in threads (it has no asynchronous side).

What was uploaded is read back and hashed: checksums that S3 itself offers differ between the servers that speak it, and
for files of several parts. Uploads of parts that fail are given up by boto3, and are never visible.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from voice_agent.errors import FileNotStored, SettingsError, StorageError
from voice_agent.settings import S3Settings
from voice_agent.storage.files import LONGEST_LINK_S, PIECE_BYTES, StoredFile, checked_key

PART_BYTES = 8_000_000
"""Larger files go up in parts; S3 wants 5 MiB at least."""

CONNECT_S = 5.0
ANSWER_S = 30.0
"""The longest that the other side may say nothing."""

TRIES = 2
"""Of each request, by boto3; whoever stores a file tries again later."""

_ABSENT = {"404", "NoSuchKey", "NotFound"}

_Result = TypeVar("_Result")


class S3Storage:
    """One bucket, which must exist."""

    def __init__(self, settings: S3Settings, bucket: str, *, answer_s: float = ANSWER_S) -> None:
        """Nothing is asked yet. Raises SettingsError where boto3 is not installed."""
        try:
            import boto3
            from boto3.s3.transfer import TransferConfig
            from botocore import exceptions
            from botocore.config import Config
        except ImportError:
            raise SettingsError("FILES is s3, which needs the extra s3: pip install 'voice-agent[s3]'") from None
        self._bucket = bucket
        self._client_error = exceptions.ClientError
        self._failures = (exceptions.BotoCoreError, boto3.exceptions.Boto3Error, OSError, ValueError)
        # One part after the other: threads of its own would only multiply the memory.
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False, io_chunksize=PIECE_BYTES
        )
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url or None,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=settings.secret_access_key.get_secret_value() or None,
            config=Config(
                connect_timeout=CONNECT_S,
                read_timeout=answer_s,
                retries={"total_max_attempts": TRIES, "mode": "standard"},
                signature_version="s3v4",
                # Amazon's newer checksums are unknown to many servers that speak S3.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def put_file(self, key: str, path: Path, *, content_type: str) -> StoredFile:
        """Upload a file and read it back; what is not what was sent is deleted."""
        checked_key(key)
        return await self._ask(lambda: self._put(key, path, content_type))

    def _put(self, key: str, path: Path, content_type: str) -> StoredFile:
        with path.open("rb") as file:
            sent = _measure(lambda: file.read(PIECE_BYTES))
        extra = {"ContentType": content_type}
        self._client.upload_file(str(path), self._bucket, key, ExtraArgs=extra, Config=self._transfer)
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        try:
            stored = _measure(lambda: body.read(PIECE_BYTES))
        finally:
            body.close()
        if stored != sent:
            self._client.delete_object(Bucket=self._bucket, Key=key)
            raise StorageError("what was stored is not what was sent")
        return StoredFile(key=key, size_bytes=sent[0], sha256=sent[1])

    async def read(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield a part of a file in pieces."""
        checked_key(key)
        if end is not None and end <= start:
            return
        part = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end is not None else {}
        answer = await self._ask(lambda: self._client.get_object(Bucket=self._bucket, Key=key, **part))
        body = answer["Body"]
        try:
            while piece := await self._ask(lambda: body.read(PIECE_BYTES)):
                yield piece
        finally:
            body.close()

    async def stat(self, key: str) -> StoredFile:
        """Return a file's size."""
        checked_key(key)
        answer = await self._ask(lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        return StoredFile(key=key, size_bytes=answer["ContentLength"])

    async def delete(self, key: str) -> None:
        """Delete a file."""
        checked_key(key)
        await self._ask(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def signed_url(self, key: str, *, ttl_s: int = LONGEST_LINK_S) -> str:
        """Return an address of the bucket's server."""
        name = checked_key(key).rpartition("/")[2]
        wanted = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentDisposition": f'attachment; filename="{name}"',
            "ResponseCacheControl": "no-store",
        }
        lifetime_s = max(1, min(ttl_s, LONGEST_LINK_S))
        url: str = await self._ask(
            lambda: self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=lifetime_s)
        )
        return url

    async def _ask(self, request: Callable[[], _Result]) -> _Result:
        """Run a request in a thread, with its failures as ours."""
        try:
            return await asyncio.to_thread(request)
        except self._client_error as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT:
                raise FileNotStored("there is no such file") from error
            raise StorageError(f"S3 refused: {code}") from error
        except self._failures as error:
            raise StorageError(f"S3 could not be used: {type(error).__name__}") from error


def _measure(read: Callable[[], bytes]) -> tuple[int, str]:
    """Return the size and the SHA-256 of what is read."""
    digest, size_bytes = hashlib.sha256(), 0
    while piece := read():
        digest.update(piece)
        size_bytes += len(piece)
    return size_bytes, digest.hexdigest()
