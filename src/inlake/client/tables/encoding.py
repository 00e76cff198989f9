"""Which encoding the bytes of a table have, and its lines as text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from inlake.client.tables.faults import Fault, TableError

SAMPLE = 1 << 20
"""Bytes that a guess is made from."""
BLOCK = 1 << 18
GUESSES = ("cp1252", "mac_roman")
"""Eight-bit encodings of museums' exports: Excel on Windows, Excel on a Mac."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r(?!\Z)|\n)")
_AT_RETURN = re.compile(rb"(?<=\r)(?!\n)")
_ABOVE_ASCII = re.compile(r"[^\x00-\x7f]")


class BrokenLine(str):
    """A line with bytes that are no characters: a lone surrogate stands for each."""

    __slots__ = ("position",)
    position: int
    """The position of the first of them in the file, from 0."""


class Guess(NamedTuple):
    """An encoding and why."""

    encoding: str
    note: str = ""
    """A sentence where it is not certain."""


def find_encoding(sample: bytes, rest: Iterable[bytes] = ()) -> Guess:
    """The encoding of a file that begins with `sample`; `rest` is read only where it decides whether it is UTF-8."""
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return Guess(name)
    if wide := _without_bom(sample):
        return Guess(wide, f"The bytes look like {wide} without a byte order mark.")
    valid, broken, evidence = 0, 0, sample
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for block in _and_an_end(sample, rest):
        if block and block.isascii():
            continue
        text = decoder.decode(block, final=not block)
        wrong = sum(1 for char in text if "\udc80" <= char <= "\udcff") if not _is_clean(text) else 0
        valid += wrong and sum(1 for char in text if char > "\x7f") - wrong
        broken += wrong
        evidence = block if wrong == broken else evidence
        if wrong and broken > valid:
            break
    if not broken:
        return Guess("utf-8")
    if valid >= 10 * broken:
        return Guess("utf-8", f"The file is UTF-8 but for {broken} bytes.")
    return _eight_bits(evidence)


def decode_lines(stream: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines of a file, each with its end: LF, CR LF or CR. `TableError` where UTF-16 or UTF-32 breaks off."""
    canonical = codecs.lookup(encoding).name
    if canonical.startswith(("utf-16", "utf-32")):
        yield from _wide_lines(stream, encoding)
        return
    if canonical == "utf-8-sig":
        canonical = "utf-8"
    position = 0
    for raw in _raw_lines(stream):
        line = raw.removeprefix(codecs.BOM_UTF8) if position == 0 and canonical == "utf-8" else raw
        try:
            yield line.decode(canonical)
        except UnicodeDecodeError as error:
            broken = BrokenLine(line.decode(canonical, "surrogateescape"))
            broken.position = position + len(raw) - len(line) + error.start
            yield broken
        position += len(raw)


def encodings_for(line: bytes) -> list[str]:
    """The encodings in which bytes are text."""
    return [name for name in ("utf-8", *GUESSES) if _decodes(line, name)]


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines as the bytes have them, in an encoding whose line ends are those of ASCII."""
    for line in stream:
        if b"\r" in line and not (line.endswith(b"\r\n") and line.count(b"\r") == 1):
            yield from filter(None, _AT_RETURN.split(line))
        else:
            yield line


def _wide_lines(stream: BinaryIO, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    waiting, position = "", 0
    while True:
        block = stream.read(BLOCK)
        held = len(decoder.getstate()[0])
        try:
            waiting += decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            at = position - held + error.start
            raise TableError([undecodable(encoding, at, bytes(error.object[error.start : error.end]))]) from None
        position += len(block)
        end = 0
        for match in _LINE.finditer(waiting):
            yield match[0]
            end = match.end()
        waiting = waiting[end:]
        if not block:
            if waiting:
                yield waiting
            return


def undecodable(encoding: str, position: int, wrong: bytes, others: Iterable[str] = ()) -> Fault:
    """The fault of a byte that is no character, with the encodings in which its line is text."""
    would = [name for name in others if codecs.lookup(name) != codecs.lookup(encoding)]
    advice = f"In {' or '.join(would)} it is one: set the encoding." if would else "Save the table as UTF-8."
    return Fault(
        "undecodable", f"Byte {position:,} of the file (0x{wrong[:1].hex()}) is no character in {encoding}.", advice
    )


def _and_an_end(sample: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield sample
    yield from filter(None, rest)
    yield b""


def _is_clean(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _without_bom(sample: bytes) -> str | None:
    """UTF-16 of mostly Latin text has a zero in every other byte."""
    head = sample[: 1 << 12]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) < len(head) * 0.3 or min(even, odd) > len(head) * 0.05:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _eight_bits(sample: bytes) -> Guess:
    """The better of two guesses: the one whose accented letters and quotes stand where they do in words."""
    scores = {name: _plausible(sample.decode(name, "replace")) for name in GUESSES}
    best = max(scores, key=lambda name: scores[name])
    text = sample.decode(best, "replace")
    words = [word for word in re.findall(r"[^\s,;|\"]{3,30}", text) if _ABOVE_ASCII.search(word)]
    shown = ", ".join(dict.fromkeys(words[:3]))
    return Guess(best, f"The encoding is guessed from the bytes; so read, the table has: {shown}.")


def _plausible(text: str) -> int:
    score = 0
    for match in _ABOVE_ASCII.finditer(text):
        here = match.start()
        score += _fit(text[here - 1 : here] or " ", match[0], text[here + 1 : here + 2] or " ")
    return score


def _fit(before: str, char: str, after: str) -> int:
    """How well a character stands between its neighbours."""
    if char == "\ufffd" or "\x80" <= char <= "\x9f":
        return -20
    if char in "’‘“”":
        opens = char in "‘“" and not before.isalnum() and not after.isspace()
        return 3 if opens or (char in "’”" and not before.isspace()) else -1
    if char.isalpha():
        alone = not before.isalpha() and not after.isalpha()
        if alone or (char.isupper() and before.islower()):
            return 1 if char in "àáéèìòÀÉ" and alone else -2
        return 2 if char.islower() else 1
    return 2 if char in "–—…°©®™½¼¾×±£€•«»\xa0·§" else -2
