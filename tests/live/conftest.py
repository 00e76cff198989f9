"""What several live tests need once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "java"
PACKAGE = Path(__file__).parents[1] / "js"


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs a class of the Java project, but for the class; compiled in a folder of its own."""
    _need("mvn and java are needed to compile the programs in Java", "mvn", "java")
    folder = shutil.copytree(PROJECT, tmp_path_factory.mktemp("java") / "project")
    maven = ["mvn", "-q", "-B", "compile", "dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    done = subprocess.run(maven, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["java", "-Xmx256m", "-cp", f"{folder}/target/classes:{(folder / 'classpath').read_text()}"]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs in JavaScript and the libraries they use."""
    _need("node and npm are needed for the programs in JavaScript", "node", "npm")
    folder = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("js") / "project")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _need(sentence: str, *programs: str) -> None:
    """Skips the test where one of them is missing; fails it with INLAKE_REQUIRE_LIVE=1."""
    if not all(map(shutil.which, programs)):
        if os.environ.get("INLAKE_REQUIRE_LIVE") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
