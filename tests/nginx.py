"""nginx in front of gateways, with the configuration that the documentation has."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_authority
from tests.command import free_port

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "proxies.md"


def nginx_program() -> str:
    """Debian has it outside the path of users."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("nginx is not there: apt-get install nginx-light")
    return found


@contextlib.contextmanager
def nginx(folder: Path, *sockets: Path) -> Iterator[tuple[str, Path]]:
    """nginx with the configuration of the page, in front of one gateway or two; its address, and the authority to trust."""
    program, authority, port = nginx_program(), make_authority(folder), free_port()
    text, of_two = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if len(sockets) == 2:
        text = of_two + text[text.index("server {\n") :]
    documented_sockets = ["inlake.sock"] if len(sockets) == 1 else ["a.sock", "b.sock"]
    for documented, ours in {
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "/etc/ssl/inlake.pem": str(authority.server),
        **{f"/run/inlake/{name}": str(own) for name, own in zip(documented_sockets, sockets, strict=True)},
    }.items():
        assert documented in text
        text = text.replace(documented, ours)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = (
        f"{'user root; ' if os.geteuid() == 0 else ''}daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}\n}}\n"
    )
    file = folder / "nginx.conf"
    file.write_text(whole)
    process = subprocess.Popen([program, "-c", str(file), "-p", str(folder), "-e", f"{folder}/nginx.log"])
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield f"https://127.0.0.1:{port}/inlake", authority.ca
    finally:
        process.terminate()
        process.wait(30)
