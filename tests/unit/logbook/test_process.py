"""Which process works on a thing, and whether it is certainly dead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from inlake.logbook import process


def test_a_process_is_certainly_dead_only_when_it_is() -> None:
    code = "import time; from inlake.logbook import process; print(process.me(), flush=True); time.sleep(60)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout is not None
        name = other.stdout.readline().strip()
        assert not process.is_certainly_dead(name)
        other.kill()
        other.wait()
        assert process.is_certainly_dead(name)
    assert not process.is_certainly_dead(process.me())
    assert not process.is_certainly_dead("other-boot:1:2:3")
    assert not process.is_certainly_dead("")


def test_a_process_that_proc_hides_is_not_taken_for_dead() -> None:
    """With hidepid=2, proc(5), a user does not see the processes of others."""
    code = "import sys; from inlake.logbook import process; print(process._start_ticks(int(sys.argv[1].split(':')[-2])), process.is_certainly_dead(sys.argv[1]))"
    nobody = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "
    with tempfile.TemporaryDirectory() as folder:  # nobody may not read the home of who runs this
        Path(folder).chmod(0o755)
        package = Path(folder) / "inlake/logbook"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "process.py").write_text(Path(process.__file__).read_text())
        python, program = str(Path(sys.executable).resolve()), f"import sys; sys.path.insert(0, {folder!r}); {code}"
        command = ["unshare", "--mount", "sh", "-c", nobody + '"$0" -I -c "$1" "$2"', python, program, process.me()]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        pytest.skip(f"only root can hide processes: {done.stderr}")
    assert done.stdout.split() == ["None", "False"]
