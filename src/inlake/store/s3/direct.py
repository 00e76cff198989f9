"""The Direct port on S3: requests are signed for clients, and what they have sent is put together and looked at."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

from inlake.errors import NotFound
from inlake.model import Blob, Part, SignedRequest
from inlake.store.keys import check_ascii
from inlake.store.s3.multipart import Multipart
from inlake.store.s3.signing import Presigner


class S3Direct:
    """Requests that clients send to the bucket themselves."""

    def __init__(self, multipart: Multipart, signer: Presigner) -> None:
        self._multipart, self._signer = multipart, signer

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str], sha256: bool) -> str:
        return await self._multipart.begin(key, content_type=content_type, metadata=metadata, sha256=sha256)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        found = await self._multipart.find(key, upload)
        if found is None:
            raise NotFound("There is no such upload.")
        return found

    async def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        await self._multipart.complete(key, upload, parts)

    async def sign_put(
        self, key: str, blob: Blob, *, content_type: str, metadata: Mapping[str, str], expires: float
    ) -> SignedRequest:
        headers = {"content-type": content_type, **{f"x-amz-meta-{name}": metadata[name] for name in metadata}}
        check_ascii(headers)
        return await self._signer.put(key, headers | _facts_of(blob), expires)

    async def sign_part(self, key: str, upload: str, number: int, blob: Blob, *, expires: float) -> SignedRequest:
        return await self._signer.part(key, upload, number, _facts_of(blob), expires)

    async def sign_get(self, key: str, *, content_type: str, disposition: str, expires: float) -> SignedRequest:
        answer = {"content-type": content_type, "content-disposition": disposition}
        return await self._signer.get(key, answer, expires)


def _facts_of(blob: Blob) -> dict[str, str]:
    """The headers that let through these bytes and no others."""
    headers = {"content-length": str(blob.size)}
    if blob.sha256 is not None:
        headers["x-amz-checksum-sha256"] = b64encode(bytes.fromhex(blob.sha256)).decode()
    return headers
