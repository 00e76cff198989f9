"""The command `inlake` in a process of its own, and a gateway started with it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

import inlake as package

SOURCE = Path(package.__file__).parents[1]
EXAMPLES = SOURCE.parent / "examples"
START_SECONDS = 60


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process without any setting of Inlake, and with these variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("INLAKE_")}
    return {**own, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1", **variables}


def stopped_by_ctrl_c() -> None:
    """The `preexec_fn` of a command that a test sends SIGINT, as a terminal does.

    A shell starts what it runs in the background with SIGINT ignored (POSIX, 2.11), and that is inherited: tests that
    run so would send it in vain.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def inlake(
    *arguments: str | Path, code: str = "", stdin: bytes = b"", cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `inlake ARGUMENTS`; `code` runs before it and may change what can be imported."""
    program = f"import sys\n{code}\nfrom inlake.cli.app import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(**variables),
        timeout=60,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment in a folder, and the address of its gateway."""

    folder: Path
    url: str
    variables: dict[str, str]
    process: subprocess.Popen[bytes]

    def inlake(self, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """A command against this deployment."""
        return inlake(*arguments, stdin=stdin, cwd=self.folder, **self.variables)


@contextlib.contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Served]:
    """An embedded gateway with all its data in `folder`, alive and stopped by SIGTERM at the end."""
    port, scheme = str(free_port()), "https" if "INLAKE_TLS_CERTIFICATE" in variables else "http"
    served = start(folder, **{"INLAKE_PORT": port, "INLAKE_URL": f"{scheme}://127.0.0.1:{port}", **variables})
    try:
        wait_until_alive(served)
        yield served
    finally:
        served.process.send_signal(signal.SIGTERM)
        code = served.process.wait(timeout=60)
    assert code == 0, log_of(served)


def start(folder: Path, **variables: str) -> Served:
    """Start a gateway, and leave it to the caller to wait for it and to end it."""
    command = [sys.executable, "-m", "inlake", "serve"]
    with (folder / "gateway.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(**variables), stdout=log, stderr=log)
    return Served(folder, variables["INLAKE_URL"], variables, process)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def log_of(served: Served) -> str:
    return (served.folder / "gateway.log").read_text()


def wait_until_alive(served: Served) -> None:
    path = served.variables.get("INLAKE_UNIX_SOCKET")
    whoever = ssl.create_default_context()
    whoever.check_hostname, whoever.verify_mode = False, ssl.CERT_NONE
    end = time.monotonic() + START_SECONDS
    while path and not _listens(path) and time.monotonic() < end and served.process.poll() is None:
        time.sleep(0.05)  # httpx leaves a socket open that does not connect
    while time.monotonic() < end and served.process.poll() is None:
        transport = httpx2.HTTPTransport(verify=whoever, uds=path)
        with contextlib.suppress(httpx2.TransportError), httpx2.Client(transport=transport, trust_env=False) as client:
            if client.get(f"{served.url}/health/live").is_success:
                return
        time.sleep(0.05)
    raise AssertionError(log_of(served))


def _listens(path: str) -> bool:
    """Whether a process takes connections on the Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
