"""Our own requests to S3, against answers that a real server gives rarely, from a server in the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from inlake.errors import NotFound, OutOfSpace, PartsRefused, StoreUnavailable
from inlake.model import ObjectFacts, Part
from inlake.store.s3.environment import Bucket
from inlake.store.s3.multipart import Multipart

ERROR = '<?xml version="1.0"?>\n<Error><Code>{}</Code><Message>m</Message></Error>'


class Server:
    """Answers each request with the next of `answers`, the last one for ever; keeps the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[str] = []

    def says(self, status: int, text: str = "", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = "" if "Content_Length" in headers else f"content-length: {len(text.encode())}\r\n"
        self.answers.append(f"HTTP/1.1 {status} X\r\n{lines}{length}\r\n{text}".encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.requests.append(head + body.decode())
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def multipart(server: Server) -> AsyncIterator[Multipart]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    environment = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}",
        "AWS_SERVER_SIDE_ENCRYPTION": "AES256",
    }
    calls = Multipart(Bucket("bucket", "a b/", environment), timeout=5, transfer_timeout=5)
    yield calls
    await calls.close()
    listening.close()


async def test_a_server_in_trouble_is_asked_again(server: Server, multipart: Multipart) -> None:
    server.says(503, ERROR.format("SlowDown"))
    server.says(429)
    server.says(200, ETag='"1"')
    assert await multipart.put("k", "u", 1, [b"ab", b"c"]) == Part(1, 3, '"1"')
    assert len(server.requests) == 3
    assert server.requests[-1].endswith("abc")


async def test_what_will_not_pass_is_not_asked_again(server: Server, multipart: Multipart) -> None:
    for status, code, error in (
        (403, "AccessDenied", StoreUnavailable),
        (404, "NoSuchUpload", NotFound),
        (400, "EntityTooSmall", PartsRefused),
    ):
        server.answers = []
        server.says(status, ERROR.format(code))
        count = len(server.requests)
        with pytest.raises(error):
            await multipart.complete("k", "u", [])
        assert len(server.requests) == count + 1


async def test_a_server_that_stays_in_trouble_is_unavailable_with_its_code(
    server: Server, multipart: Multipart
) -> None:
    server.says(503, ERROR.format("SlowDown"))
    with pytest.raises(StoreUnavailable, match="503 SlowDown"):
        await multipart.put("k", "u", 1, [b"a"])
    server.says(507)
    with pytest.raises(OutOfSpace):
        await multipart.put("k", "u", 1, [b"a"])


async def test_an_error_that_begins_as_a_success_is_an_error(server: Server, multipart: Multipart) -> None:
    """S3 answers 200 to a long completion before it knows how that ends."""
    server.says(200, ERROR.format("InvalidPart"))
    with pytest.raises(PartsRefused, match="InvalidPart"):
        await multipart.complete("k", "u", [Part(1, 3, '"1"')])


async def test_parts_are_named_as_the_server_named_them(server: Server, multipart: Multipart) -> None:
    part = "<Part><PartNumber>{}</PartNumber><ETag>&#34;&amp;{}&quot;</ETag><Size>{}</Size></Part>"
    page = "<ListPartsResult><IsTruncated>{}</IsTruncated>{}</ListPartsResult>"
    server.says(200, page.format("true", part.format(1, "a", 5)))
    server.says(200, page.format("false", part.format(2, "b", 6)))
    server.says(200, "<CompleteMultipartUploadResult/>")
    found = await multipart.find("ä", "u/+")
    assert found == [Part(1, 5, '"&a"'), Part(2, 6, '"&b"')]
    assert server.requests[0].startswith("GET /bucket/a%20b/%C3%A4?")
    assert "uploadId=u%2F%2B" in server.requests[0]
    assert "part-number-marker=1&" in server.requests[1]
    await multipart.complete("ä", "u/+", found)
    assert '<ETag>"&amp;a"</ETag>' in server.requests[2]


async def test_uploads_to_other_keys_that_begin_alike_are_not_ours(server: Server, multipart: Multipart) -> None:
    upload = "<Upload><Key>{}</Key><UploadId>{}</UploadId><Owner><ID>x</ID></Owner></Upload>"
    page = "<R><IsTruncated>{}</IsTruncated><NextKeyMarker>a b/k</NextKeyMarker>{}</R>"
    server.says(200, page.format("true", upload.format("a b/k", 1) + upload.format("a b/kk", 2)))
    server.says(200, page.format("false", upload.format("a b/k", 3)))
    assert await multipart.uploads("k") == ["1", "3"]
    assert server.requests[0].startswith("GET /bucket/?")


async def test_a_new_upload_says_what_it_will_be(server: Server, multipart: Multipart) -> None:
    server.says(200, "<R><UploadId>7</UploadId></R>")
    about = {"content_type": "image/png", "metadata": {"puuid": "1"}}
    assert await multipart.begin("k", **about, sha256=True) == "7"  # type: ignore[arg-type]
    head = server.requests[0].lower()
    for line in (
        "content-type: image/png",
        "x-amz-meta-puuid: 1",
        "x-amz-checksum-algorithm: sha256",
        "x-amz-server-side-encryption: aes256",
    ):
        assert f"\r\n{line}\r\n" in head


async def test_the_checksum_of_checksums_is_not_that_of_the_object(server: Server, multipart: Multipart) -> None:
    server.says(200, Content_Length="5", ETag='"e"', x_amz_checksum_sha256="s", x_amz_checksum_type="FULL_OBJECT")
    server.says(200, Content_Length="5", ETag='"e"', x_amz_checksum_sha256="s-2", x_amz_checksum_type="COMPOSITE")
    server.says(404)
    assert await multipart.facts("k") == ObjectFacts(5, '"e"', "s")
    assert await multipart.facts("k") == ObjectFacts(5, '"e"', None)
    assert await multipart.facts("k") is None


async def test_a_server_that_is_away_is_unavailable_within_the_time_out(server: Server) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    }
    calls, start = Multipart(Bucket("bucket", "", environment), timeout=0.3, transfer_timeout=5), time.monotonic()
    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await calls.find("k", "u")
    assert time.monotonic() - start < 2
    await calls.close()
