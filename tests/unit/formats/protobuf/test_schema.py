"""What the compiler makes of .proto texts: good ones, broken ones and hostile ones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import BadParameter, InvalidSchema
from inlake.formats import compile_codec
from inlake.formats.protobuf.codec import ProtobufCodec
from inlake.formats.protobuf.compile import MAX_BLOCKS, MAX_TEXT
from tests.google_protobuf import Google

PROTO3 = 'syntax = "proto3"; '


def encode(codec: ProtobufCodec, record: object) -> bytes:
    return codec.encode(codec.read(json.dumps(record).encode()))


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        (PROTO3 + "mesage A {}", 1, 20, "Expected top-level statement"),
        ('syntax = "proto3";\nmessage A {\n  B b = 1;\n}', 3, 3, '"B" is not defined'),
        ("message A {\n  B b = 1;\n}", 2, 3, "Expected"),
        (PROTO3 + 'import "missing.proto"; message A {}', 1, 20, "register one with that name"),
        (PROTO3 + 'import "../secret.proto"; message A {}', 1, 20, "not found"),
        (PROTO3 + 'import "/etc/passwd"; message A {}', 1, 20, "not found"),
        (PROTO3 + "message A { int32 foo_bar = 1; int32 fooBar = 2; }", 1, 57, "conflicts"),
        (PROTO3 + "message A { int32 a = 1; int32 b = 1; }", 1, 55, "already been used"),
        ('syntax = "proto9"; message A {}', 1, 10, "Unrecognized syntax"),
    ],
)
def test_a_broken_schema_is_refused_with_line_and_column(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(InvalidSchema, match=reason) as caught:
        ProtobufCodec(text)
    assert caught.value.members == {"line": line, "column": column}


@pytest.mark.parametrize("text", ["", "  \n", PROTO3, PROTO3 + "enum E { A = 0; }"])
def test_a_schema_without_a_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchema, match=r"empty|defines no message"):
        ProtobufCodec(text)


def test_imports_come_from_the_references_at_any_depth() -> None:
    references = [
        ("museum/place.proto", PROTO3 + "package museum; message Place { string name = 1; }"),
        ("museum/event.proto", PROTO3 + 'package museum; import public "museum/place.proto"; message Event { Place place = 1; }'),
        ("google/protobuf/timestamp.proto", "ours comes with protoc: this text is never read"),
    ]  # fmt: skip
    text = (
        PROTO3
        + 'import "museum/event.proto"; import "google/protobuf/timestamp.proto"; message A { museum.Event event = 1; museum.Place place = 2; google.protobuf.Timestamp at = 3; }'
    )
    payload = encode(
        ProtobufCodec(text, references), {"event": {"place": {"name": "Basel"}}, "at": "1970-01-01T00:00:01Z"}
    )
    assert payload == b"\0\x0a\x09\x0a\x07\x0a\x05Basel\x1a\x02\x08\x01"


def test_an_error_in_a_reference_names_the_reference() -> None:
    with pytest.raises(InvalidSchema, match=r"in part\.proto at line 2"):
        ProtobufCodec(PROTO3 + 'import "part.proto"; message A {}', [("part.proto", PROTO3 + "\nmesage B {}")])


def test_an_import_loop_is_refused() -> None:
    references = [("a.proto", PROTO3 + 'import "b.proto";'), ("b.proto", PROTO3 + 'import "a.proto";')]
    with pytest.raises(InvalidSchema, match="recursively imports itself"):
        ProtobufCodec(PROTO3 + 'import "a.proto"; message A {}', references)


@pytest.mark.parametrize(
    "name",
    [
        "../x.proto",
        "/x.proto",
        "a/../x.proto",
        "a//x.proto",
        "a\\x.proto",
        "",
        ".",
        "..",
        "x\0.proto",
        "é.proto",
        "a/" * 30 + "x",
        "x" * 300,
    ],
)
def test_a_reference_name_never_leaves_the_folder(name: str) -> None:
    with pytest.raises(InvalidSchema, match="not an import path"):
        ProtobufCodec(PROTO3 + "message A {}", [(name, "")])


def test_references_that_cannot_stand_beside_each_other_are_refused() -> None:
    with pytest.raises(InvalidSchema, match="contradict"):
        ProtobufCodec(PROTO3 + "message A {}", [("a", ""), ("a/b.proto", "")])


def test_a_schema_that_is_too_long_is_refused_at_once() -> None:
    started = time.perf_counter()
    with pytest.raises(InvalidSchema, match="longer than"):
        ProtobufCodec(PROTO3 + "message A {}" + "/" * MAX_TEXT)
    with pytest.raises(InvalidSchema, match="more than"):
        ProtobufCodec(PROTO3 + "".join(f"message A{n} {{}}" for n in range(MAX_BLOCKS + 1)))
    assert time.perf_counter() - started < 0.5


def test_the_largest_schema_takes_a_few_seconds_at_most() -> None:
    fields = " ".join(f"A{(n * 7) % 4_999} f{n} = {n + 1};" for n in range(50))
    text = (
        PROTO3
        + "".join(f"message A{n} {{ A{(n * 7 + 1) % 4_999} a = 1; }}\n" for n in range(4_999))
        + f"message B {{ {fields} }}"
    )
    started = time.process_time()
    codec = ProtobufCodec(text)
    assert time.process_time() - started < 6
    assert encode(codec, {"a": {}}) == b"\0\x0a\0"


@pytest.mark.parametrize(
    "text",
    [
        PROTO3 + "message A {" * 200 + "}" * 200,
        PROTO3 + "message A { int32 a = " + "(" * 100_000,
        PROTO3 + "/*" + "x" * 100_000,
        PROTO3 + 'message A { option (x) = "' + "\\" * 50_000,
        "\0" * 1_000,
        "message é {}",
        "\ud800",
    ],
)
def test_a_hostile_schema_costs_little_and_is_refused(text: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidSchema) as caught:
        ProtobufCodec(text)
    assert time.process_time() - started < 2
    assert len(caught.value.detail) < 600


def test_an_enum_of_thousands_and_a_message_of_thousands_are_fine() -> None:
    names = ", ".join(f'"A{n}"' for n in range(20)) + r", .* and 9,9\d\d more only"
    text = PROTO3 + "message A { E e = 1; " + " ".join(f"string f{n} = {n + 20_000};" for n in range(3_000)) + "}"
    text += "enum E {" + " ".join(f"A{n} = {n};" for n in range(10_000)) + "}"
    codec = ProtobufCodec(text)
    assert encode(codec, {"e": "A9999", "f2999": "x"})[:4] == b"\0\x08\x8f\x4e"
    with pytest.raises(Exception, match=names):
        encode(codec, {"e": "B"})


def test_the_message_is_the_first_or_the_one_named_and_others_are_told() -> None:
    text = (
        PROTO3
        + "package p; message A { message Inner { int32 x = 1; } } message B { message C { message D { int32 x = 1; } } int32 y = 1; }"
    )
    cases = {None: b"\0", "p.A": b"\0", "p.A.Inner": b"\x04\0\0", "p.B": b"\x02\x02", "p.B.C.D": b"\x06\x02\0\0"}
    for name, prefix in cases.items():
        codec = ProtobufCodec(text, message=name)
        assert encode(codec, {}) == prefix
        assert codec.decode(prefix) == {}
    for wrong in ("B", "p.Z", ""):
        with pytest.raises(BadParameter, match=r"p\.A, p\.B, p\.A\.Inner, p\.B\.C, p\.B\.C\.D"):
            ProtobufCodec(text, message=wrong)


def test_the_registry_s_schema_is_compiled_with_its_references_and_message() -> None:
    common = Schema(PROTO3 + "message Common { int32 x = 1; }", "PROTOBUF")
    schema = Schema(PROTO3 + 'import "common.proto"; message A {} message B { Common c = 1; }', "PROTOBUF")
    codec = compile_codec(schema, [("common.proto", common)], message="B")
    assert codec.content_type == "application/vnd.confluent.protobuf"
    assert codec.encode(codec.read(b'{"c":{"x":1}}')) == b"\x02\x02\x0a\x02\x08\x01"


def test_proto2_and_editions_keep_their_own_rules() -> None:
    proto2 = ProtobufCodec(
        "message A { required int32 id = 1; optional E e = 2; enum E { ONE = 1; } repeated int32 n = 3; }"
    )
    assert encode(proto2, {"id": 0, "n": [1, 2]}) == b"\0\x08\0\x18\1\x18\2"
    for record, pointer, code in (({}, "/id", "missing_field"), ({"id": None}, "/id", "missing_field"), ({"id": 1, "e": 7}, "/e", "unknown_symbol")):  # fmt: skip
        with pytest.raises(Exception, match=r'required|knows "ONE" only') as caught:
            encode(proto2, record)
        assert [(e.pointer, e.code) for e in caught.value.errors] == [(pointer, code)]  # type: ignore[attr-defined]
    edition = ProtobufCodec(
        'edition = "2023"; message A { A a = 1 [features.message_encoding = DELIMITED]; int32 n = 2; }'
    )
    assert encode(edition, {"a": {"n": 0}}) == b"\0\x0b\x10\0\x0c"


def test_names_that_are_words_of_python_or_of_the_generated_code_do_no_harm() -> None:
    names = [
        "class",
        "import",
        "def",
        "None",
        "out",
        "v",
        "x1",
        "K1",
        "UNSET",
        "deep",
        "self",
        "type",
        "f0",
        "g0",
        "len",
    ]
    text = PROTO3 + "message None { " + " ".join(f"int32 {name} = {n + 1};" for n, name in enumerate(names)) + "}"
    codec = ProtobufCodec(text)
    record = {name: n + 1 for n, name in enumerate(names)}
    assert encode(codec, record) == b"\0" + bytes(byte for n in range(len(names)) for byte in ((n + 1) << 3, n + 1))
    assert codec.decode(encode(codec, record)) == record


def test_a_json_name_goes_before_the_original_name_of_another_field() -> None:
    text = PROTO3 + 'message A { int32 a = 1 [json_name = "b"]; int32 b = 2 [json_name = "c"]; }'
    codec = ProtobufCodec(text)
    assert encode(codec, {"b": 1}) == b"\0\x08\1"
    assert encode(codec, {"a": 1, "c": 2}) == b"\0\x08\1\x10\2"


def test_json_names_with_quotes_and_backslashes_work() -> None:
    codec = ProtobufCodec(PROTO3 + """message A { int32 a = 1 [json_name = "a\\"\\\\\\n:"]; }""")
    assert encode(codec, {'a"\\\n:': 1}) == b"\0\x08\1"


def test_schemas_compile_in_threads_at_the_same_time() -> None:
    texts = [PROTO3 + f"package p{n}; message A {{ int32 x = {n + 1}; }}" for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        payloads = list(pool.map(lambda text: encode(ProtobufCodec(text), {"x": 1}), texts))
    assert payloads == [b"\0" + Google(text, f"p{n}.A").from_json('{"x":1}').SerializeToString() for n, text in enumerate(texts)]  # fmt: skip


def test_the_compiler_writes_nothing_to_the_server_s_log() -> None:
    program = (
        "from inlake.formats.protobuf.codec import ProtobufCodec\n"
        "from inlake.errors import InvalidSchema\n"
        "ProtobufCodec('import \"google/protobuf/any.proto\"; message A {}')\n"
        "try: ProtobufCodec('broken')\n"
        "except InvalidSchema: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "field",
    ["int32 a = 19000;", "int32 a = 19999;", "map<string, int32> a = 19500;", "oneof x { int32 a = 19001; }", "message N { N a = 19000; }"],
)  # fmt: skip
def test_a_number_that_is_reserved_for_implementations_is_no_field_number(field: str) -> None:
    with pytest.raises(InvalidSchema, match="19000 to 19999"):
        ProtobufCodec(f'syntax = "proto3"; message M {{ {field} }}')
    with pytest.raises(InvalidSchema, match="19000 to 19999"):
        ProtobufCodec('syntax = "proto3"; import "o.proto"; message M { O o = 1; }', [("o.proto", f'syntax = "proto3"; message O {{ {field} }}')])  # fmt: skip
    ProtobufCodec('syntax = "proto3"; message M { int32 a = 18999; int32 b = 20000; }')


def test_what_registries_take_without_a_reference_is_known() -> None:
    codec = ProtobufCodec("""syntax = "proto3";
        import "google/type/date.proto"; import "google/type/money.proto"; import 'google/type/datetime.proto';
        import "confluent/meta.proto"; import "confluent/type/decimal.proto"; import "confluent/types/decimal.proto";
        message M {
          google.type.Date x = 1 [(confluent.field_meta).doc = "when"];
          confluent.type.Decimal price = 2;
          google.type.DateTime t = 3;
        }""")
    record = b'{"x":{"year":1875},"price":{"value":"AQ==","scale":2},"t":{"utcOffset":"3600s"}}'
    payload = codec.encode_plain(record)
    assert payload is not None
    assert codec.decode(payload) == json.loads(record)


def test_a_reference_goes_before_what_is_known() -> None:
    own = 'syntax = "proto3"; package google.type; message Date { string text = 7; }'
    codec = ProtobufCodec('syntax = "proto3"; import "google/type/date.proto"; message M { google.type.Date x = 1; }', [("google/type/date.proto", own)])  # fmt: skip
    assert codec.encode_plain(b'{"x":{"text":"1875"}}') is not None


def test_an_import_that_nobody_knows_is_still_named() -> None:
    for path in ("google/type/nothing.proto", "google/type/../type/date.proto", "confluent/other.proto"):
        with pytest.raises(InvalidSchema, match="reference"):
            ProtobufCodec(f'syntax = "proto3"; import "{path}"; message M {{ int32 a = 1; }}')
