"""The fast path, writing: typed values to the wire format by an encoder generated from the schema.

The source consists of names made here (f0, K1, write_2); all that comes from the schema is in constants. A message is
a list of pieces of wire text (see `pieces`): one for each key that it had as JSON, and one more for each string. So the
number of pieces tells whether all keys of the text are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import UNSET

from inlake.formats.protobuf import wire
from inlake.formats.protobuf.json_tree import strings_in
from inlake.formats.protobuf.typed import has_alias, is_open
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.protobuf.well_known import MOMENTS
from inlake.formats.protobuf.wire_text import Doubt, Remembered, base64, either, heads, latin, numbers, symbols, utf8

SHORT = 128
"""Up to this length texts and messages find their tag and length in a list..."""
MAX_LISTS = 200
"""... of which a schema gets so many: each takes some 9 kB."""


def compile_writer(root: Message, messages: list[Message], prefix: bytes) -> Callable[[Any, bytes], bytes]:
    """A function from the typed values of `fast.compile_reader`, and the text they come from, to `prefix` and the
    message in bytes; raises one of `pieces.DOUBTS`."""
    generator = _Generator()
    for message in messages:
        generator.define(message)
    exec("\n".join(generator.lines), generator.names)  # noqa: S102  made of our own words only
    write_root: Callable[[Any, int, list[int]], str] = generator.names[f"write_{root.number}"]
    first = prefix.decode("latin-1")

    def write(value: Any, text: bytes) -> bytes:
        quoted: list[int] = []
        written = first + write_root(value, 0, quoted)
        count = sum(quoted)
        if text.count(b'"') != 2 * count and strings_in(text) != count:
            raise Doubt  # msgspec has dropped a key, or a field came under both of its names
        return written.encode("latin-1")

    return write


class _Generator:
    """Source so far and the names it uses."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.variables = 0
        self.heads: dict[tuple[bytes, bytes], tuple[str, str]] = {}
        self.names: dict[str, Any] = {"UNSET": UNSET, "Doubt": Doubt, "utf8": utf8}

    def line(self, indent: int, code: str) -> None:
        self.lines.append(" " * indent + code)

    def constant(self, value: Any) -> str:
        name = f"K{len(self.names)}"
        self.names[name] = value
        return name

    def head(self, tag: bytes, value: str, wrapped: bytes = b"") -> str:
        """An expression for tag and length: most are short, and a list is quicker than anything else."""
        if (tag, wrapped) not in self.heads:
            table = heads(tag, wrapped)
            short = self.constant([table[size] for size in range(SHORT)]) if len(self.heads) < MAX_LISTS else ""
            self.heads[tag, wrapped] = short, self.constant(table)
        short, long = self.heads[tag, wrapped]
        return f"({short}[n] if (n := len({value})) < {SHORT} else {long}[n])" if short else f"({long}[len({value})])"

    def variable(self) -> str:
        self.variables += 1
        return f"x{self.variables}"

    def define(self, message: Message) -> None:
        """`deep` is the number of messages and map entries around this one; `quoted` counts keys and strings."""
        self.line(0, f"def write_{message.number}(v, deep, quoted, UNSET=UNSET):")
        self.line(1, f"if deep > {wire.MAX_NESTING - _levels(message)}: raise Doubt")
        self.line(1, "out = []")
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
            self.line(1, f"if {count} > 1: raise Doubt")
        self.line(1, "quoted.append(len(out))")
        self.line(1, "return ''.join(out)")

    def field(self, field: Field, value: str, count: str | None) -> None:
        if is_open(field):
            self.line(1, f"if {value} is not UNSET: raise Doubt")
            return
        if field.required:
            self.line(1, f"if {value} is UNSET or {value} is None: raise Doubt")
        if _is_false_unwritten(field):
            self.line(1, f"if {value}:")
            self.given(field, value, count)
            self.line(1, f"elif {value} is not UNSET:")
            text = field.key is None and not field.repeated and field.element.kind in ("string", "bytes")
            self.line(2, f"out += ('', '') if {value} == '' else ('',)" if text else "out.append('')")
        else:
            self.line(1, f"if {value} is None: out.append('')")
            self.line(1, f"elif {value} is not UNSET:")
            self.given(field, value, count)

    def given(self, field: Field, value: str, count: str | None) -> None:
        """A value that may have to be written."""
        if count:
            self.line(2, f"{count} += 1")
        if field.key is not None:
            self.entries(field, value)
        elif field.packed:
            self.packed(field, value)
        elif field.repeated:
            item = self.variable()
            self.line(2, f"for {item} in {value}:")
            self.put("out", replace(field, explicit=True), item, 3)
            self.line(2, f"quoted.append(1 - len({value}))")  # all these pieces had one key
        else:
            self.put("out", field, value, 2)

    def packed(self, field: Field, value: str) -> None:
        item, packed = self.variable(), self.variable()
        self.line(2, f"{packed} = []")
        self.line(2, f"for {item} in {value}:")
        self.put(packed, replace(field, tag=b"", explicit=True), item, 3)
        self.line(2, f"quoted.append(len({packed}) - len({value}))")
        self.line(2, f"{packed} = ''.join({packed})")
        self.line(2, f"out.append({self.head(field.tag, packed)} + {packed})")

    def entries(self, field: Field, value: str) -> None:
        """Entries of a map, messages of their own: 1 is the key, always text here, 2 the value."""
        key, item, entry = self.variable(), self.variable(), self.variable()
        self.line(2, "quoted.append(1)")
        self.line(2, f"for {key}, {item} in {value}.items():")
        self.line(3, f"{entry} = []")
        self.put(entry, replace(field, tag=b"\x0a", element=Element("string")), key, 3)
        tag = wire.varint(2 << 3 | field.element.wire_type)
        self.put(entry, replace(field, tag=tag, explicit=True), item, 3, "deep + 2")
        self.line(3, f"quoted.append(len({entry}) - 3)")  # the key has two pieces there, and the entry is one here
        self.line(3, f"{entry} = ''.join({entry})")
        self.line(3, f"out.append({self.head(field.tag, entry)} + {entry})")

    def put(self, out: str, field: Field, value: str, indent: int, deep: str = "deep + 1") -> None:
        """Lines that add a value to the list `out`: one piece, and one more if it was a string."""
        element, message = field.element, field.element.message
        kind = WRAPPERS.get(element.label, element.kind)
        implicit = not field.explicit
        if element.enum is not None:
            table = symbols(element.enum, field.tag, implicit=implicit)
            self.line(indent, f"{out} += {self.constant(table)}[{value}]")
        elif kind.endswith("64"):
            table = Remembered(either(numbers(element, field.tag, implicit=implicit)))
            self.line(indent, f"{out} += {self.constant(table)}[{value}]")
        elif kind in ("float", "double"):
            write = numbers(element, field.tag, implicit=implicit)
            self.line(indent, f"{out}.append({self.constant(write)}({value}))")
        elif kind in ("string", "bytes") or element.label in MOMENTS:
            if kind == "string":
                self.line(indent, f"if not {value}.isascii(): {value} = utf8({value})")
            else:
                read = base64 if kind == "bytes" else latin(MOMENTS[element.label])
                self.line(indent, f"{value} = {self.constant(read)}({value})")
            wrapped = message.fields[0].tag if message is not None and message.name in WRAPPERS else b""
            self.line(indent, f"{out}.append{self.head(field.tag, value, wrapped)}")
            self.line(indent, f"{out}.append({value})")
        elif message is not None and kind == "message":
            data = self.variable()
            self.line(indent, f"{data} = write_{message.number}({value}, {deep}, quoted)")
            if field.end:
                first, last = (self.constant(tag.decode("latin-1")) for tag in (field.tag, field.end))
                self.line(indent, f"{out}.append({first} + {data} + {last})")
            else:
                self.line(indent, f"{out}.append({self.head(field.tag, data)} + {data})")
        else:
            write = numbers(element, field.tag, implicit=implicit)
            pieces = {flag: write(flag) for flag in (False, True)} if kind == "bool" else Remembered(write)
            self.line(indent, f"{out}.append({self.constant(pieces)}[{value}])")


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
