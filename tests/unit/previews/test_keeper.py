"""What is drawn, what is not and why; and that a file which is made to do harm costs little."""

from __future__ import annotations

import asyncio
import io
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlake.errors import PreviewNotAvailable, StoreUnavailable
from inlake.model import StoredObject
from inlake.previews import draw, keeper
from inlake.previews.keeper import Previews, can_be_drawn, drawn
from inlake.store.folder.store import FolderStore


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1 << 16):
        yield content[start : start + (1 << 16)]


def saved(image: Image.Image, kind: str, **given: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **given)
    return buffer.getvalue()


def pdf(*objects: bytes, root: bytes = b"") -> bytes:
    """A PDF of one page; the first of the objects is the page's content."""
    parts = [
        b"<</Type/Catalog/Pages 2 0 R%b>>" % root,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        *objects,
    ]
    body, places = b"%PDF-1.7\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    return body + end % (len(parts) + 1, table, len(parts) + 1, len(body))


def stream(content: bytes, about: bytes = b"") -> bytes:
    return b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), about, content)


RED = stream(b"1 0 0 rg 0 0 200 100 re f")


def png(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and has next to nothing in it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def laughs(depth: int = 9) -> bytes:
    """A PDF whose page draws a form that draws ten, each of which draws ten, and so on."""
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 200 100]/Resources<</XObject<</X %d 0 R>>>>"
    forms = [stream(b"/X Do " * 10, form % (6 + level)) for level in range(depth)]
    return pdf(stream(b"/X Do"), *forms, stream(b"0 0 9 9 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 200 100]"))


def near(found: Any, wanted: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 8 for a, b in zip(found, wanted, strict=True))


async def test_a_large_picture_becomes_two_small_ones() -> None:
    found = await drawn(chunks(saved(Image.new("RGB", (3000, 1500), "green"), "PNG")))
    sizes = [Image.open(io.BytesIO(each)).size for each in (found.large, found.small)]
    assert sizes == [(1200, 600), (160, 80)]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_a_tiff_is_drawn_whatever_its_pixels_are(mode: str) -> None:
    image = Image.new("L", (40, 20))
    image.paste(255, (0, 0, 20, 20))
    wide = (
        image.convert("I").point(lambda value: value * 200).convert("I;16") if mode == "I;16" else image.convert(mode)
    )
    found = draw.picture(saved(wide, "TIFF"))
    assert found.size == (40, 20)
    assert near(found.getpixel((5, 10)), (255, 255, 255))
    assert near(found.getpixel((35, 10)), (0, 0, 0))


def test_what_is_clear_is_white_and_what_a_camera_held_askew_is_upright() -> None:
    clear = draw.picture(saved(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG"))
    assert near(clear.getpixel((5, 5)), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert draw.picture(saved(Image.new("RGB", (40, 20)), "JPEG", exif=exif)).size == (20, 40)


def test_the_first_page_of_a_pdf_is_drawn_and_its_script_is_not_run() -> None:
    script = b"/OpenAction<</S/JavaScript/JS(while(true){})>>"
    found = draw.picture(pdf(RED, root=script))
    assert found.size == (1200, 600)
    assert near(found.getpixel((600, 300)), (255, 0, 0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no picture"),
        (b"hello", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (saved(Image.effect_noise((400, 400), 50), "TIFF", compression="tiff_lzw")[:9000], "damaged|no picture"),
        (saved(Image.effect_noise((400, 400), 50), "PNG")[:9000], "damaged"),
        (b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 50, "damaged|no picture"),
        (png(60_000, 60_000), "60,000 x 60,000 pixels"),
        (png(10_000, 10_000), "damaged"),
        (b"%PDF-1.7\nnonsense", "damaged"),
        (pdf(RED)[:200], "damaged"),
    ],
    ids=["empty", "text", "eps", "svg", "cut tiff", "cut png", "wild tiff", "bomb", "short png", "no pdf", "cut pdf"],
)  # fmt: skip
def test_what_cannot_be_drawn_has_a_reason(content: bytes, said: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a decoder raises
        draw.picture(content)
    assert re.search(said, draw.reason(caught.value))


async def test_what_would_be_drawn_for_hours_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(PreviewNotAvailable, match="too long"):
        await drawn(chunks(laughs()))
    assert time.monotonic() - began < 20


class Slow(FolderStore):
    """A store that gives its objects a little late."""

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.3)
        async for chunk in super().read(key, start, end):
            yield chunk


async def test_a_slow_store_is_no_reason_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Slow(tmp_path)
    content = saved(Image.new("RGB", (20, 10)), "PNG")
    await store.put_new("a", content, content_type="image/png", metadata={})
    previews = Previews(store)
    stored = StoredObject("019a", "uri", len(content), "ab" * 32, "image/png", "a.png")
    with monkeypatch.context() as hurried:
        hurried.setattr(keeper, "SECONDS", 0.05)
        with pytest.raises(StoreUnavailable):
            await previews.find(stored, store, "a")
    assert Image.open(io.BytesIO((await previews.find(stored, store, "a")).small)).size == (20, 10)
    await previews.close()


def test_the_program_has_little_memory_and_writes_no_file() -> None:
    code = (
        f"import runpy; draw = runpy.run_path({draw.__file__!r}); draw['give_up_rights']()\n"
        "try: bytes(2 << 30)\n"
        "except MemoryError: print('memory')\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import tempfile\n"
        "try: tempfile.TemporaryFile().write(b'x' * 100_000)\n"
        "except OSError: print('files')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["memory", "files"], done.stderr


def test_what_may_be_drawn_is_told_by_its_type_and_else_by_its_name() -> None:
    assert can_be_drawn("image/tiff", "x")
    assert can_be_drawn("application/pdf; version=1.7", "x")
    assert can_be_drawn("application/octet-stream", "Scan.TIF")
    assert not can_be_drawn("application/octet-stream", "scan.obj")
    assert not can_be_drawn("image/svg+xml", "scan.tif")
