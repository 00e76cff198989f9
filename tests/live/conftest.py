"""What several live tests need once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "java"


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a class of the Java project, but for the class; compiled in a folder of its own."""
    if not (shutil.which("mvn") and shutil.which("java")):
        sentence = "mvn and java are needed to compile the programs in Java"
        if os.environ.get("INLAKE_REQUIRE_LIVE") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    folder = shutil.copytree(PROJECT, tmp_path_factory.mktemp("java") / "project")
    maven = ["mvn", "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    done = subprocess.run(maven, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["java", "-Xmx256m", "-cp", f"{folder}/target/classes:{(folder / 'classpath').read_text()}"]
