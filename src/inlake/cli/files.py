"""Options about files that sending reads and writes beside what it sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from inlake.cli.failures import Failure

MapFile = Annotated[
    Path | None, typer.Option("--map", metavar="FILE", help="Where columns go: what `inlake map` drafts.")
]
ReceiptsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write what went in here: NDJSON, or CSV by its name.")
]
RejectsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write refused rows here as they came, with the reason.")
]
JournalFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What is in already; beside the first source if not given.")
]
BinaryFile = Annotated[
    list[str] | None, typer.Option("--binary", metavar="FILE", help="The binary that belongs to the one record.")
]
MediaType = Annotated[
    str | None, typer.Option(metavar="TYPE", help="Media type of the binary; told from its name if not given.")
]
Check = Annotated[bool, typer.Option("--check", help="Check everything, with the gateway too, and send nothing.")]


def require_apart(written: Mapping[str, Path | None], read: Iterable[str | Path | None]) -> None:
    """`Failure` where a file that is written, by the name of its option, is one that is read, or written twice."""
    others = [Path(one) for one in read if one is not None and str(one) != "-"]
    for option, path in written.items():
        if path is None:
            continue
        for other in others:
            if path == other or (path.is_file() and other.is_file() and path.samefile(other)):
                raise Failure(f"{option} would write over {path}, which this command needs: give it another name.")
        others.append(path)
