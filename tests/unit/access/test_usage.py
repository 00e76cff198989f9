"""The table of what was sent: several processes count in it, and none is lost, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event

from inlake.access.quotas import Amount, Quotas, parse
from inlake.access.usage import BYTES, Usage
from inlake.web.serving.workers import SharedFile

QUOTA = 1_000


def _send(file: SharedFile, count: int) -> None:
    q = Quotas(parse(f"requests={QUOTA}"), (), Usage(file.descriptor))
    taken = sum(q.take("a", Amount(1)) is None for _ in range(count))
    os._exit(taken // 4)  # an exit code has eight bits


def _hold(file: SharedFile, holds: Event) -> None:
    with Usage(file.descriptor).locked():
        holds.set()
        time.sleep(60)


def test_processes_that_share_a_table_take_together_what_the_quota_says() -> None:
    context = multiprocessing.get_context("spawn")
    file = SharedFile(BYTES)
    processes = [context.Process(target=_send, args=(file, 400)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    q = Quotas(parse(f"requests={QUOTA}"), (), Usage(file.descriptor))
    assert QUOTA - 3 * 4 <= 4 * sum(p.exitcode or 0 for p in processes) <= QUOTA
    assert q.left("a")[0].left == 0


def test_a_process_that_is_killed_while_it_counts_does_not_stop_the_others() -> None:
    context = multiprocessing.get_context("spawn")
    file = SharedFile(BYTES)
    holds = context.Event()
    process = context.Process(target=_hold, args=(file, holds))
    process.start()
    usage = Usage(file.descriptor)
    assert holds.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with usage.locked():
        usage.write(usage.of("a")._replace(since=1.0))
