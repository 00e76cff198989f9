"""Files that a .proto may import without a reference, since the registries take them so: google/type and confluent.

The interface of Confluent's files is that of its clients; Google's come with the package googleapis-common-protos.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_META = [
    f"extend google.protobuf.{kind}Options {{ optional Meta {name}_meta = 1088; }}"
    for kind, name in [
        ("File", "file"),
        ("Message", "message"),
        ("Field", "field"),
        ("Enum", "enum"),
        ("EnumValue", "enum_value"),
    ]
]
_CONFLUENT = {
    "confluent/meta.proto": [
        'syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";',
        "message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3;",
        "  repeated Rule rules = 4; }",
        "message Rule { string name = 1; string doc = 2; string expr = 3; string sql = 4; }",
        *_META,
    ],
    "confluent/type/decimal.proto": [
        'syntax = "proto3"; package confluent.type;',
        "message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }",
    ],
    "confluent/type/variant.proto": [
        'syntax = "proto3"; package confluent.type;',
        "message Variant { bytes metadata = 1; bytes value = 2; }",
    ],
    "confluent/types/decimal.proto": ['syntax = "proto3"; import public "confluent/type/decimal.proto";'],
}
_IMPORT = re.compile(r'["\']((?:google/type|confluent)/[a-z_/]{1,40}\.proto)["\']')


def known_imports(files: Mapping[str, str]) -> dict[str, str]:
    """The known files that these files import, and those import, by path; a file of the same path goes before."""
    found: dict[str, str] = {}
    waiting = list(files.values())
    while waiting:
        for path in _IMPORT.findall(waiting.pop()):
            text = "" if path in files or path in found else _known(path)
            if text:
                found[path] = text
                waiting.append(text)
    return found


@cache
def _known(path: str) -> str:
    if path in _CONFLUENT:
        return "\n".join(_CONFLUENT[path])
    package = find_spec("google.type") if path.startswith("google/type/") else None
    folders = list(package.submodule_search_locations or ()) if package else []
    files = [Path(folder, Path(path).name) for folder in folders]
    return next((file.read_text() for file in files if file.is_file()), "")
