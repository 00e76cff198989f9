"""The demo: real artworks of the Tate and pictures go through Spark into Kafka and S3, and are read back.

`make spark-demo` starts the servers; all of it is in a temporary folder and under names of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from confluent_kafka.schema_registry import Schema  # noqa: E402
from tests import live_servers  # noqa: E402

from inlake.model import Label  # noqa: E402
from inlake.settings import load  # noqa: E402
from inlake.wiring import connect_registry  # noqa: E402
from inlake_spark import cli, driver  # noqa: E402
from inlake_spark.events import read_events, typed  # noqa: E402
from inlake_spark.session import open_session  # noqa: E402

EXAMPLES = ROOT / "examples"
SCAN = """{"type": "record", "name": "Scan", "fields": [{"name": "title", "type": "string"},
  {"name": "__resource_path__", "type": ["null", "string"], "default": null}]}"""


def main() -> int:
    os.environ |= live_servers.deployment(f"demo{uuid4().hex[:8]}")
    spark = open_session(master="local[2]", conf={"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"})
    with tempfile.TemporaryDirectory(prefix="inlake-spark-demo-") as name:
        folder = Path(name)
        head("Schemas")
        artwork = (EXAMPLES / "schemas/avro/tate_artwork.avsc").read_text()
        asyncio.run(register({"tate.artwork": artwork, "scan": SCAN}))
        head("Batch: 5,000 artworks of the Tate")
        lines = gzip.decompress((EXAMPLES / "tate/artworks.ndjson.gz").read_bytes()).splitlines(keepends=True)
        (folder / "artworks.ndjson").write_bytes(b"".join(lines))
        cli.run(["ingest", "tate.artwork", f"{folder}/artworks.ndjson", "--rejects", f"{folder}/rejects"])
        spark.read.parquet(f"{folder}/rejects").select("line", "code", "cause").orderBy("line").show(3, truncate=False)
        head("Stream: 500 more land in a folder")
        (folder / "landing").mkdir()
        (folder / "landing" / "more.ndjson").write_bytes(b"".join(lines[:500]))
        places = ["--rejects", f"{folder}/late", "--checkpoint", f"{folder}/checkpoint", "--once"]
        cli.run(["stream", "tate.artwork", f"{folder}/landing", *places])
        head("Meshes with a table, copied into the store")
        meshes = folder / "meshes"
        meshes.mkdir()
        for mesh in ("spot_triangulated.obj", "spot.stl", "spot.ply"):
            shutil.copy(EXAMPLES / "binaries" / "files" / mesh, meshes)
        rows = [f"Spot the cow ({file.suffix}),{file.name}\n" for file in sorted(meshes.iterdir())]
        (folder / "meshes.csv").write_text("title,file\n" + "".join(rows))
        asked = ["--files", str(meshes), "--file-column", "file", "--copy", "--rejects", f"{folder}/no-meshes"]
        cli.run(["ingest", "scan", f"{folder}/meshes.csv", *asked])
        head("What consumers see")
        settings = load(os.environ)
        found = read_events(spark, os.environ, [settings.topic_of("scan")])
        found.select("resource_filename", "resource_size", "resource_uri").show(truncate=False)
        artworks = read_events(spark, os.environ, [settings.topic_of("tate.artwork")])
        job = asyncio.run(driver.prepare(os.environ, Label("tate.artwork"), "demo"))
        table = typed(artworks, asyncio.run(driver.shape_of(job)))
        table.groupBy("record.classification").count().orderBy("count", ascending=False).show(8)
    spark.stop()
    return 0


async def register(schemas: dict[str, str]) -> None:
    settings = load(os.environ)
    registry = connect_registry(settings)
    try:
        for name, text in schemas.items():
            print(name, (await registry.register(settings.subject_of(name), Schema(text, "AVRO"))).schema_id)
    finally:
        await registry.close()


def head(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
