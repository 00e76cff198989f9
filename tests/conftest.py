"""Two tests at a time (`pytest -n 2`, as `make test` runs them): which belong together, and which come first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ONE_AT_A_TIME = {"test_faults", "test_kafka_bus", "test_outages"}
"""Files that cut the one proxy that Kafka advertises."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file stays with one worker, for its servers and fixtures; the files that take longest begin.

    A plain `pytest` leaves out what takes long; whoever asks for the live tests, or by a mark or a name, gets it too.
    """
    plain = os.environ.get("INLAKE_REQUIRE_LIVE") != "1" and not config.option.markexpr and not config.option.keyword
    named = any(Path(each.split("::")[0]).is_file() for each in config.args)
    for item in items:
        if plain and not named and item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes long: `make test` runs it, or -m slow"))
        group = "kafka's proxy" if item.path.stem in ONE_AT_A_TIME else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (not item.get_closest_marker("slow"), not item.get_closest_marker("live")))
