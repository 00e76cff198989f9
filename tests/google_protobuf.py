"""Google's own Protobuf for tests: its compiler, its runtime and its json_format, none of which is on the path."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from grpc_tools import protoc


class Google:
    """A message type of a schema, as google's runtime has it."""

    def __init__(self, schema: str, message: str | Sequence[int], references: Mapping[str, str] | None = None) -> None:
        """`message`: its full name, or its place in the file, index by index; `references`: texts by import path."""
        self.files = _compile(schema, tuple((references or {}).items()))
        self.pool = descriptor_pool.DescriptorPool()
        for file in self.files.file:
            self.pool.Add(file)
        name = message if isinstance(message, str) else _name_at(self.files.file[-1], message)
        self.type: type[Message] = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def from_json(self, text: str | bytes) -> Message:
        """Raises `json_format.ParseError` and more."""
        return json_format.Parse(text, self.type(), descriptor_pool=self.pool)

    def from_bytes(self, data: bytes) -> Message:
        """Unknown fields must not be there: they are what a wrong tag looks like."""
        message = self.type.FromString(data)
        lean = self.type.FromString(data)
        lean.DiscardUnknownFields()
        assert message.SerializeToString(deterministic=True) == lean.SerializeToString(deterministic=True)
        return message

    def to_plain(self, message: Message) -> Any:
        return json_format.MessageToDict(message, descriptor_pool=self.pool)


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: Sequence[int]) -> str:
    first, *others = path
    message = file.message_type[first]
    names = [file.package, message.name]
    for index in others:
        message = message.nested_type[index]
        names.append(message.name)
    return ".".join(filter(None, names))


@cache
def _compile(schema: str, references: tuple[tuple[str, str], ...]) -> descriptor_pb2.FileDescriptorSet:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("schema.proto", schema), *references):
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).write_text(text)
        made = Path(folder, "made")
        built_in = Path(grpc_tools.__file__).parent / "_proto"
        options = [f"-I{folder}", f"-I{built_in}", "--include_imports", f"--descriptor_set_out={made}"]
        assert protoc.main(["protoc", *options, "schema.proto"]) == 0
        return descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes())
