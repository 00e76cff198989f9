"""Ids are those of the standard, and depend on what they should."""

from __future__ import annotations

from uuid import UUID, uuid5

from inlake_spark.ids import NAMESPACE, Ids, puuid_of


def test_an_event_id_is_the_uuid5_of_key_place_position_and_content() -> None:
    for position in range(300):
        expected = uuid5(NAMESPACE, f'note/a\nfile:///x.ndjson\n{position}\n{{"title": "é"}}')
        assert Ids(b"note/a", "file:///x.ndjson").of(position, '{"title": "é"}'.encode()) == str(expected)


def test_a_puuid_is_a_uuid8_that_only_the_secret_gives() -> None:
    puuid = UUID(puuid_of(b"secret", "s3://b/k", "1"))
    assert (puuid.version, puuid.variant) == (8, "specified in RFC 4122")
    assert str(puuid) == puuid_of(b"secret", "s3://b/k", "1")
    assert len({puuid_of(b"secret", "a"), puuid_of(b"other", "a"), puuid_of(b"secret", "b")}) == 3
