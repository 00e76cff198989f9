"""Two tests at a time (`pytest -n 2`, as `make test` runs them): which belong together, and which come first."""

from __future__ import annotations

import pytest

ONE_AT_A_TIME = {"test_faults", "test_kafka_bus", "test_outages"}
"""Files that cut the one proxy that Kafka advertises."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file stays with one worker, for its servers and fixtures; the files that take longest begin."""
    for item in items:
        group = "kafka's proxy" if item.path.stem in ONE_AT_A_TIME else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (not item.get_closest_marker("slow"), not item.get_closest_marker("live")))
