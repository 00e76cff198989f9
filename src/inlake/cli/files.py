"""Options about files that sending reads and writes beside what it sends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
