"""A file of records goes on where the journal says: the same lines in the same batches, and none of what is in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from inlake.client.batches import Batch, cut
from inlake.client.journal import Journal, JournalError
from inlake.client.resume import Resumed

LINES = [b'{"n": %d, "text": "%s"}\n' % (n, b"x" * 80_000) for n in range(200)]
GOOD = {"accepted": 1, "pending": 0, "rejected": 0, "failed": 0}


def run(journal: Path, blocks: Iterable[bytes], until: int = 1_000) -> list[Batch]:
    """Batches as they are sent by a process that dies with the one after `until`."""
    with Journal(journal, "there") as opened:
        resumed, sent = Resumed(opened, "f.ndjson"), []
        for batch in resumed.batches(blocks):
            sent.append(batch)
            if len(sent) > until:
                return sent
            resumed.confirm(batch, GOOD)
        resumed.finish()
        return sent


@pytest.mark.parametrize("size", [1, 7, 300])
def test_wherever_it_dies_the_same_batches_go_out_and_the_last_one_again(tmp_path: Path, size: int) -> None:
    blocks = [b"".join(LINES[at : at + size]) for at in range(0, len(LINES), size)]
    whole = list(cut(LINES))
    assert len(whole) > 3
    for died in range(len(whole)):
        journal = tmp_path / f"{died}"
        assert run(journal, LINES, died) == whole[: died + 1]
        assert run(journal, blocks) == whole[died:], "the one that was on its way, then the rest"
        assert run(journal, blocks) == []
    again = run(tmp_path / "0", [*LINES, b'{"n": 200}'])
    assert again == [Batch(201, b'{"n": 200}\n')], "what came behind it"


def test_a_beginning_that_changed_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "j", LINES, 1)
    for lines in [[b"{}\n", *LINES[1:]], LINES[:3], []]:
        with pytest.raises(JournalError, match="changed in lines 1 to"):
            run(tmp_path / "j", lines)


def test_a_batch_of_which_lines_failed_is_the_last_and_goes_out_again_as_it_was(tmp_path: Path) -> None:
    whole = list(cut(LINES))
    with Journal(tmp_path / "j", "there") as opened:
        resumed, sent = Resumed(opened, "f.ndjson"), []
        for batch in resumed.batches(LINES):
            sent.append(batch)
            resumed.confirm(batch, GOOD | {"failed": int(len(sent) == 2)})
        resumed.finish()
        assert (sent, resumed.complete) == (whole[:2], False)
    grown = [*LINES, b'{"n": 200}\n']
    assert run(tmp_path / "j", grown)[0] == whole[1]
    assert run(tmp_path / "j", grown) == []


def test_counts_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    run(tmp_path / "j", LINES, 2)
    with Journal(tmp_path / "j", "there") as opened:
        assert opened.position("f.ndjson").summary == {"accepted": 2, "pending": 0, "rejected": 0, "failed": 0}
