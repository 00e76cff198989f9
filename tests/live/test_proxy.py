"""Behind nginx, under a path of its own: routes, pages, uploads, shipments and addresses work; and the gateway's own TLS
and Unix socket. The documented configuration is what nginx runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pycurl
import pytest

from tests.certificates import make_authority
from tests.command import Served, serving
from tests.nginx import nginx, nginx_program

SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "N",
        "fields": [
            {"name": "n", "type": "int"},
            {"name": "__resource_path__", "type": ["null", "string"], "default": None},
        ],
    }
)


@contextlib.contextmanager
def on_unix_socket(folder: Path, **variables: str) -> Iterator[Served]:
    """A gateway whose only door is a Unix socket; its commands go to the folder's own files."""
    path = folder / "inlake.sock"
    with serving(folder, INLAKE_UNIX_SOCKET=str(path), **variables) as served:
        yield served
    assert not path.exists(), "nothing is left of it"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_everything_works_behind_nginx_under_a_path(tmp_path: Path, workers: str) -> None:
    nginx_program()
    own = {"INLAKE_ROOT_PATH": "/inlake", "INLAKE_TRUSTED_PROXIES": "unix", "INLAKE_ALLOW_ANONYMOUS": "true"}
    with (
        on_unix_socket(tmp_path, INLAKE_WORKERS=workers, **own) as served,
        nginx(tmp_path, tmp_path / "inlake.sock") as (url, ca),
        httpx2.Client(verify=ssl.create_default_context(cafile=str(ca)), timeout=30, trust_env=False) as client,
    ):
        (tmp_path / "n.avsc").write_text(SCHEMA)
        assert served.inlake("schemas", "add", "n", tmp_path / "n.avsc").returncode == 0
        root = url.removesuffix("/inlake")
        _records(client, url)
        _upload(client, url, root)
        _shipment(client, url, root)
        _pages(client, url)
        _http_2(url, ca)


def _http_2(url: str, ca: Path) -> None:
    """A client that speaks HTTP/2 is answered so, and a hundred requests share its connection."""
    answers, connections = [], 0
    http = pycurl.Curl()
    http.setopt(pycurl.CAINFO, str(ca))
    http.setopt(pycurl.NOPROXY, "*")
    http.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
    http.setopt(pycurl.URL, f"{url}/ingress/record-json?schema=n")
    http.setopt(pycurl.HTTPHEADER, ["content-type: application/json"])
    for n in range(100):
        http.setopt(pycurl.POSTFIELDS, json.dumps({"n": n}))
        http.setopt(pycurl.WRITEFUNCTION, (body := bytearray()).extend)
        http.perform()
        connections += http.getinfo(pycurl.NUM_CONNECTS)
        answers.append((http.getinfo(pycurl.RESPONSE_CODE), http.getinfo(pycurl.INFO_HTTP_VERSION)))
        assert json.loads(body)["schema"]["subject"] == "n"
    http.close()
    assert answers == [(201, pycurl.CURL_HTTP_VERSION_2_0)] * 100
    assert connections == 1


def _records(client: httpx2.Client, url: str) -> None:
    one = client.post(f"{url}/ingress/record-json?schema=n", json={"n": 1})
    assert one.status_code == 201, one.text
    refused = client.post(f"{url}/ingress/record-json?schema=n", json={"n": "x"})
    kind, _, code = refused.json()["type"].partition("#")
    assert (kind, code) == ("/inlake/docs/errors", "record_rejected")
    assert f'id="{code}"' in client.get(f"{url.removesuffix('/inlake')}{kind}").text
    lines = b"".join(b'{"n": %d}\n' % n for n in range(3_000))
    stream = client.post(
        f"{url}/ingress/record-json?schema=n", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert json.loads(stream.text.splitlines()[-1])["summary"]["accepted"] == 3_000


def _upload(client: httpx2.Client, url: str, root: str) -> None:
    tus = {"tus-resumable": "1.0.0"}
    content = os.urandom(100_000)
    made = client.post(f"{url}/uploads", headers={**tus, "upload-length": str(len(content))})
    where = root + made.headers["location"]
    for start in 0, 50_000:
        part = content[start : start + 50_000]
        headers = {**tus, "upload-offset": str(start), "content-type": "application/offset+octet-stream"}
        assert client.patch(where, content=part, headers=headers).status_code == 204
    puuid = where.rpartition("/")[2]
    claimed = client.post(f"{url}/ingress/record-json?schema=n", json={"n": 1, "__resource_path__": puuid})
    assert claimed.status_code == 201, claimed.text
    assert claimed.json()["resource"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.get(f"{url}/resources/{puuid}").content == content
    early = client.post(f"{url}/uploads", headers={**tus, "upload-length": "1"}).headers["location"].rpartition("/")[2]
    pending = client.post(f"{url}/ingress/record-json?schema=n", json={"n": 1, "__resource_path__": early})
    assert pending.status_code == 202
    assert client.get(root + pending.headers["location"]).json()["puuid"] == early


def _shipment(client: httpx2.Client, url: str, root: str) -> None:
    file = {"filename": "a.txt", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    line = json.dumps({"file": file, "record": {"n": 1}}).encode() + b"\n"
    ndjson = {"content-type": "application/x-ndjson"}
    announced = client.post(f"{url}/shipments?schema=n", content=line, headers=ndjson)
    assert announced.status_code == 201, announced.text
    put = json.loads(announced.text.splitlines()[0])["put"]
    assert client.put(root + put["url"], content=b"abc", headers=put["headers"]).status_code == 200
    done = client.post(f"{root}{announced.headers['location']}/complete")
    assert done.status_code == 201, done.text


def _pages(client: httpx2.Client, url: str) -> None:
    """Every address in the pages leads somewhere; nothing leaves the path."""
    host = re.escape(url.removesuffix("/inlake"))
    seen, waiting = set[str](), ["/", "/docs", "/docs/errors", "/console/schemas/n", "/console/send/n"]
    while waiting:
        path = waiting.pop()
        page = client.get(f"{url}{path}")
        assert page.status_code == 200, path
        seen.add(path)
        if "text/html" in page.headers["content-type"]:
            for found in re.findall(r'(?:href|src|action)="([^"#?]*)', page.text):
                assert not found.startswith("/") or found.startswith("/inlake/"), (path, found)
                if found.startswith("/inlake/console/static") and (inner := found.removeprefix("/inlake")) not in seen:
                    waiting.append(inner)
        if path == "/console/schemas/n":
            assert re.search(rf"{host}/inlake/ingress", page.text), "what one copies works"
    cookie = client.get(f"{url}/").headers.get("set-cookie", "Secure")
    assert "Secure" in cookie
    assert client.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/inlake"}]


def test_a_certificate_that_is_renewed_is_taken_without_a_restart(tmp_path: Path) -> None:
    first, second = make_authority(_made(tmp_path / "a"), "First"), make_authority(_made(tmp_path / "b"), "Second")
    current = tmp_path / "current.pem"
    shutil.copy(first.server, current)
    with serving(tmp_path, INLAKE_TLS_CERTIFICATE=str(current)) as served:
        _get(served, first.ca)
        current.write_text("broken")
        time.sleep(2.5)
        _get(served, first.ca)
        shutil.copy(second.server, current)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(httpx2.TransportError):
                _get(served, second.ca)
                break
            time.sleep(0.2)
        _get(served, second.ca)
        with pytest.raises(httpx2.TransportError):
            _get(served, first.ca)
        log = (tmp_path / "gateway.log").read_text()
    assert "the new certificate is not taken, the old one goes on" in log
    assert "listening on https://127.0.0.1:" in log


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _get(served: Served, ca: Path) -> None:
    answer = httpx2.get(
        f"{served.url}/health/live", verify=ssl.create_default_context(cafile=str(ca)), trust_env=False, timeout=30
    )
    assert answer.status_code == 200
