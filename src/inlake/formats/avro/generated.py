"""The fast path, writing: typed values to Avro by an encoder generated from the schema.

What it writes is a list of texts, joined at the end, in which every character is a byte (latin-1): Python joins text
faster than bytes, and most of a record is ASCII text already, which is its own UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from inlake.formats.avro.binary import INTEGERS, SMALL
from inlake.formats.avro.exact import refuse_too_large, walk
from inlake.formats.avro.logical import encode_logical
from inlake.formats.avro.typed import defaults_to_null, is_plain
from inlake.formats.avro.types import Type
from inlake.formats.binary import pack_double, zigzag
from inlake.formats.json_text import ABSENT
from inlake.formats.numbers import single_text
from inlake.formats.source import Source, Undecided

_EXACT = {"float": float(1 << 24), "double": float(1 << 53)}
"""Below this every integer is exact; msgspec rounds those above without a word."""
_CLASSES = {"boolean": bool, "int": int, "long": int, "float": float, "double": float, "array": list, "map": dict}
_SMALL = [number.decode("latin-1") for number in INTEGERS]
_FIRST = _SMALL[:4]
"""The numbers of branches that integers and lengths are kept with: most unions are short."""
NESTED = 10
"""Blocks of the source in each other, up to which arrays and maps are written where they stand."""


def compile_writer(
    root: Type, classes: dict[int, type], records: list[Type], max_bytes: int | None
) -> Callable[[Any, bytes], bytes]:
    """A function from the typed values of `typed.compile_reader`, and the text they come from, to Avro binary; raises
    one of `source.UNDECIDED`, and `RecordTooLarge`."""
    generator = _Generator(classes)
    first = generator.function(root)
    while generator.open:
        generator.define(*generator.open.pop())
    generator.line(0, "def write(v, text):")
    generator.line(1, "out = []")
    generator.line(1, f"{first}(v, out)")
    generator.refuse_unsure_zeros(1)
    if max_bytes is not None:
        # a record takes two characters at least, and gets its defaults; text and numbers have at most ten bytes for one
        growth = 10 + max(
            (sum(len(field.filled or b"") for field in one.fields.values()) for one in records), default=0
        )
        generator.line(1, f"if len(text) > {max_bytes // growth}: refuse_too_large(sum(map(len, out)), {max_bytes})")
    generator.line(1, "return ''.join(out).encode('latin-1')")
    write: Callable[[Any, bytes], bytes] = generator.compile("write")
    return write


def _exactly(type_: Type, value: Any, out: list[str]) -> None:
    """Write a part that was left untyped by the exact rules."""
    encoded, errors = walk(type_, value, max_errors=1)
    if errors:
        raise Undecided
    out.append(encoded.decode("latin-1"))


def _integer(n: int) -> str:
    """Any integer of 64 bits, zig-zag; quick for identifiers of three bytes, of which there is no end."""
    if SMALL <= n < SMALL << 7:
        return chr(n << 1 & 0x7F | 0x80) + chr(n >> 6 & 0x7F | 0x80) + chr(n >> 13)
    return zigzag(n).decode("latin-1")


@cache
def _small(branch: str) -> list[str]:
    return [branch + number for number in _SMALL]


class _Generator(Source):
    """The source, and the types whose function is still to be written."""

    def __init__(self, classes: dict[int, type]) -> None:
        super().__init__(
            SMALL=_SMALL, integer=_integer, exactly=_exactly, encode_logical=encode_logical,
            single=single_text, pack_double=pack_double, refuse_too_large=refuse_too_large,
        )  # fmt: skip
        self.classes = classes
        self.open: list[tuple[str, Type]] = []
        self.functions: dict[int, str] = {}
        self.pending: list[str] = []
        self.integers = {"": "SMALL"}

    def function(self, type_: Type) -> str:
        """The name of the function of a type, which is written later: so no recursion follows the schema."""
        name = self.functions.get(id(type_))
        if name is None:
            name = self.functions[id(type_)] = f"write_{len(self.functions)}"
            self.open.append((name, type_))
        return name

    def define(self, name: str, type_: Type) -> None:
        self.line(0, f"def {name}(v, out):")
        if type_.kind == "record":
            self.record(type_)
        elif type_.kind in ("array", "map"):
            self.blocks(type_, "v", 1)
        else:
            self.value(type_, "v", 1)
        self.flush(1)
        self.line(1, "return")

    def flush(self, indent: int) -> None:
        """Write out the expressions that wait: several at a time, where there are few one by one, as is quicker."""
        if len(self.pending) < 5:
            for expression in self.pending:
                self.line(indent, f"out.append({expression})")
        else:
            self.line(indent, f"out += ({', '.join(self.pending)})")
        self.pending.clear()

    def record(self, record: Type) -> None:
        for number, field in enumerate(record.fields.values()):
            value = self.variable()
            self.line(1, f"{value} = v.f{number}")
            if field.default is ABSENT or defaults_to_null(field):
                self.value(field.type, value, 1)
                continue
            self.flush(1)
            self.line(1, f"if {value} is UNSET:")
            self.line(2, f"out.append({self.constant((field.filled or b'').decode('latin-1'))})")
            self.line(1, "else:")
            self.value(field.type, value, 2)
            self.flush(2)
            self.line(2, "pass")

    def blocks(self, container: Type, value: str, indent: int) -> None:
        """An array or map as one block, then the empty block."""
        self.flush(indent)
        inner, key, item = container.inner[0], self.variable(), self.variable()
        self.line(indent, f"if {value}:")
        self.line(indent + 1, f"out.append({self.head(value)})")
        if container.kind == "array":
            self.line(indent + 1, f"for {item} in {value}:")
        else:
            self.line(indent + 1, f"for {key}, {item} in {value}.items():")
            self.text(key, indent + 2)
        self.value(inner, item, indent + 2)
        self.flush(indent + 2)
        self.line(indent + 2, "pass")
        self.pending.append(r"'\0'")

    def value(self, type_: Type, value: str, indent: int, branch: str = "") -> None:
        """Code that writes the number of a branch and the variable `value`; some of it may wait in `pending`."""
        kind = type_.kind
        if branch and (type_.logical or kind not in ("string", "bytes", "int", "long") or branch not in _FIRST):
            self.pending.append(self.constant(branch))
            branch = ""
        if type_.logical:
            self.pending.append(f"encode_logical({self.constant(type_)}, {value}).decode('latin-1')")
        elif kind == "boolean":
            self.pending.append(rf"'\1' if {value} else '\0'")
        elif kind in ("int", "long"):
            small, large = self.small(branch), self.large(branch)
            self.pending.append(f"{small}[{value}] if 0 <= {value} < {SMALL} else {large}integer({value})")
        elif kind in _EXACT:
            self.line(indent, f"if not -{_EXACT[kind]} < {value} < {_EXACT[kind]}: raise Undecided")
            self.note_zero(indent, value)
            self.pending.append(f"single({value})" if kind == "float" else f"pack_double({value}).decode('latin-1')")
        elif kind == "string":
            self.text(value, indent, branch)
        elif kind == "bytes":  # each character is a byte: else there is no latin-1 of it in the end
            self.pending += [self.head(value, branch), value]
        elif kind == "fixed":
            self.line(indent, f"if len({value}) != {type_.size}: raise Undecided")
            self.pending.append(value)
        elif kind == "enum":
            symbols = {symbol: _integer(number) for symbol, number in type_.symbols.items()}
            self.pending.append(f"{self.constant(symbols)}[{value}]")
        elif kind == "union":
            self.union(type_, value, indent)
        elif kind in ("array", "map") and indent < NESTED:
            self.blocks(type_, value, indent)
        elif kind != "null":
            self.flush(indent)
            self.line(indent, f"{self.function(type_)}({value}, out)")

    def text(self, value: str, indent: int, branch: str = "") -> None:
        """A string in UTF-8 with its length in front."""
        self.line(indent, f"if not {value}.isascii(): {value} = utf8({value})")
        self.pending += [self.head(value, branch), value]

    def head(self, value: str, branch: str = "") -> str:
        """An expression for the number of a branch and a length."""
        return f"{self.small(branch)}[n] if (n := len({value})) < {SMALL} else {self.large(branch)}integer(n)"

    def small(self, branch: str) -> str:
        """The list of integers from 0 to below `SMALL`, the number of a branch in front of each."""
        if branch not in self.integers:
            self.integers[branch] = self.constant(_small(branch))
        return self.integers[branch]

    def large(self, branch: str) -> str:
        return f"{self.constant(branch)} + " if branch else ""

    def union(self, union: Type, value: str, indent: int) -> None:
        self.flush(indent)
        if not is_plain(union):
            self.line(indent, f"exactly({self.constant(union)}, {value}, out)")
            return
        # null first, it needs no class; the last needs no question: msgspec has seen that it is one of them
        branches = sorted(enumerate(union.inner), key=lambda branch: branch[1].kind != "null")
        for place, (index, branch) in enumerate(branches):
            word = "if" if place == 0 else "elif"
            last = place == len(branches) - 1
            self.line(indent, "else:" if last and place else f"{word} {self.belongs(branch, value)}:")
            if branch.kind == "null":
                self.pending.append(self.constant(_integer(index)))
            else:
                self.value(branch, value, indent + 1, _integer(index))
            self.flush(indent + 1)
        if len(branches) == 1:
            self.line(indent, "else: raise Undecided")

    def belongs(self, branch: Type, value: str) -> str:
        """The condition that a value is of this branch."""
        if branch.kind == "null":
            return f"{value} is None"
        if branch.logical:
            return f"{value} is not None"
        class_ = self.classes[id(branch)] if branch.kind == "record" else _CLASSES.get(branch.kind, str)
        return f"{value}.__class__ is {self.constant(class_)}"
