"""Files of a lake as Python workers open them: by pyarrow, so that no byte of them passes through the JVM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pyarrow import fs

S3 = ("s3a", "s3", "s3n")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
"""Suffixes of compressed files, and what pyarrow calls the way."""


def open_file(uri: str, environment: Mapping[str, str]) -> Any:
    """The file of a percent-encoded URI, to read from its start, or from anywhere where it is not compressed.

    `environment`: the `AWS_*` variables that the gateway takes. Raises OSError.
    """
    system, path = _find(uri, environment)
    compression = compression_of(uri)
    if compression:
        return system.open_input_stream(path, compression=compression)
    return system.open_input_file(path)


def compression_of(uri: str) -> str | None:
    """The compression that a file's name tells."""
    return next((name for suffix, name in COMPRESSED.items() if uri.endswith(suffix)), None)


def _find(uri: str, environment: Mapping[str, str]) -> tuple[Any, str]:
    """The file system and the path there."""
    parts = urlsplit(uri)
    if parts.scheme in S3:
        return _s3(environment), parts.netloc + unquote(parts.path)
    if parts.scheme == "file":
        return fs.LocalFileSystem(), unquote(parts.path)
    found: tuple[Any, str] = fs.FileSystem.from_uri(uri)
    return found


def _s3(environment: Mapping[str, str]) -> Any:
    """S3 by the standard variables; what they leave out is found as the AWS SDK finds it."""
    endpoint = urlsplit(environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or "")
    return fs.S3FileSystem(
        access_key=environment.get("AWS_ACCESS_KEY_ID"),
        secret_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        session_token=environment.get("AWS_SESSION_TOKEN"),
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or None,
    )
