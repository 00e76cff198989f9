"""The board and the alert rules in deploy/ are of metrics that there are, all of them, and of nothing else."""

from __future__ import annotations

import re
import subprocess
import sys

from tools import board

from tests.command import EXAMPLES, environment

ROOT = EXAMPLES.parent
LABELS = {"status", "route", "result", "quota", "unit", "code", "what", "le", "job", "instance"}
SUFFIXES = r"_(bucket|sum|count)$"


def test_the_files_in_deploy_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "board.py", "--check"], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_shown_and_none_that_does_not_exist() -> None:
    asked = {
        re.sub(SUFFIXES, "", name) for text in board.expressions() for name in re.findall(r"\binlake_[a-z_]+", text)
    }
    assert asked == board.metrics()


def test_expressions_name_labels_that_there_are() -> None:
    for text in board.expressions():
        by = [label.strip() for found in re.findall(r"by \(([^)]*)\)", text) for label in found.split(",")]
        chosen = re.findall(r"([a-z]+)(?:=~|=)\"", text)
        assert {*by, *chosen} <= LABELS, text
        assert text.count("(") == text.count(")"), text
