"""Object keys that the gateway makes, and the places that a client may name."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlake import owner
from inlake.errors import BadPlace, ResourceNotAPromise
from inlake.places import check_foreign, named_place, object_key, promise_named

STORE = "s3://bucket/museum/"
PUUID = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("spot.obj", "spot.obj"),
        ("C:\\scans\\spot.obj", "spot.obj"),
        ("../../etc/passwd", "passwd"),
        ("été 1.jpg", "_t__1.jpg"),
        (".htaccess", "htaccess"),
        ("", "binary"),
        ("...", "binary"),
        ("日本", "__"),
        ("a" * 300 + ".jpg", "a" * 116 + ".jpg"),
    ],
)
def test_a_filename_is_made_safe_for_every_store(sent: str, stored: str) -> None:
    assert object_key(PUUID, sent) == f"objects/{PUUID}/{stored}"


@given(st.text())
def test_no_filename_leaves_its_folder(sent: str) -> None:
    head, middle, name = object_key(PUUID, sent).split("/")
    assert (head, middle) == ("objects", PUUID)
    assert 0 < len(name) <= 120
    assert name not in {".", ".."}
    assert name.isascii()


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("a.obj", "a.obj"),
        ("scans/2022/a.obj", "scans/2022/a.obj"),
        (STORE + "scans/a", "scans/a"),
        ("e\u0301.jpg", "\u00e9.jpg"),
    ],
)
def test_a_client_names_a_place_relative_to_the_store_or_by_its_uri(named: str, key: str) -> None:
    assert named_place(named, STORE) == key


@pytest.mark.parametrize(
    "named",
    ["", "/", "/a", "a/", "a//b", "a/./b", "../a", "objects/a", ".inlake/open/x", ".a", "a\\b", "a#b", "a?b", "a%2e", "a\x00", "a\nb",
     "x" * 201, "/".join(["x" * 100] * 10), "s3://other/a", "https://example.org/a", PUUID, "urn:uuid:" + PUUID, STORE, 7],
)  # fmt: skip
def test_a_place_that_could_reach_elsewhere_is_refused(named: object) -> None:
    with pytest.raises(BadPlace):
        named_place(named, STORE)


def test_a_uuid_names_a_promise_and_nothing_else_does() -> None:
    assert promise_named(PUUID) == PUUID
    assert promise_named("URN:UUID:" + PUUID.upper()) == PUUID
    assert promise_named(PUUID.replace("-", "")) is None
    assert promise_named("spot.obj") is None
    assert promise_named(7) is None


def test_only_an_absolute_uri_outside_the_store_is_foreign() -> None:
    check_foreign("https://iiif.example.org/a%20b.jpg", STORE)
    check_foreign("urn:isbn:0451450523", STORE)
    elsewhere_spelt = [
        "S3://Bucket/museum/x",
        "s3://bucket/%6duseum/x",
        "s3://bucket/x/../museum/y",
        "s3://bucket/museum",
    ]
    for resource in (STORE + "objects/x", "spot.obj", "a b:c d", 7, "", *elsewhere_spelt):
        with pytest.raises(ResourceNotAPromise):
            check_foreign(resource, STORE)


def test_a_process_is_certainly_dead_only_when_it_is() -> None:
    code = "import time; from inlake import owner; print(owner.me(), flush=True); time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not owner.is_certainly_dead(name)
        other.kill()
        other.wait()
        assert owner.is_certainly_dead(name)
    assert not owner.is_certainly_dead(owner.me())
    assert not owner.is_certainly_dead("other-boot:1:2:3")
    assert not owner.is_certainly_dead("")


def test_a_process_that_proc_hides_is_not_taken_for_dead() -> None:
    """With hidepid=2, proc(5), a user does not see the processes of others."""
    code = "import sys; from inlake import owner; print(owner._start_ticks(int(sys.argv[1].split(':')[-2])), owner.is_certainly_dead(sys.argv[1]))"
    nobody = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "
    with tempfile.TemporaryDirectory() as folder:  # nobody may not read the home of who runs this
        Path(folder).chmod(0o755)
        package = Path(folder) / "inlake"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "owner.py").write_text(Path(owner.__file__).read_text())
        python, program = str(Path(sys.executable).resolve()), f"import sys; sys.path.insert(0, {folder!r}); {code}"
        command = ["unshare", "--mount", "sh", "-c", nobody + '"$0" -I -c "$1" "$2"', python, program, owner.me()]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        pytest.skip(f"only root can hide processes: {done.stderr}")
    assert done.stdout.split() == ["None", "False"]
