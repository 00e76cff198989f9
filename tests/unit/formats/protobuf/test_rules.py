"""What each kind of Protobuf field takes from JSON and what it refuses; google's runtime reads what we write."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import json_format

from inlake.errors import FieldError, MalformedJson, RecordRejected
from inlake.formats.protobuf.codec import ProtobufCodec
from tests.google_protobuf import Google

SCHEMA = (Path(__file__).parents[3] / "data/everything.proto").read_text()
CODEC = ProtobufCodec(SCHEMA)
GOOGLE = Google(SCHEMA, "test.Everything")


def encode(text: str | bytes) -> bytes:
    payload = CODEC.encode(CODEC.read(text.encode() if isinstance(text, str) else text))
    assert payload[:1] == b"\0"
    return payload[1:]


def errors(text: str) -> list[FieldError]:
    with pytest.raises(RecordRejected) as caught:
        encode(text)
    return list(caught.value.errors)


# what google's json_format takes too, and reads as the same message
AGREED = """
{}
{"i32":1} {"i32":-2147483648} {"i32":2147483647} {"i32":"-5"} {"i32":1.0} {"i32":1e2} {"i32":"1e2"} {"i32":"1.0"} {"i32":-0} {"i32":null}
{"i64":"9223372036854775807"} {"i64":-9223372036854775808} {"i64":"0"} {"u64":18446744073709551615} {"u64":"18446744073709551615"} {"u64":"-0"}
{"u32":4294967295} {"s32":-1} {"s64":"-9223372036854775808"} {"f32":4294967295} {"f64":"18446744073709551615"} {"sf32":-1} {"sf64":-1}
{"single":1.5} {"single":0.1} {"single":"1.5"} {"single":"NaN"} {"single":"Infinity"} {"single":"-Infinity"} {"single":-0.0} {"single":1e-50} {"single":0}
{"double":0.1} {"double":1e300} {"double":"-0"} {"double":-0.0} {"double":0} {"double":12} {"double":"NaN"} {"double":"-Infinity"} {"double":1.0}
{"yes":true} {"yes":false} {"yes":null} {"text":""} {"text":"a\\u0000\\ud83d\\ude00:\\u003a"} {"text":"é"}
{"data":"YQ=="} {"data":"YQ"} {"data":"_-8="} {"data":"_-8"} {"data":"+/8="} {"data":"YR=="} {"data":""}
{"colour":"RED"} {"colour":"ROT"} {"colour":1} {"colour":"MINUS"} {"colour":-2} {"colour":77} {"colour":0} {"colour":"NONE"} {"colour":null}
{"child":{}} {"child":{"child":{"i32":1}}} {"child":null}
{"maybeI32":0} {"maybe_i32":0} {"maybeI64":"0"} {"maybeSingle":0} {"maybeDouble":-0.0} {"maybeYes":false} {"maybeText":""} {"maybeData":""} {"maybeColour":0}
{"manyI32":[0,"1",2.0]} {"manyI32":[]} {"manyI32":null} {"manyU64":["1",2]} {"manyS32":[-1,0,1]} {"manyDouble":[0.5,"NaN",1]} {"manyYes":[true,false]}
{"manyText":["","a"]} {"manyData":["","YQ=="]} {"manyColour":["RED",0,"MINUS"]} {"children":[{},{"text":"a"}]}
{"texts":{"a":"b","":""}} {"texts":{}} {"texts":null} {"parts":{"a":{},"b":{"i32":1}}} {"byI32":{"-1":0.5,"0":0}} {"byU64":{"18446744073709551615":"a"}}
{"byYes":{"true":"RED","false":0}} {"counts":{"a":"1","b":2}} {"wrapped":{"a":0,"b":1}}
{"oneText":""} {"oneI64":"0"} {"oneChild":{}} {"oneNull":null} {"oneNull":"NULL_VALUE"} {"oneValue":null} {"oneColour":"NONE"} {"oneWrapped":""} {"oneText":"a","oneI64":null}
{"moment":"1970-01-01T00:00:00Z"} {"moment":"1969-12-31T23:59:59.5Z"} {"moment":"2014-03-10T12:00:00.123456789+01:30"} {"moment":"0001-01-01T00:00:00Z"}
{"moment":"9999-12-31T23:59:59.999999999Z"} {"moment":"2000-02-29T00:00:00-23:59"} {"moments":["1970-01-01T00:00:00Z","1970-01-01T00:00:01Z"]}
{"lasting":"1s"} {"lasting":"-0.5s"} {"lasting":"-1.000000001s"} {"lasting":"315576000000s"} {"lasting":"315576000000.999999999s"} {"lasting":"-315576000000.5s"} {"lasting":"0s"} {"mask":""} {"mask":"a,bC.dE1"}
{"structure":{}} {"structure":{"a":[1,null,{"b":true}],"c":"x","d":-1.5}} {"value":null} {"value":1} {"value":"a"} {"value":[]} {"value":{}} {"values":[]} {"values":[null,[1]]}
{"nothing":null} {"nothing":"NULL_VALUE"} {"nothing":0} {"empty":{}} {"manyValues":[null,1,[]]} {"valueByName":{"a":null,"b":{}}}
{"any":{}} {"any":{"@type":"type.googleapis.com/test.Everything","i32":1}} {"any":{"i32":1,"@type":"type.googleapis.com/test.Everything"}}
{"any":{"@type":"type.googleapis.com/google.protobuf.Timestamp","value":"1970-01-01T00:00:01Z"}} {"any":{"@type":"x.org/google.protobuf.Int64Value","value":"5"}}
{"any":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"a":1}}} {"any":{"@type":"type.googleapis.com/google.protobuf.Empty"}}
{"wDouble":0} {"wSingle":1.5} {"wI64":"-1"} {"wU64":1} {"wI32":0} {"wU32":"1"} {"wYes":false} {"wText":""} {"wText":"a"} {"wData":"YQ=="} {"wText":null} {"manyWText":["","a"]}
{"longNameHere":"a"} {"long_name_here":"a"} {"other-name":1} {"renamed":1} {"ResourcePath":"a"} {"__resource_path__":"a"}
"""  # fmt: skip


@pytest.mark.parametrize("text", [one for line in AGREED.splitlines() for one in line.split(" ") if one])
def test_google_takes_the_same_json_as_the_same_message(text: str) -> None:
    assert GOOGLE.from_bytes(encode(text)) == GOOGLE.from_json(text) or "NaN" in text
    assert encode(text) == GOOGLE.from_json(text).SerializeToString() or "{" in text[1:]  # maps have no order there


# what we take and google's Python does not, or reads otherwise: see docs/protobuf.md
@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('{"i64":9223372036854775807.0}', '{"i64":"9223372036854775807"}'),
        ('{"i64":"9.007199254740993e15"}', '{"i64":"9007199254740993"}'),
        ('{"u64":1844674407370955161500e-2}', '{"u64":"18446744073709551615"}'),
        ('{"single":3.4028235e38}', '{"single":3.4028234663852886e38}'),
        ('{"double":-0}', '{"double":"-0"}'),
        ('{"single":-0}', '{"single":"-0"}'),
        ('{"single":3.4028235677973366e38}', '{"single":3.4028234663852886e38}'),
        ('{"single":1.0000000596046448}', '{"single":1.0000001192092896}'),
        ('{"single":"1.0000000596046448"}', '{"single":1.0000001192092896}'),
        ('{"wSingle":1.0000000596046448}', '{"wSingle":1.0000001192092896}'),
        ('{"manyNothing":[null,0]}', '{"manyNothing":["NULL_VALUE",0]}'),
        (
            '{"any":{"@type":"type.googleapis.com/google.protobuf.Empty","value":{}}}',
            '{"any":{"@type":"type.googleapis.com/google.protobuf.Empty"}}',
        ),
    ],
)
def test_where_google_is_not_exact_the_number_in_the_text_counts(text: str, same: str) -> None:
    assert GOOGLE.from_bytes(encode(text)) == GOOGLE.from_json(same)


def test_a_byte_order_mark_is_skipped() -> None:
    assert encode(b'\xef\xbb\xbf{"i32":1}') == encode('{"i32":1}')


REFUSED = [
    # both refuse
    ('{"i32":2147483648}', "/i32", "out_of_range"),
    ('{"i32":-2147483649}', "/i32", "out_of_range"),
    ('{"i32":1.5}', "/i32", "wrong_type"),
    ('{"i32":"1.5"}', "/i32", "wrong_type"),
    ('{"i32":1e400}', "/i32", "out_of_range"),
    ('{"i32":"1e99999999999999999999999"}', "/i32", "out_of_range"),
    ('{"i32":""}', "/i32", "wrong_type"),
    ('{"i32":" 1"}', "/i32", "wrong_type"),
    ('{"i32":"1 "}', "/i32", "wrong_type"),
    ('{"i32":"0x1"}', "/i32", "wrong_type"),
    ('{"i32":true}', "/i32", "wrong_type"),
    ('{"i32":[]}', "/i32", "wrong_type"),
    ('{"i64":"9223372036854775808"}', "/i64", "out_of_range"),
    ('{"u64":-1}', "/u64", "out_of_range"),
    ('{"u64":18446744073709551616}', "/u64", "out_of_range"),
    ('{"f64":18446744073709551616}', "/f64", "out_of_range"),
    ('{"manyU64":[18446744073709551616]}', "/manyU64/0", "out_of_range"),
    ('{"wU64":18446744073709551616}', "/wU64", "out_of_range"),
    ('{"u64":"18446744073709551616"}', "/u64", "out_of_range"),
    ('{"u32":4294967296}', "/u32", "out_of_range"),
    ('{"single":1e39}', "/single", "out_of_range"),
    ('{"double":1e309}', "/double", "out_of_range"),
    ('{"double":"nan"}', "/double", "wrong_type"),
    ('{"double":""}', "/double", "wrong_type"),
    ('{"double":"0x1"}', "/double", "wrong_type"),
    ('{"yes":"true"}', "/yes", "wrong_type"),
    ('{"yes":1}', "/yes", "wrong_type"),
    ('{"text":1}', "/text", "wrong_type"),
    ('{"data":"a"}', "/data", "not_bytes"),
    ('{"data":1}', "/data", "wrong_type"),
    ('{"colour":"red"}', "/colour", "unknown_symbol"),
    ('{"colour":""}', "/colour", "unknown_symbol"),
    ('{"colour":2147483648}', "/colour", "out_of_range"),
    ('{"child":"x"}', "/child", "wrong_type"),
    ('{"manyI32":1}', "/manyI32", "wrong_type"),
    ('{"manyI32":[1,null]}', "/manyI32/1", "wrong_type"),
    ('{"many_i32":{}}', "/many_i32", "wrong_type"),
    ('{"children":[{},{"i32":"x"}]}', "/children/1/i32", "wrong_type"),
    ('{"texts":[]}', "/texts", "wrong_type"),
    ('{"texts":{"en":null}}', "/texts/en", "wrong_type"),
    ('{"texts":{"a/b~c":1}}', "/texts/a~1b~0c", "wrong_type"),
    ('{"byI32":{"x":1}}', "/byI32/x", "wrong_type"),
    ('{"byYes":{"True":0}}', "/byYes/True", "wrong_type"),
    ('{"parts":{"a":null}}', "/parts/a", "wrong_type"),
    ('{"unknown":1}', "/unknown", "unknown_field"),
    ('{"child":{"unknown":1}}', "/child/unknown", "unknown_field"),
    ('{"[test.extension]":1}', "/[test.extension]", "unknown_field"),
    ('{"oneText":"a","oneI64":"1"}', "/oneI64", "oneof_conflict"),
    ('{"i32":1,"i32":1}', "/i32", "duplicate_key"),
    ('{"child":{"text":"a","text":"a"}}', "/child/text", "duplicate_key"),
    ('{"texts":{"a":"1","a":"2"}}', "/texts/a", "duplicate_key"),
    ('{"i32":1,"\\u0069\\u00332":1}', "/i32", "duplicate_key"),
    ('{"structure":{"a":1,"a":1}}', "/structure/a", "duplicate_key"),
    ('{"moment":"2014-03-10"}', "/moment", "date_incomplete"),
    ('{"moment":"2014"}', "/moment", "date_incomplete"),
    ('{"moment":"2014-03-10T12:00:00"}', "/moment", "zone_missing"),
    ('{"moment":"-0044-03-15T12:00:00Z"}', "/moment", "date_out_of_range"),
    ('{"moment":"0000-01-01T00:00:00Z"}', "/moment", "date_out_of_range"),
    ('{"moment":"0001-01-01T00:00:00+01:00"}', "/moment", "date_out_of_range"),
    ('{"moment":"9999-12-31T23:59:59-01:00"}', "/moment", "date_out_of_range"),
    ('{"moment":"2014-02-30T00:00:00Z"}', "/moment", "invalid_date"),
    ('{"moment":"2016-12-31T23:59:60Z"}', "/moment", "invalid_date"),
    ('{"moment":"2014-03-10t12:00:00z"}', "/moment", "invalid_date"),
    ('{"moment":"2014-03-10T12:00:00.1234567891Z"}', "/moment", "invalid_date"),
    ('{"moment":1}', "/moment", "wrong_type"),
    ('{"lasting":"1"}', "/lasting", "invalid_duration"),
    ('{"lasting":1}', "/lasting", "wrong_type"),
    ('{"lasting":"315576000001s"}', "/lasting", "out_of_range"),
    ('{"mask":"a_b"}', "/mask", "wrong_type"),
    ('{"mask":1}', "/mask", "wrong_type"),
    ('{"structure":[]}', "/structure", "wrong_type"),
    ('{"values":{}}', "/values", "wrong_type"),
    ('{"empty":{"a":1}}', "/empty/a", "unknown_field"),
    ('{"any":{"@type":"type.googleapis.com/test.Unknown"}}', "/any/@type", "unknown_type"),
    ('{"any":{"i32":1}}', "/any/@type", "missing_field"),
    ('{"any":{"@type":"type.googleapis.com/test.Everything","i32":"x"}}', "/any/i32", "wrong_type"),
    ('{"any":{"@type":"type.googleapis.com/google.protobuf.Duration"}}', "/any/value", "missing_field"),
    ('{"wI32":2147483648}', "/wI32", "out_of_range"),
    ('{"manyWText":[null]}', "/manyWText/0", "wrong_type"),
    ("[]", "", "wrong_type"),
    ("null", "", "wrong_type"),
]
STRICTER = [
    ('{"double":1e-400}', "/double", "out_of_range"),
    ('{"single":"1e-99999999999999999999"}', "/single", "out_of_range"),
    ('{"value":{"a":1e-400}}', "/value/a", "out_of_range"),
    # google's Python takes these; the mapping, Go's protojson or the exactness we promise does not
    ('{"longNameHere":"a","long_name_here":"a"}', "/long_name_here", "duplicate_field"),
    ('{"longNameHere":null,"long_name_here":"a"}', "/long_name_here", "duplicate_field"),
    ('{"byI32":{"1":1,"1.0":2}}', "/byI32/1.0", "duplicate_key"),
    ('{"oneText":"a","oneNull":null}', "/oneNull", "oneof_conflict"),
    ('{"i32":"1_0"}', "/i32", "wrong_type"),
    ('{"i32":"+1"}', "/i32", "wrong_type"),
    ('{"i32":"01"}', "/i32", "wrong_type"),
    ('{"i32":"\\u0661"}', "/i32", "wrong_type"),
    ('{"i64":1.0000000000000000000000001}', "/i64", "wrong_type"),
    ('{"single":"3.5e38"}', "/single", "out_of_range"),
    ('{"single":16777217}', "/single", "not_exact"),
    ('{"double":9007199254740993}', "/double", "not_exact"),
    ('{"double":"9007199254740993"}', "/double", "not_exact"),
    ('{"double":"1e309"}', "/double", "out_of_range"),
    ('{"double":"inf"}', "/double", "wrong_type"),
    ('{"double":".5"}', "/double", "wrong_type"),
    ('{"double":"1_0"}', "/double", "wrong_type"),
    ('{"double":true}', "/double", "wrong_type"),
    ('{"value":1e400}', "/value", "out_of_range"),
    ('{"data":"Y Q=="}', "/data", "not_bytes"),
    ('{"data":"YQ="}', "/data", "not_bytes"),
    ('{"data":"_+8="}', "/data", "not_bytes"),
    ('{"data":"YQ==YQ=="}', "/data", "not_bytes"),
    ('{"colour":"1"}', "/colour", "unknown_symbol"),
    ('{"colour":1.5}', "/colour", "wrong_type"),
    ('{"colour":true}', "/colour", "wrong_type"),
    ('{"child":[]}', "/child", "wrong_type"),
    ('{"empty":[]}', "/empty", "wrong_type"),
    ('{"moment":"2014-03-10T12:00:00.Z"}', "/moment", "invalid_date"),
    ('{"moment":"2014-03-10T12:00:00-25:00"}', "/moment", "invalid_time"),
    ('{"lasting":"1.0000000001s"}', "/lasting", "invalid_duration"),
    ('{"lasting":"+1s"}', "/lasting", "invalid_duration"),
    ('{"mask":"a,,b"}', "/mask", "wrong_type"),
    ('{"any":{"@type":"test.Everything"}}', "/any/@type", "unknown_type"),
]


@pytest.mark.parametrize(("text", "pointer", "code"), REFUSED + STRICTER)
def test_what_does_not_fit_is_refused_where_it_stands(text: str, pointer: str, code: str) -> None:
    assert [(error.pointer, error.code) for error in errors(text)] == [(pointer, code)]


@pytest.mark.parametrize("text", [text for text, *_ in REFUSED if text not in ("[]", "null")])
def test_google_refuses_it_too(text: str) -> None:
    with pytest.raises((json_format.ParseError, OverflowError)):
        GOOGLE.from_json(text)


@pytest.mark.parametrize("text", [text for text, *_ in STRICTER])
def test_google_is_laxer_here_and_the_documentation_says_so(text: str) -> None:
    GOOGLE.from_json(text)


@pytest.mark.parametrize(
    "text", ['{"text":"\\ud800"}', '{"text":NaN}', '{"i32":1', b'{"text":"\xff"}', "", '{"i32":01}']
)
def test_what_is_no_json_is_malformed_with_line_and_column(text: str | bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        encode(text)
    assert caught.value.members["line"] == 1


def test_all_errors_come_at_once_up_to_the_limit() -> None:
    found = errors('{"i32":"x","nope":1,"children":[{"text":1},{},{"i64":1.5}],"oneText":"a","oneI64":1}')
    assert [error.pointer for error in found] == ["/nope", "/oneI64", "/i32", "/children/0/text", "/children/2/i64"]
    assert found[2] == FieldError(
        "/i32", "wrong_type", "A value of type int32 is expected here.", "int32", 'string "x"'
    )
    few = ProtobufCodec(SCHEMA, max_errors=2)
    with pytest.raises(RecordRejected) as caught:
        few.encode(few.read(b'{"a":1,"b":1,"c":1}'))
    assert len(caught.value.errors) == 2


def test_an_array_of_records_says_how_to_send_many() -> None:
    assert "one record a line" in errors("[{}]")[0].detail


def test_a_hundred_messages_in_each_other_are_readable_and_one_more_is_refused() -> None:
    GOOGLE.from_bytes(encode('{"child":' * 100 + "{}" + "}" * 100))
    [error] = errors('{"child":' * 101 + "{}" + "}" * 101)
    assert (error.pointer, error.code) == ("/child" * 101, "too_deep")
    for inside in ('"moment":"1970-01-01T00:00:00Z"', '"wText":"a"'):  # a message on the wire, though not in JSON
        encode('{"child":' * 99 + f"{{{inside}}}" + "}" * 99)
        assert {error.code for error in errors('{"child":' * 100 + f"{{{inside}}}" + "}" * 100)} == {"too_deep"}


@pytest.mark.parametrize(("open_", "close", "deepest"), [('{"parts":{"a":', "}}", 50), ('{"any":{"@type":"x/test.Everything","child":', "}}", 33)])  # fmt: skip
def test_map_entries_count_as_levels_as_readers_count_them(open_: str, close: str, deepest: int) -> None:
    GOOGLE.from_bytes(encode(open_ * deepest + "{}" + close * deepest))
    assert {error.code for error in errors(open_ * 60 + "{}" + close * 60)} == {"too_deep"}


def test_a_struct_is_as_deep_as_its_bytes() -> None:
    for deep in range(20, 60):
        text = '{"structure":' + '{"a":' * deep + "1" + "}" * deep + "}"
        try:
            encoded = encode(text)
        except RecordRejected as refused:
            assert {error.code for error in refused.errors} == {"too_deep"}  # noqa: PT017
            break
        GOOGLE.from_bytes(encoded)
    assert deep > 30


def test_json_that_is_too_deep_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(RecordRejected) as caught:
        CODEC.read(b'{"value":' + b"[" * 100_000)
    assert caught.value.errors[0].code == "too_deep"
