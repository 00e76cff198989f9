"""A cluster of its own: a master, two workers, and a job that brings its code with it, as the page says."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from recipes.spark.tests.live.test_kills import descendants
from recipes.spark.tests.world import NOTE, ROOT, World

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(900),
    pytest.mark.skipif("INLAKE_TEST_SPARK_FULL" not in os.environ, reason="minutes: INLAKE_TEST_SPARK_FULL=1 runs it"),
]
RECORDS = 2_000


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """The address of a standalone master with two workers of one core."""
    pyspark = pytest.importorskip("pyspark")
    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"spark://127.0.0.1:{port}"
    deploy, here = "org.apache.spark.deploy", ["--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[f"{deploy}.master.Master", *here, "--port", str(port)]]
    for n in range(2):
        work = ["--cores", "1", "--memory", "1g", "--work-dir", f"{tmp_path}/work{n}", address]
        commands.append([f"{deploy}.worker.Worker", *here, *work])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    running = []
    with (tmp_path / "cluster.log").open("ab") as log:
        for command in commands:
            process = subprocess.Popen([str(program), *command], env=environment, stdout=log, stderr=log)
            running.append(process)
            wait_for(port)
        yield address
        for process in running:
            for pid in (*descendants(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(30)


def wait_for(port: int) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.2)
    raise AssertionError("no master")


def archive(file: Path) -> Path:
    """Both packages, for --py-files."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for package in (ROOT / "src" / "inlake", ROOT / "recipes/spark/src/inlake_spark"):
            for path in sorted(package.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    packed.write(path, path.relative_to(package.parent))
    return file


def test_a_standalone_cluster_runs_the_batch_with_code_that_comes_with_it(
    master: str, world: World, tmp_path: Path
) -> None:
    world.register_text("note", NOTE)
    (tmp_path / "in").mkdir()
    for n in range(4):
        lines = [b'{"title": "%d of %d"}' % (m, n) for m in range(RECORDS // 4)]
        (tmp_path / "in" / f"{n}.ndjson").write_bytes(b"\n".join(lines))
    jars = ",".join(map(str, sorted(Path(os.environ["SPARK_JARS"]).glob("*.jar"))))
    command = [str(Path(sys.executable).parent / "spark-submit"), "--master", master, "--jars", jars]
    command += ["--py-files", str(archive(tmp_path / "job.zip")), "--conf", f"spark.pyspark.python={sys.executable}"]
    command += ["--conf", "spark.executor.memory=600m", "--conf", "spark.ui.enabled=false"]
    command += [str(ROOT / "recipes/spark/src/inlake_spark/__main__.py"), "ingest", "note", f"{tmp_path}/in", "--json"]
    command += ["--rejects", f"{tmp_path}/rejects"]
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "SPARK_JARS"}}
    environment |= {**world.environment, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["accepted"], report["rejected"]) == (RECORDS, 0)
    assert len({message.id for message in world.messages(world.topic("note"))}) == RECORDS
    assert all(list((tmp_path / f"work{n}").rglob("stderr")) for n in range(2))  # both had an executor
