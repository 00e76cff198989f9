"""The fast path, writing: typed values to Avro by an encoder generated from the schema.

The source consists of names made here (f0, K1, write_2); all that comes from the schema is in constants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from inlake.formats.avro.binary import INTEGERS, SMALL, pack_double, pack_float, zigzag
from inlake.formats.avro.fast import defaults_to_null, is_plain
from inlake.formats.avro.logical import encode_logical
from inlake.formats.avro.types import ABSENT, Type
from inlake.formats.avro.walker import walk

_EXACT = {"float": float(1 << 24), "double": float(1 << 53)}
"""Below this every integer is exact; msgspec rounds those above without a word."""
_CLASSES = {"boolean": bool, "int": int, "long": int, "float": float, "double": float, "array": list, "map": dict}


class Doubt(Exception):
    """The fast path cannot vouch for this value."""


DOUBTS = (Doubt, LookupError, ValueError, ArithmeticError)
"""What the generated encoder raises when the walker has to decide: ValueError is text that is no bytes, or `Misfit`."""


def compile_writer(root: Type, classes: dict[int, type]) -> Callable[[Any], bytes]:
    """A function from the typed values of `fast.compile_reader` to Avro binary; raises one of `DOUBTS`."""
    generator = _Generator(classes)
    first = generator.function(root)
    generator.line(0, "def write(v):")
    generator.line(1, "out = []")
    generator.line(1, f"{first}(v, out)")
    generator.line(1, "return b''.join(out)")
    while generator.open:
        generator.define(*generator.open.pop())
    exec("\n".join(generator.lines), generator.names)  # noqa: S102  made of our own words only
    write: Callable[[Any], bytes] = generator.names["write"]
    return write


def _exactly(type_: Type, value: Any, out: list[bytes]) -> None:
    """A part that was left untyped, by the walker."""
    pieces, errors = walk(type_, value, max_errors=1)
    if errors:
        raise Doubt
    out += pieces


class _Generator:
    """Source so far, the names it uses, and the types whose function is still to be written."""

    def __init__(self, classes: dict[int, type]) -> None:
        self.classes = classes
        self.lines: list[str] = []
        self.open: list[tuple[str, Type]] = []
        self.functions: dict[int, str] = {}
        self.pending: list[str] = []
        self.variables = 0
        self.names: dict[str, Any] = {
            "UNSET": UNSET, "Doubt": Doubt, "INTEGERS": INTEGERS, "zigzag": zigzag, "exactly": _exactly,
            "pack_float": pack_float, "pack_double": pack_double, "encode_logical": encode_logical,
        }  # fmt: skip

    def line(self, indent: int, code: str) -> None:
        self.lines.append(" " * indent + code)

    def constant(self, value: Any) -> str:
        name = f"K{len(self.names)}"
        self.names[name] = value
        return name

    def variable(self) -> str:
        self.variables += 1
        return f"x{self.variables}"

    def function(self, type_: Type) -> str:
        """Its name; it is written later, so that no recursion follows the schema."""
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
            self.blocks(type_)
        else:
            self.value(type_, "v", 1)
        self.flush(1)
        self.line(1, "return")

    def flush(self, indent: int) -> None:
        """Write out the expressions that wait: one call for all of them."""
        if len(self.pending) == 1:
            self.line(indent, f"out.append({self.pending[0]})")
        elif self.pending:
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
            self.line(2, f"out.append({self.constant(field.filled)})")
            self.line(1, "else:")
            self.value(field.type, value, 2)
            self.flush(2)
            self.line(2, "pass")

    def blocks(self, container: Type) -> None:
        """An array or map as one block, then the empty block."""
        inner, item = container.inner[0], self.variable()
        self.line(1, "if v:")
        self.line(2, "out.append(zigzag(len(v)))")
        if container.kind == "array":
            self.line(2, f"for {item} in v:")
        else:
            self.line(2, f"for k, {item} in v.items():")
            self.text("k.encode()", 3)
        self.value(inner, item, 3)
        self.flush(3)
        self.line(3, "pass")
        self.pending.append(r"b'\0'")

    def value(self, type_: Type, value: str, indent: int) -> None:
        """Code that writes the variable `value`; some of it may wait in `pending`."""
        kind = type_.kind
        if type_.logical:
            self.pending.append(f"encode_logical({self.constant(type_)}, {value})")
        elif kind == "boolean":
            self.pending.append(rf"b'\1' if {value} else b'\0'")
        elif kind in ("int", "long"):
            self.pending.append(f"INTEGERS[{value}] if 0 <= {value} < {SMALL} else zigzag({value})")
        elif kind in _EXACT:
            self.line(indent, f"if not -{_EXACT[kind]} < {value} < {_EXACT[kind]}: raise Doubt")
            self.pending.append(f"pack_{kind}({value})")
        elif kind == "string":
            self.text(f"{value}.encode()", indent)
        elif kind == "bytes":
            self.text(f"{value}.encode('latin-1')", indent)
        elif kind == "fixed":
            self.line(indent, f"if len({value}) != {type_.size}: raise Doubt")
            self.pending.append(f"{value}.encode('latin-1')")
        elif kind == "enum":
            symbols = {symbol: zigzag(number) for symbol, number in type_.symbols.items()}
            self.pending.append(f"{self.constant(symbols)}[{value}]")
        elif kind == "union":
            self.union(type_, value, indent)
        elif kind != "null":
            self.flush(indent)
            self.line(indent, f"{self.function(type_)}({value}, out)")

    def text(self, encoded: str, indent: int) -> None:
        """Bytes with their length in front."""
        data = self.variable()
        self.line(indent, f"{data} = {encoded}")
        self.pending += [f"INTEGERS[len({data})] if len({data}) < {SMALL} else zigzag(len({data}))", data]

    def union(self, union: Type, value: str, indent: int) -> None:
        self.flush(indent)
        if not is_plain(union):
            self.line(indent, f"exactly({self.constant(union)}, {value}, out)")
            return
        word = "if"
        for index, branch in enumerate(union.inner):
            self.line(indent, f"{word} {self.belongs(branch, value)}:")
            self.pending.append(self.constant(zigzag(index)))
            self.value(branch, value, indent + 1)
            self.flush(indent + 1)
            word = "elif"
        self.line(indent, "else:")
        self.line(indent + 1, "raise Doubt")

    def belongs(self, branch: Type, value: str) -> str:
        """The condition that a value is of this branch."""
        if branch.kind == "null":
            return f"{value} is None"
        if branch.logical:
            return f"{value} is not None"
        class_ = self.classes[id(branch)] if branch.kind == "record" else _CLASSES.get(branch.kind, str)
        return f"{value}.__class__ is {self.constant(class_)}"
