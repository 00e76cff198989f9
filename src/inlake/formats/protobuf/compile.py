"""`.proto` text to descriptors: protoc runs inside this process, imports come from the schema's references only."""

from __future__ import annotations

import ast
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc_tools
from grpc_tools import _protoc_compiler
from protobuf import DescFile, Registry
from protobuf.wkt import FileDescriptorProto, FileDescriptorSet

from inlake.errors import InvalidSchema
from inlake.formats.json_text import shorten
from inlake.formats.protobuf.known import known_imports

MAX_TEXT = 1 << 20
"""Bytes of a schema with all its references."""
MAX_BLOCKS = 5_000
"""Opening braces in a schema with all its references: messages, enums, oneofs. They take about 0.2 ms each."""
MAX_REASON = 300
"""Characters of protoc's message that go into an error."""

RESERVED = range(19_000, 20_000)
"""Numbers that no field may have (protobuf.dev, "Assigning Field Numbers"); protoc as it is called here takes them."""

_BUILT_IN = Path(grpc_tools.__file__).parent / "_proto"
_MAIN = "inlake_schema.proto"
_IMPORT_PATH = re.compile(r"(?:(?!\.{1,2}/)[A-Za-z0-9_.+-]{1,200}/){0,20}[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,199}\Z")
_SYNTAX = re.compile(r"\b(?:syntax|edition)\s*=")
_DESCRIPTOR = re.compile(rb"AddSerializedFile\((b'(?:[^'\\]|\\.)*')\)")
_DEFAULT_SYNTAX = 'syntax = "proto2";\n'  # what protoc assumes anyway, but with a warning on the server's stderr
_LOCK = threading.Lock()  # protoc is not promised to be thread-safe


def compile_proto(text: str, references: Sequence[tuple[str, str]] = ()) -> tuple[Registry, DescFile]:
    """All types of a schema, and the file it is itself; `references` are (import path, text).

    Well-known types (`google/protobuf/...`) and those of `known` need no reference. `InvalidSchema` with `line` and
    `column`.
    """
    files = {name: part for name, part in references if not (_BUILT_IN / _checked(name)).is_file()} | {_MAIN: text}
    if sum(len(part.encode(errors="replace")) for part in files.values()) > MAX_TEXT:
        raise InvalidSchema(f"The schema with its references is longer than {MAX_TEXT:,} bytes.")
    if sum(part.count("{") for part in files.values()) > MAX_BLOCKS:
        raise InvalidSchema(f"The schema with its references has more than {MAX_BLOCKS:,} messages, enums and oneofs.")
    if not text.strip():
        raise InvalidSchema("The schema is empty; a .proto text is expected.")
    set_ = FileDescriptorSet(file=[_descriptor(code) for code in _protoc(files | known_imports(files))])
    try:
        registry = set_.to_registry()
    except (ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise InvalidSchema(f"The schema cannot be used: {shorten(str(error))}") from None
    main = registry.file(_MAIN)
    if main is None:
        raise InvalidSchema("The schema cannot be used: protoc gave no descriptor for it.")
    return registry, main


def _checked(name: str) -> str:
    if not _IMPORT_PATH.match(name) or name == _MAIN:
        raise InvalidSchema(f"The reference name {shorten(name)!r} is not an import path such as museum/common.proto.")
    return name


def _protoc(files: Mapping[str, str]) -> list[bytes]:
    """The Python code that protoc makes of the main file and all it imports, in the order of the imports."""
    without_syntax = {name for name, text in files.items() if not _SYNTAX.search(text)}
    with tempfile.TemporaryDirectory(prefix="inlake-proto-") as folder:
        try:
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                head = _DEFAULT_SYNTAX if name in without_syntax else ""
                path.write_bytes((head + text).encode(errors="replace"))
        except OSError:
            raise InvalidSchema(
                "The names of the references contradict each other: one is a folder of another."
            ) from None
        try:
            with _LOCK:
                made = _protoc_compiler.get_protos(_MAIN.encode(), [folder.encode(), str(_BUILT_IN).encode()])
        except _protoc_compiler.ProtocErrors as error:
            raise _invalid(error.args[0], without_syntax) from None
    return [code for _, code in made]


def _invalid(errors: Sequence[Any], without_syntax: set[str]) -> InvalidSchema:
    """The first error that has a line; protoc counts from 0."""
    found = next((error for error in errors if error.line >= 0), errors[0])
    file, reason = _text(found.filename), _text(found.message).rstrip(". ")
    line, column = max(found.line, 0) + 1 - (file in without_syntax), found.column + 1
    where = "" if file == _MAIN else f" in {shorten(file)}"
    detail = f"The schema is not valid Protobuf{where} at line {line}, column {column}: {reason[:MAX_REASON]}."
    if reason.startswith("Import "):
        detail += " Imports are resolved from the schema's references: register one with that name."
    return InvalidSchema(detail, line=line, column=column)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _descriptor(code: bytes) -> FileDescriptorProto:
    """The descriptor inside of the Python code; protoc leaves derived JSON names out there."""
    found = _DESCRIPTOR.search(code)
    if found is None:
        raise InvalidSchema("The schema cannot be used: protoc gave no descriptor for one of its files.")
    file = FileDescriptorProto.from_binary(ast.literal_eval(found[1].decode()))
    messages = list(file.message_type)
    fields = list(file.extension)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        fields += [*message.field, *message.extension]
    for field in fields:
        if not field.json_name:
            field.json_name = _json_name(field.name)
        if field.number in RESERVED:
            raise InvalidSchema(
                f"The schema is not valid Protobuf: the field {shorten(field.name)} has the number {field.number}; "
                "19000 to 19999 are reserved for implementations of Protobuf."
            )
    return file


def _json_name(name: str) -> str:
    """The name in lowerCamelCase as protoc derives it: a letter after an underscore is a capital, underscores go."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
