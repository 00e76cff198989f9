"""The fast path, writing: typed values to the wire format by an encoder generated from the schema.

A message is a list of wire texts, joined at the end: Python joins text faster than bytes, and most of a record is ASCII
text already, which is its own UTF-8.

Of equal keys msgspec keeps the last without a word. So the encoder counts the strings that the JSON of its values has,
keys and text: where the text has more, a key stands there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inlake.formats.binary import varint
from inlake.formats.protobuf import wire
from inlake.formats.protobuf.parse import strings_in
from inlake.formats.protobuf.typed import has_alias, is_open
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.protobuf.well_known import AS_TEXT
from inlake.formats.protobuf.wire_text import Remembered, base64, either, heads, latin, numbers, symbols
from inlake.formats.source import Source

SHORT = 128
"""Up to this length texts and messages find their tag and length in a list..."""
MAX_LISTS = 200
"""... of which a schema gets so many: each takes some 9 kB."""


def compile_writer(root: Message, messages: list[Message], prefix: bytes) -> Callable[[Any, bytes], bytes]:
    """A function from the typed values of `typed.compile_reader`, and the text they come from, to `prefix` and the
    message in bytes; raises one of `source.UNDECIDED`."""
    generator = _Generator()
    for message in messages:
        generator.define(message)
    generator.line(0, "def write(v, text):")
    generator.line(1, "counts = []")
    first = generator.constant(prefix.decode("latin-1"))
    generator.line(1, f"out = {first} + write_{root.number}(v, 0, counts)")
    generator.line(1, "strings = sum(counts)")
    generator.line(1, """if text.count(b'"') != 2 * strings and strings_in(text) != strings: raise Undecided""")
    generator.refuse_unsure_zeros(1)
    generator.line(1, "return out.encode('latin-1')")
    write: Callable[[Any, bytes], bytes] = generator.compile("write")
    return write


class _Generator(Source):
    def __init__(self) -> None:
        super().__init__(strings_in=strings_in)
        self.heads: dict[tuple[bytes, bytes], tuple[str, str]] = {}

    def head(self, tag: bytes, value: str, wrapped: bytes = b"") -> str:
        """An expression for tag and length: most are short, and a list is quicker than anything else."""
        if (tag, wrapped) not in self.heads:
            table = heads(tag, wrapped)
            short = self.constant([table[size] for size in range(SHORT)]) if len(self.heads) < MAX_LISTS else ""
            self.heads[tag, wrapped] = short, self.constant(table)
        short, long = self.heads[tag, wrapped]
        return f"({short}[n] if (n := len({value})) < {SHORT} else {long}[n])" if short else f"({long}[len({value})])"

    def define(self, message: Message) -> None:
        """The function of a message: `deep` is the number of messages and map entries around it; `counts` get the
        number of its keys and text."""
        self.line(0, f"def write_{message.number}(v, deep, counts, UNSET=UNSET):")
        self.line(1, f"if deep > {wire.MAX_NESTING - _levels(message)}: raise Undecided")
        self.line(1, "out, strings = [], 0")
        oneofs = {name: self.variable() for name in sorted({field.oneof for field in message.fields if field.oneof})}
        for count in oneofs.values():
            self.line(1, f"{count} = 0")
        for index, field in enumerate(message.fields):
            value = self.variable()
            self.line(1, f"{value} = v.f{index}")
            if has_alias(message, field):
                self.line(1, f"if {value} is UNSET: {value} = v.g{index}")
            self.field(field, value, oneofs.get(field.oneof or ""))
        for count in oneofs.values():
            self.line(1, f"if {count} > 1: raise Undecided")
        self.line(1, "counts.append(strings)")
        self.line(1, "return ''.join(out)")

    def field(self, field: Field, value: str, count: str | None) -> None:
        if is_open(field):
            self.line(1, f"if {value} is not UNSET: raise Undecided")
            return
        if field.required:
            self.line(1, f"if {value} is UNSET or {value} is None: raise Undecided")
        self.line(1, f"if {value} is not UNSET:")
        self.line(2, f"if {value} is None: strings += 1")
        self.line(2, "else:")
        self.line(3, f"strings += {_strings(field, value)}")
        if _is_false_unwritten(field):
            self.line(3, f"if {value}:")
            self.given(field, value, count, 4)
        else:
            self.given(field, value, count, 3)

    def given(self, field: Field, value: str, count: str | None, indent: int) -> None:
        """A value that has to be written."""
        if count:
            self.line(indent, f"{count} += 1")
        if field.key is not None:
            self.entries(field, value, indent)
        elif field.packed:
            self.packed(field, value, indent)
        elif field.repeated:
            item = self.variable()
            self.line(indent, f"for {item} in {value}:")
            self.put("out", replace(field, explicit=True), item, indent + 1)
        else:
            self.put("out", field, value, indent)

    def packed(self, field: Field, value: str, indent: int) -> None:
        item, packed = self.variable(), self.variable()
        self.line(indent, f"{packed} = []")
        self.line(indent, f"for {item} in {value}:")
        self.put(packed, replace(field, tag=b"", explicit=True), item, indent + 1)
        self.line(indent, f"{packed} = ''.join({packed})")
        self.line(indent, f"out.append({self.head(field.tag, packed)} + {packed})")

    def entries(self, field: Field, value: str, indent: int) -> None:
        """Entries of a map, messages of their own: 1 is the key, always text here, 2 the value."""
        key, item, entry = self.variable(), self.variable(), self.variable()
        self.line(indent, f"for {key}, {item} in {value}.items():")
        self.line(indent + 1, f"{entry} = []")
        self.put(entry, replace(field, tag=b"\x0a", element=Element("string")), key, indent + 1)
        tag = varint(2 << 3 | field.element.wire_type)
        self.put(entry, replace(field, tag=tag, explicit=True), item, indent + 1, "deep + 2")
        self.line(indent + 1, f"{entry} = ''.join({entry})")
        self.line(indent + 1, f"out.append({self.head(field.tag, entry)} + {entry})")

    def put(self, out: str, field: Field, value: str, indent: int, deep: str = "deep + 1") -> None:
        """Lines that add a value with its tag to the list `out`."""
        element, message = field.element, field.element.message
        kind = WRAPPERS.get(element.label, element.kind)
        implicit = not field.explicit
        if element.enum is not None:
            self.look_up(out, symbols(element.enum, field.tag, implicit=implicit), value, indent)
        elif kind.endswith("64"):
            self.look_up(out, Remembered(either(numbers(element, field.tag, implicit=implicit))), value, indent)
        elif kind in ("float", "double"):
            write = numbers(element, field.tag, implicit=implicit)
            self.note_zero(indent, value)
            self.line(indent, f"{out}.append({self.constant(write)}({value}))")
        elif kind in ("string", "bytes") or element.label in AS_TEXT:
            if kind == "string":
                self.line(indent, f"if not {value}.isascii(): {value} = utf8({value})")
            else:
                read = base64 if kind == "bytes" else latin(AS_TEXT[element.label])
                self.line(indent, f"{value} = {self.constant(read)}({value})")
            wrapped = message.fields[0].tag if message is not None and message.name in WRAPPERS else b""
            self.line(indent, f"{out}.append{self.head(field.tag, value, wrapped)}")
            self.line(indent, f"{out}.append({value})")
        elif message is not None and kind == "message":
            data = self.variable()
            self.line(indent, f"{data} = write_{message.number}({value}, {deep}, counts)")
            if field.end:
                first, last = (self.constant(tag.decode("latin-1")) for tag in (field.tag, field.end))
                self.line(indent, f"{out}.append({first} + {data} + {last})")
            else:
                self.line(indent, f"{out}.append({self.head(field.tag, data)} + {data})")
        else:
            write = numbers(element, field.tag, implicit=implicit)
            self.look_up(
                out,
                {flag: write(flag) for flag in (False, True)} if kind == "bool" else Remembered(write),
                value,
                indent,
            )

    def look_up(self, out: str, table: dict[Any, str], value: str, indent: int) -> None:
        self.line(indent, f"{out}.append({self.constant(table)}[{value}])")


def _strings(field: Field, value: str) -> str:
    """An expression for the number of strings that a field has in JSON, its name among them, those of messages not."""
    element = field.element
    kind = WRAPPERS.get(element.label, element.kind)
    if kind in ("string", "bytes") or element.label in AS_TEXT:
        of_element = "1"
    elif kind == "enum" or kind.endswith("64"):
        of_element = "({}.__class__ is str)"
    else:
        of_element = ""
    if field.key is None and not field.repeated:
        return {"": "1", "1": "2"}.get(of_element, f"1 + {of_element.format(value)}")
    keys = f" + len({value})" if field.key is not None else ""
    items = f"{value}.values()" if field.key is not None else value
    if of_element == "1":
        return f"1 + len({value})" + keys
    return "1" + keys + (f" + sum([{of_element.format('item')} for item in {items}])" if of_element else "")


def _is_false_unwritten(field: Field) -> bool:
    """Whether all values that are false are not written; else they are, or it takes more to tell (-0.0, "0")."""
    if field.repeated or field.key is not None:
        return True
    element = field.element
    if element.message is not None:
        return not element.message.special
    return not field.explicit and element.enum is None and not element.kind.endswith(("64", "float", "double"))


def _levels(message: Message) -> int:
    """How many more levels a message has in itself: those of which no function is told the depth."""
    special = [field for field in message.fields if field.element.message and field.element.message.special]
    return max((2 if field.key else 1 for field in special), default=0)
