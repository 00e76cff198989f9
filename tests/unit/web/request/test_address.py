"""Names, query parameters, media types and envelopes."""

from __future__ import annotations

import json

import pytest

from inlake.access.rights import Caller
from inlake.errors import (
    BadEnvelope,
    BadName,
    BadParameter,
    InlakeError,
    MalformedJson,
    MissingParameter,
    RecordTooLarge,
    UnsupportedMediaType,
)
from inlake.model import Label, Submission
from inlake.web.request import address


def read(query: bytes, record: bytes = b"{}") -> Submission:
    return address.submission(address.of_query(query), record, caller=Caller(), tagged=False, trace=None)


def test_the_query_names_schema_destination_version_and_message() -> None:
    s = read(b"schema=tate.artwork&destination=graph/drafts&version=3&message=a.B")
    assert (s.label.schema, s.label.destination, s.label.version, s.label.message) == (
        "tate.artwork",
        "graph/drafts",
        3,
        "a.B",
    )
    assert s.label.key == b"tate.artwork/graph/drafts"
    assert read(b"schema=tate.artwork").label.key == b"tate.artwork"


def test_the_key_of_the_first_inlake_splits_at_its_first_slash() -> None:
    s = read(b"key_inlk=tate.artwork%2Fgraph/drafts")
    assert (s.label.schema, s.label.destination) == ("tate.artwork", "graph/drafts")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "a\n", "é", "a" * 201, "a%2Fb"])
def test_a_schema_name_out_of_pattern_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        address.names(name, None, None)


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", "a/../b", "a/.", "a b", "x" * 101, "/".join(["x" * 50] * 5)]
)
def test_a_destination_out_of_pattern_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        address.names("a", name, None)


@pytest.mark.parametrize(
    "query",
    [b"schema=a&schema=b", b"shema=a", b"schema=a&version=0", b"schema=a&version=1.0", b"schema=a&version=x", b"schema=a&receipts=some",
     b"schema=a&message=a b", b"schema=a&message=.a", b"schema=a&message=a..b", b"schema=a&message=" + b"a" * 501, b"schema=a&message=",
     b"schema=a&key_inlk=b", b"schema=%ff", b"&".join(b"a%d=1" % i for i in range(30)), b"key_inlk=a&topic_override=x"],
)  # fmt: skip
def test_a_bad_parameter_is_refused_and_never_ignored(query: bytes) -> None:
    with pytest.raises(BadParameter):
        address.of_query(query)


def test_parameters_that_clients_of_the_first_inlake_send_empty_are_taken() -> None:
    assert address.of_query(b"key_inlk=a&url_filestore=&topic_override=").schema == "a"


def test_an_envelope_gives_the_address_and_its_record_untouched() -> None:
    raw = b'{"a": 1.50, "b":[ ]}'
    envelope = b'{"schema": "x", "destination": "d", "version": 2, "message": "m", "record": ' + raw + b"}"
    s = read(b"", envelope)
    assert (s.label, s.record) == (Label("x", "d", 2, "m"), raw)


@pytest.mark.parametrize("content", [{"a": 1}, '{"a": 1}'])
def test_an_envelope_of_the_first_inlake_holds_an_object_or_json_in_a_string(content: object) -> None:
    body = {"key_inlk": "x/d", "content": content, "url_filestore": None, "topic_override": None}
    s = read(b"", json.dumps(body).encode())
    assert (s.label.schema, s.label.destination, json.loads(s.record)) == ("x", "d", {"a": 1})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{}", MissingParameter),
        (b'{"schema": "x"}', BadEnvelope),
        (b'{"schema": "x", "record": {}, "more": 1}', BadEnvelope),
        (b'{"schema": 1, "record": {}}', BadEnvelope),
        (b"[]", BadEnvelope),
        (b'{"schema": "a b", "record": {}}', BadName),
        (b'{"schema": "x", "key_inlk": "y", "record": {}}', BadParameter),
        (b'{"schema": "x", "message": "a/b", "record": {}}', BadParameter),
        (b'{"schema": "x", "record": {}', MalformedJson),
        (b"\xff", MalformedJson),
        (b"", MalformedJson),
        (b"[" * 100_000, InlakeError),
    ],
)
def test_a_bad_envelope_is_refused(body: bytes, error: type[InlakeError]) -> None:
    with pytest.raises(error):
        read(b"", body)


def test_malformed_json_is_located_by_line_and_column() -> None:
    with pytest.raises(MalformedJson) as caught:
        read(b"", b'{"schema": "x",\n "record": nope}')
    assert (caught.value.members["line"], caught.value.members["column"]) == (2, 13)


def test_media_types_are_lower_cased_and_other_charsets_refused() -> None:
    assert address.media_type("Application/JSON; Charset=UTF-8") == "application/json"
    assert address.is_json("application/ld+json")
    assert not address.is_json("text/plain")
    with pytest.raises(UnsupportedMediaType):
        address.media_type("application/json; charset=latin-1")


def test_a_record_over_the_limit_is_refused() -> None:
    address.check_size(b"123", 3)
    with pytest.raises(RecordTooLarge, match="INLAKE_MAX_RECORD_BYTES"):
        address.check_size(b"1234", 3)
