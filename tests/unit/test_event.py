"""What events get on acceptance: ids that grow, and the time that is in them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from inlake.event import Stamp


def test_ids_are_of_version_7_unique_and_in_order() -> None:
    stamp = Stamp()
    ids = [stamp.next_id() for _ in range(5000)]
    ids += [stamp.now().next_id() for _ in range(5000)]
    assert sorted(set(ids)) == ids
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert all(str(UUID(one)) == one for one in ids)


def test_an_id_and_its_event_have_the_same_time() -> None:
    stamp = Stamp()
    at = datetime.fromtimestamp((UUID(stamp.next_id()).int >> 80) / 1000, UTC)
    assert stamp.ce_time == at.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
    assert abs((datetime.now(UTC) - at).total_seconds()) < 5


def test_two_stamps_share_no_ids() -> None:
    one, two = Stamp(), Stamp()
    assert not {one.next_id()[14:24] for _ in range(10)} & {two.next_id()[14:24] for _ in range(10)}
