"""What differs between two Avro schemas, by the rules of schema resolution (Avro 1.12, "Schema Resolution")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from inlake.formats.json_text import shorten
from inlake.formats.pointer import Place, pointer

Node = dict[str, Any]
"""A type without shorthand: `type` is a primitive, `union`, `array`, `map` or the kind of a named type."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
WIDER = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""What a reader may read a type as."""
TAKES = {"int": {"long", "double"}, "float": {"double"}}
"""Types that take every JSON value of another."""


class Difference(NamedTuple):
    """One thing that is not as it was, from schema A to schema B."""

    place: str
    """JSON Pointer into a record; `*` is every item of an array, every value of a map."""
    change: str
    accepted: bool
    """As far as this goes, records made for A fit B."""
    reads_old: bool
    """Readers that have B read events written with A."""
    reads_new: bool
    """Readers that have A read events written with B."""


def avro_differences(old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    """From A to B; each is schema texts that are valid together, the one that counts last. Docs do not count."""
    comparison = _Comparison(_Definitions(), _Definitions())
    a, b = comparison.old.read(old), comparison.new.read(new)
    return list(comparison.types(None, a, b))


class _Definitions:
    """Named types by their full names."""

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}

    def read(self, texts: Sequence[str]) -> Node:
        for text in texts:
            root = self._parse(json.loads(text.removeprefix("\ufeff")), "")
        return self.resolved(root)

    def resolved(self, node: Node) -> Node:
        """The definition where a name stands."""
        if node["type"] != "name":
            return node
        return self.names.get(node["name"]) or self.names[node["short"]]

    def branches(self, node: Node) -> dict[str, Node]:
        """Branches of a union by their full names; any other type is its own only one."""
        nodes = map(self.resolved, node["branches"] if node["type"] == "union" else [node])
        return {str(branch.get("name", branch["type"])): branch for branch in nodes}

    def _parse(self, node: Any, namespace: str) -> Node:
        if isinstance(node, list):
            return {"type": "union", "branches": [self._parse(branch, namespace) for branch in node]}
        if isinstance(node, str):
            full = node if "." in node or not namespace else f"{namespace}.{node}"
            return {"type": node} if node in PRIMITIVES else {"type": "name", "name": full, "short": node}
        kind = node["type"]
        if not isinstance(kind, str):
            return self._parse(kind, namespace)
        if kind in ("array", "map"):
            return {"type": kind, "inner": self._parse(node["items" if kind == "array" else "values"], namespace)}
        if kind in ("record", "error", "enum", "fixed"):
            return self._named(node, namespace)
        parsed = self._parse(kind, namespace)
        return {**node, **parsed} if kind in PRIMITIVES else parsed

    def _named(self, node: Node, namespace: str) -> Node:
        name, space = node["name"], node.get("namespace", namespace)
        full = name if "." in name or not space else f"{space}.{name}"
        named = self.names[full] = {**node, "name": full, "type": node["type"].replace("error", "record")}
        if named["type"] == "record":
            inner = full.rpartition(".")[0]
            named["fields"] = {
                field["name"]: {**field, "type": self._parse(field["type"], inner)} for field in node["fields"]
            }
        return named


class _Comparison:
    """Walks two schemas side by side; a pair of records is compared where it is met first."""

    def __init__(self, old: _Definitions, new: _Definitions) -> None:
        self.old = old
        self.new = new
        self._seen: set[tuple[str, str]] = set()

    def types(self, place: Place, a: Node, b: Node) -> Iterator[Difference]:
        a, b = self.old.resolved(a), self.new.resolved(b)
        if "union" in (a["type"], b["type"]):
            yield from self._unions(place, a, b)
        elif a["type"] != b["type"]:
            was, now = a["type"], b["type"]
            yield _difference(
                place,
                f"{_label(a)} is now {_label(b)}",
                accepted=now in TAKES.get(was, ()),
                reads_old=now in WIDER.get(was, ()),
                reads_new=was in WIDER.get(now, ()),
            )
        else:
            yield from self._alike(place, a, b)

    def _alike(self, place: Place, a: Node, b: Node) -> Iterator[Difference]:
        """Two types of one kind."""
        kind = a["type"]
        if _short(a) != _short(b):
            reads_old = _short(a) in [alias.rpartition(".")[2] for alias in b.get("aliases", [])]
            yield _difference(place, f"{a['name']} is now called {b['name']}", reads_old=reads_old, reads_new=False)
        if kind in ("array", "map"):
            yield from self.types((place, "*"), a["inner"], b["inner"])
        elif kind == "enum":
            yield from _symbols(place, a, b)
        elif kind == "record" and (a["name"], b["name"]) not in self._seen:
            self._seen.add((a["name"], b["name"]))
            yield from self._fields(place, a, b)
        if kind == "fixed" and a["size"] != b["size"]:
            change = f"{a['size']} bytes are now {b['size']}"
            yield _difference(place, change, accepted=False, reads_old=False, reads_new=False)
        elif _logical(a) != _logical(b):
            reads = "decimal" not in (a.get("logicalType"), b.get("logicalType"))
            accepted = kind == "string" and not _logical(b)
            change = f"{_label(a)} is now {_label(b)}"
            yield _difference(place, change, accepted=accepted, reads_old=reads, reads_new=reads)

    def _unions(self, place: Place, a: Node, b: Node) -> Iterator[Difference]:
        old, new = self.old.branches(a), self.new.branches(b)
        for name in filter(new.__contains__, old):
            yield from self.types(place, old[name], new[name])
        gone = [branch for name, branch in old.items() if name not in new]
        come = [branch for name, branch in new.items() if name not in old]
        for branch in gone:
            kinds = {other["type"] for other in new.values()}
            reads, takes = (bool(kinds & table.get(branch["type"], set())) for table in (WIDER, TAKES))
            yield _difference(place, f"{_label(branch)} is no longer allowed", accepted=takes, reads_old=reads)
        for branch in come:
            reads = bool({other["type"] for other in old.values()} & WIDER.get(branch["type"], set()))
            yield _difference(place, f"{_label(branch)} is allowed too", reads_new=reads)

    def _fields(self, place: Place, a: Node, b: Node) -> Iterator[Difference]:
        old, new = a["fields"], b["fields"]
        renamed: dict[str, str] = {}
        for name, field in new.items():
            if name not in old:
                renamed |= {alias: name for alias in field.get("aliases", []) if alias in old and alias not in new}
        for name, field in old.items():
            here: Place = (place, name)
            if name in new:
                yield from chain(_defaults(here, field, new[name]), self.types(here, field["type"], new[name]["type"]))
            elif name in renamed:
                change = f"the field is now called {renamed[name]}"
                yield _difference(here, change, accepted=False, reads_new="default" in field)
                yield from self.types(here, field["type"], new[renamed[name]]["type"])
            else:
                yield _difference(here, "the field is gone", accepted=False, reads_new="default" in field)
        for name in (name for name in new if name not in old and name not in renamed.values()):
            given = "default" in new[name]
            change = f"a new field, {_default(new[name])}"
            yield _difference((place, name), change, accepted=given, reads_old=given)


def _difference(
    place: Place, change: str, *, accepted: bool = True, reads_old: bool = True, reads_new: bool = True
) -> Difference:
    return Difference(pointer(place), change, accepted, reads_old, reads_new)


def _defaults(place: Place, a: Node, b: Node) -> Iterator[Difference]:
    if _default(a) != _default(b):
        gone = "default" in a and "default" not in b
        yield _difference(place, f"{_default(a)} is now {_default(b)}", accepted=not gone)


def _symbols(place: Place, a: Node, b: Node) -> Iterator[Difference]:
    for symbol in a["symbols"]:
        if symbol not in b["symbols"]:
            yield _difference(place, f"the symbol {symbol} is gone", accepted=False, reads_old="default" in b)
    for symbol in b["symbols"]:
        if symbol not in a["symbols"]:
            yield _difference(place, f"a new symbol, {symbol}", reads_new="default" in a)


def _short(node: Node) -> str:
    """The name without its namespace: schema resolution compares that."""
    return str(node.get("name", "")).rpartition(".")[2]


def _default(field: Node) -> str:
    if "default" not in field:
        return "without default"
    return f"default {shorten(json.dumps(field['default'], ensure_ascii=False))}"


def _logical(node: Node) -> tuple[Any, ...]:
    if node.get("logicalType") == "decimal":
        return "decimal", node.get("precision"), node.get("scale", 0)
    return (node["logicalType"],) if "logicalType" in node else ()


def _label(node: Node) -> str:
    name = str(node.get("name", node["type"]))
    logical = _logical(node)
    details = f"({', '.join(map(str, logical[1:]))})" if len(logical) > 1 else ""
    return f"{name} ({logical[0]}{details})" if logical else name
