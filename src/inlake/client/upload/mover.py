"""PUTs of files to where a gateway says they go, many at once on one thread: libcurl's multi interface.

docs/adr has what others cost. A PUT that fails for what may pass goes out again; what is signed lets it count once.
"""

from __future__ import annotations

import errno
import heapq
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import pycurl

from inlake import __version__
from inlake.client.network import proxy_for
from inlake.client.retries import steps
from inlake.client.upload.concurrency import Concurrency

MIB = 1 << 20
CONNECT_SECONDS = 10
LOOK_SECONDS = 0.02
"""How often new work is looked for while requests are on their way."""
WHOLE = 2 * MIB
"""A slice of up to so many bytes is read in one go: libcurl asks for few at a time, and each time waits for Python."""
TOLD = 4_096
"""Bytes of an error's body that are kept."""
OF_OTHER_BYTES = ("BadDigest", "SHA256Mismatch", "InvalidDigest", "IncompleteBody", "EntityToo", "mismatch")
"""Codes of a store or a gateway for bytes that are not those announced."""
NOT_CONNECTED = {
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_PEER_FAILED_VERIFICATION,
}
State = Literal["stored", "changed", "stale", "refused", "failed", "unreachable", "stopped"]


class Slice(NamedTuple):
    """Bytes of a file, read while they are sent."""

    path: Path
    offset: int
    size: int


class Put(NamedTuple):
    """A request as a gateway asks for it, and its body."""

    url: str
    headers: Mapping[str, str]
    body: bytes | Slice

    @property
    def size(self) -> int:
        return self.body.size if isinstance(self.body, Slice) else len(self.body)


class Moved(NamedTuple):
    """The outcome of a PUT.

    `stored`: it is there; `changed`: the file is another than was announced; `stale`: the URL is no good any more;
    `refused`: it will be refused again; `failed`: no attempt in time went well; `unreachable`: no connection ever was;
    `stopped`: it was not begun.
    """

    state: State
    detail: str = ""


class _Job:
    """A PUT on its way to its result."""

    __slots__ = ("deadline", "file", "index", "moved", "pauses", "put", "read", "results", "told")

    def __init__(self, put: Put, index: int, results: _Results) -> None:
        self.put, self.index, self.results = put, index, results
        self.file: BinaryIO | None = None
        self.read = 0
        self.told = b""
        self.deadline = 0.0
        self.pauses: Iterator[float] | None = None


class _Results:
    """The results of PUTs that go out together."""

    def __init__(self, expected: int, stored: Callable[[int], None] | None) -> None:
        self._stored = stored
        self.all: list[Moved] = [Moved("stopped")] * expected
        self.done = threading.Event()
        self._left = expected

    def add(self, index: int, moved: Moved) -> None:
        self.all[index] = moved
        if moved.state == "stored" and self._stored is not None:
            self._stored(index)
        self._left -= 1
        if not self._left:
            self.done.set()


class Mover:
    """Puts files, for any number of threads that ask it to."""

    def __init__(self, *, most: int, timeout: float, retry: float) -> None:
        """`most`: requests at once; `timeout`: seconds without progress; `retry`: how long one goes out again."""
        self._timeout, self._retry = timeout, retry
        self._concurrency = Concurrency(most)
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ready: list[_Job] = []
        self._later: list[tuple[float, int, _Job]] = []
        self._order = count()
        self._free: list[pycurl.Curl] = []
        self._active: dict[pycurl.Curl, _Job] = {}
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, most)
        self._proxies: dict[str, str] = {}
        self._stopped = False
        self._connected = False
        """Any PUT was ever answered."""
        self.sent = 0
        """Bytes of all PUTs that went well."""
        self._thread = threading.Thread(target=self._run, name="mover", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End what is on its way, and the thread."""
        self.stop()
        self._inbox.put(None)
        self._thread.join()
        self._multi.close()

    def stop(self) -> None:
        """Begin nothing more; what is on its way ends."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Nothing more is to be begun."""
        return self._stopped

    def put_all(self, puts: Sequence[Put], stored: Callable[[int], None] | None = None) -> list[Moved]:
        """Send all of them; returns what became of each. `stored` is called with the index of each as it is there."""
        results = _Results(len(puts), stored)
        for index, put in enumerate(puts):
            self._inbox.put(_Job(put, index, results))
        if puts:
            results.done.wait()
        return results.all

    # ------------------------------------------------------------------------------------------------- on its thread
    def _run(self) -> None:
        while self._take():
            self._begin()
            self._multi.perform()
            if not self._finish() and self._active:
                self._multi.select(LOOK_SECONDS)

    def _take(self) -> bool:
        """Take new work in, waiting for some if there is none; False at the end."""
        now = time.monotonic()
        while self._later and (self._later[0][0] <= now or self._stopped):
            self._ready.append(heapq.heappop(self._later)[2])
        wait = not self._active and not self._ready
        while True:
            try:
                job = self._inbox.get(wait, max(0.0, self._later[0][0] - now) if self._later else None)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._ready.append(job)
            wait = False

    def _begin(self) -> None:
        if self._stopped:
            for job in self._ready:
                job.results.add(job.index, Moved("stopped"))
            self._ready.clear()
        self._ready.reverse()  # the next is the last: to take it costs nothing
        while self._ready and len(self._active) < self._concurrency.limit:
            job = self._ready.pop()
            curl = self._free.pop() if self._free else _handle(self._timeout)
            try:
                self._prepare(curl, job)
                self._multi.add_handle(curl)
            except Exception as error:  # noqa: BLE001 - the thread serves all others too
                self._give_up(curl, job, error)
                continue
            self._active[curl] = job
        self._ready.reverse()

    def _give_up(self, curl: pycurl.Curl, job: _Job, error: Exception) -> None:
        """End a PUT that cannot be begun, with its handle, which may be set up by half."""
        curl.close()
        if job.file is not None:
            job.file.close()
            job.file = None
        moved = Moved("failed", f"The request cannot be made: {type(error).__name__}: {error}"[:300])
        if isinstance(error, OSError):
            moved = Moved("changed", f"The file cannot be read: {error.strerror}.")
        job.results.add(job.index, moved)

    def _prepare(self, curl: pycurl.Curl, job: _Job) -> None:
        put, told = job.put, bytearray()
        curl.setopt(pycurl.URL, put.url)
        curl.setopt(pycurl.PROXY, self._proxy(put.url))
        curl.setopt(pycurl.HTTPHEADER, ["Expect:", *[f"{name}: {value}" for name, value in put.headers.items()]])
        job.told = told  # type: ignore[assignment]
        curl.setopt(pycurl.WRITEFUNCTION, lambda block: told.extend(block[: TOLD - len(told)]))
        body = put.body if isinstance(put.body, bytes) or put.body.size > WHOLE else _whole(put.body)
        if isinstance(body, bytes):
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, "PUT")
            curl.setopt(pycurl.POSTFIELDS, body)
            return
        job.file, job.read = body.path.open("rb", buffering=0), 0
        job.file.seek(body.offset)
        curl.unsetopt(pycurl.CUSTOMREQUEST)
        curl.setopt(pycurl.UPLOAD, 1)
        curl.setopt(pycurl.INFILESIZE_LARGE, body.size)
        curl.setopt(pycurl.READFUNCTION, _reader(job, job.file, body.size))

    def _proxy(self, url: str) -> str:
        """As for all other requests; the environment is asked once for each host."""
        origin = url[: url.find("/", 8)]
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(url) or ""
        return self._proxies[origin]

    def _finish(self) -> bool:
        """Take what has ended out; whether there was any."""
        ended, more = False, 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                self._end(curl, None, "")
            for curl, code, sentence in bad:
                self._end(curl, code, sentence)
            ended = ended or bool(good or bad)
        return ended

    def _end(self, curl: pycurl.Curl, error: int | None, sentence: str) -> None:
        job, now = self._active.pop(curl), time.monotonic()
        self._multi.remove_handle(curl)
        status, asked = curl.getinfo(pycurl.RESPONSE_CODE), 0.0
        if job.file is not None:
            job.file.close()
            job.file = None
            curl.reset()
            _set_up(curl, self._timeout)
        if error is None and (200 <= status < 300 or status == 412):  # 412: an attempt before has put it there
            self._connected = True
            self._concurrency.done(job.put.size, now)
            self.sent += job.put.size
            job.results.add(job.index, Moved("stored"))
        else:
            asked = float(curl.getinfo(pycurl.RETRY_AFTER)) if error is None else 0.0
            self._connected = self._connected or error is None
            moved = self._judge(job, status, error, now)
            if moved is None:
                moved = self._again(job, asked, now, error in NOT_CONNECTED, sentence or _said(job.told, status))
            if moved is not None:
                job.results.add(job.index, moved)
        self._free.append(curl)

    def _judge(self, job: _Job, status: int, error: int | None, now: float) -> Moved | None:
        """The outcome that a failure means; None when another attempt may do better."""
        if isinstance(job.put.body, Slice) and job.read < 0:
            return Moved("changed", "The file became shorter while it was sent.")
        if error is not None or status in {409, 429} or (status >= 500 and status != 501):
            if status in {429, 503} or error == pycurl.E_OPERATION_TIMEDOUT:
                self._concurrency.slow_down(now)
            return None
        said = _said(job.told, status)
        if "RequestTimeout" in said:
            return None
        if any(word in said for word in OF_OTHER_BYTES):
            return Moved("changed", "The file changed while it was sent.")
        return Moved("stale" if status in {401, 403, 404, 410} or "Expired" in said else "refused", said)

    def _again(self, job: _Job, asked: float, now: float, not_connected: bool, said: str) -> Moved | None:
        """Send it later, unless its time is over."""
        lost = not_connected and not self._connected
        if job.pauses is None:
            job.deadline, job.pauses = now + min(self._retry, CONNECT_SECONDS if lost else self._retry), steps()
        pause = max(next(job.pauses), asked)
        if now + pause > job.deadline:
            return Moved("unreachable" if lost else "failed", said)
        heapq.heappush(self._later, (now + pause, next(self._order), job))
        return None


def _handle(timeout: float) -> pycurl.Curl:
    curl = pycurl.Curl()
    _set_up(curl, timeout)
    return curl


def _set_up(curl: pycurl.Curl, timeout: float) -> None:
    """Sets the options that all PUTs have in common. No redirect is followed: it would go where nobody sent it."""
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # several connections, not one with streams
    curl.setopt(pycurl.USERAGENT, f"inlake/{__version__}")
    curl.setopt(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
    curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
    curl.setopt(pycurl.LOW_SPEED_TIME, max(1, int(timeout)))
    curl.setopt(pycurl.UPLOAD_BUFFERSIZE, MIB)
    curl.setopt(pycurl.TCP_NODELAY, 1)
    authorities = ssl.get_default_verify_paths()
    if authorities.cafile:
        curl.setopt(pycurl.CAINFO, authorities.cafile)
    if authorities.capath:
        curl.setopt(pycurl.CAPATH, authorities.capath)


def _reader(job: _Job, file: BinaryIO, size: int) -> Any:
    """The bytes of a slice as libcurl asks for them; a file that is shorter ends the request."""

    def read(most: int) -> bytes | int:
        block = file.read(min(most, size - job.read))
        if not block and job.read < size:
            job.read = -1
            return pycurl.READFUNC_ABORT
        job.read += len(block)
        return block

    return read


def _whole(part: Slice) -> bytes:
    """All of a small slice. Raises OSError, also where the file is shorter."""
    with part.path.open("rb", buffering=0) as file:
        file.seek(part.offset)
        data = file.read(part.size)
    if len(data) < part.size:
        raise OSError(errno.ENODATA, "it became shorter")
    return data


def _said(body: bytes, status: int) -> str:
    """The words of the answer, on one line."""
    text = " ".join(bytes(body).decode("utf-8", "replace").split())
    return f"HTTP status {status}: {text[:300]}" if text else f"HTTP status {status}"
