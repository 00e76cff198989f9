"""What every executor has to know of a job: broadcast once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from inlake.errors import InlakeError
from inlake.model import Label
from inlake.settings import Settings, load
from inlake_spark.schemas import Snapshot

PASSED_ON = ("INLAKE_", "AWS_")
"""Variables of the driver that executors get: they hold secrets, which travel in Spark's broadcast."""


class JobStopped(RuntimeError):
    """A task cannot go on, and has lost nothing: tried again, it makes the same events."""

    def __init__(self, error: InlakeError) -> None:
        super().__init__(f"{error.code}: {error.detail}")


@dataclass(frozen=True)
class Job:
    """Settings, schemas and where the records go."""

    environment: Mapping[str, str]
    schemas: Snapshot
    label: Label | None
    """None: each record names its own, as the messages of the unsecured topic do."""
    input: str
    """Name of the input in the table of rejects: what was asked for."""
    secret: bytes = b""
    """What names of promises are made with."""
    name: str = field(default_factory=lambda: uuid4().hex)
    """Of this job: executors keep what they made for it."""

    @property
    def settings(self) -> Settings:
        return load(self.environment)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that executors need."""
    return {name: value for name, value in environment.items() if name.startswith(PASSED_ON)}
