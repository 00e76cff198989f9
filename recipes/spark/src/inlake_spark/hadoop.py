"""Hadoop's file systems, by the driver's JVM: `s3a://`, `hdfs://` and files alike. PySpark has no door to them."""

from __future__ import annotations

from typing import Any


def path_of(spark: Any, uri: str) -> tuple[Any, Any]:
    """The file system of a path as Hadoop writes it (nothing in it is percent-encoded), and the path there."""
    path = spark._jvm.org.apache.hadoop.fs.Path(uri)  # noqa: SLF001
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path  # noqa: SLF001


def delete(spark: Any, uri: str) -> None:
    """A folder and all that is in it; none there is no error."""
    system, path = path_of(spark, uri)
    system.delete(path, True)
