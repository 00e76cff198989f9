"""On the driver, before a job begins: settings, schemas and whether the bus answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from inlake.client.tables import Shape, read_shape
from inlake.codecs import Codecs
from inlake.errors import InlakeError, every_error
from inlake.model import Label
from inlake.settings import load
from inlake.wiring import connect_bus, connect_registry
from inlake_spark.job import Job, passed_on
from inlake_spark.schemas import Snapshot

STOPPED = re.compile(r"JobStopped: (\w+): (.*)")


async def prepare(environment: Mapping[str, str], label: Label | None, input_: str, schemas: Sequence[str] = ()) -> Job:
    """The job: its schemas fetched, and compiled once to see that they can be.

    `schemas`: names, where the records say theirs; none: all that the registry has. Raises what the registry and the
    bus raise, `InvalidSchema`, `SettingsError`.
    """
    settings = load(environment)
    bus, registry = connect_bus(settings, environment), connect_registry(settings)
    try:
        await bus.check()
        wanted = [(settings.subject_of(label.schema), label.version)] if label else []
        names = schemas or ([] if label else _names(await registry.subjects(), settings.subject))
        wanted += [(settings.subject_of(name), None) for name in names]
        snapshot = await Snapshot.take(registry, wanted)
        if label:
            await Codecs(snapshot, settings).find(label.schema, label.version, label.message)
    finally:
        await registry.close()
        await bus.close()
    return Job(passed_on(environment), snapshot, label, input_)


async def shape_of(job: Job) -> Shape:
    """What a record of the job's schema holds, as tables take it."""
    assert job.label is not None
    label, settings = job.label, job.settings
    compiled = await Codecs(job.schemas, settings).find(label.schema, label.version, label.message)
    found = await job.schemas.find(settings.subject_of(label.schema), label.version)
    return read_shape(
        {
            "name": label.schema,
            "version": found.version or 0,
            "type": found.schema.schema_type or "AVRO",
            "fields": msgspec.to_builtins(compiled.codec.shape().fields),
            "resource_field": settings.resource_field if compiled.codec.has_resource_field else None,
        }
    )


def why_stopped(error: BaseException) -> InlakeError | None:
    """What stopped the tasks of a job, out of Spark's exception; None for anything else."""
    found = STOPPED.search(str(error))
    if found is None:
        return None
    by_code = {kind.code: kind for kind in every_error()}
    return by_code.get(found[1], InlakeError)(found[2].strip())


def _names(subjects: Sequence[str], pattern: str) -> list[str]:
    before, _, after = pattern.partition("{schema}")
    return [s[len(before) : len(s) - len(after)] for s in subjects if s.startswith(before) and s.endswith(after)]
