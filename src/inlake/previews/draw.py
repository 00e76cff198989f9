"""The program that draws: a file comes on stdin, a small and a large JPEG go to stdout, or the reason why not.

It runs in a process of its own, which the keeper starts by the path of this file: nothing of the gateway is imported,
so that little stands in the way of little memory. What decodes a picture or a PDF is much code in C; a file may be
made to have it take all memory, run for ever, or worse. So the process gives up, before it reads anything, what it
does not need: memory, time, files to write.
"""

from __future__ import annotations

import io
import os
import resource
import struct
import sys
import warnings
from contextlib import suppress
from typing import Any

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 20
FILES = 16
PIXELS = 120_000_000
"""A decoded picture may have so many; each takes four bytes."""
LARGE, SMALL = 1200, 160
"""Pixels of the longer side."""
FORMATS = ["TIFF", "JPEG", "JPEG2000", "PNG", "GIF", "WEBP", "BMP"]
"""Formats that Pillow may take it for: decoders that nobody needs are not offered to who looks for a hole."""
REFUSED = 3
"""Exit code: stdout has the reason."""


class NoPictureError(Exception):
    """Why there is no preview, in a sentence."""


def give_up_rights() -> None:
    """Take the limits, for good. An operating system that does not know one goes without it."""
    os.nice(10)
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def picture(content: bytes) -> Any:
    """The file as a picture in RGB, at most `LARGE` pixels wide and high. Raises `NoPictureError`."""
    return _first_page(content) if b"%PDF-" in content[:1024] else _scaled(content)


def _first_page(content: bytes) -> Any:
    """The first page of a PDF. Its scripts stay text: the library is built without an engine for them."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
        if not len(document):
            raise NoPictureError("The PDF has no page.")
        page = document[0]
        width, height = page.get_size()
        if not (0 < width < 1e6 and 0 < height < 1e6):
            raise NoPictureError("The first page of the PDF has no size that can be drawn.")
        return page.render(scale=LARGE / max(width, height)).to_pil().convert("RGB")
    except pypdfium2.PdfiumError as error:
        is_locked = "password" in str(error).lower()
        raise NoPictureError(
            "The PDF is locked by a password." if is_locked else "The PDF is damaged, and cannot be read."
        ) from None


def _scaled(content: bytes) -> Any:
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # looked at below: a JPEG is decoded at an eighth of its size
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise NoPictureError("The file is no picture that can be read, whatever its type says.") from None
    image.draft("RGB", (LARGE, LARGE))
    if image.width * image.height > PIXELS:
        raise NoPictureError(
            f"The picture has {image.width:,} x {image.height:,} pixels; up to {PIXELS // 1_000_000} million are drawn."
        )
    image.load()
    image.thumbnail((LARGE, LARGE), reducing_gap=2.0)
    return ImageOps.exif_transpose(_eight_bits(image))


def _eight_bits(image: Any) -> Any:
    """The picture in RGB: more than eight bits are scaled from its darkest to its lightest, what is clear is white."""
    from PIL import Image

    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        wide = image.convert("F")
        low, high = wide.getextrema()
        scale = 255 / ((high - low) or 1)
        return wide.point(lambda value: value * scale + -low * scale).convert("L").convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("RGB")


def encoded(image: Any) -> bytes:
    """A number of four bytes, so many bytes of the small JPEG, and the large one."""
    large, small = io.BytesIO(), io.BytesIO()
    image.save(large, "JPEG", quality=82, optimize=True)
    image.thumbnail((SMALL, SMALL))
    image.save(small, "JPEG", quality=75)
    return struct.pack(">I", small.tell()) + small.getvalue() + large.getvalue()


def main() -> int:
    """Draw. The exit code is 0, or `REFUSED` with the reason on stdout."""
    give_up_rights()
    warnings.simplefilter("ignore")
    try:
        drawn = encoded(picture(sys.stdin.buffer.read()))
    except Exception as error:  # noqa: BLE001 - decoders of foreign files raise whatever they come across
        sys.stdout.write(reason(error))
        return REFUSED
    sys.stdout.buffer.write(drawn)
    return 0


def reason(error: Exception) -> str:
    """Why there is no picture, for a person."""
    if isinstance(error, NoPictureError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The file needs more memory than drawing it may take."
    return "The file is damaged, or of a kind that cannot be drawn."


if __name__ == "__main__":
    sys.exit(main())
