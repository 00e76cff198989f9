"""The command `inlake`, also as `python -m inlake`."""

from __future__ import annotations

import gc
import os
import sys
import threading

from inlake import __version__

OF_THE_CLIENT = frozenset({"send", "upload", "map", "verify", "get"})
"""Commands that close at their end all that they opened."""


def main() -> None:
    """Runs the command. Its version is told without the libraries of the others, which take longer to load."""
    if sys.argv[1:] == ["--version"]:
        print(f"inlake {__version__}")
        return
    # A start makes tens of thousands of objects, and a collection has hundreds of thousands: the collector of reference
    # cycles looked through them again and again, and none of them is in one.
    gc.set_threshold(50_000, 20, 100)
    from inlake.cli.app import main as run

    try:
        run()
    except SystemExit as ended:
        is_of_client = not OF_THE_CLIENT.isdisjoint(sys.argv[1:2])
        if is_of_client and isinstance(ended.code, int) and threading.active_count() == 1:
            _leave(ended.code)
        raise


def _leave(code: int) -> None:
    """End the process at once: to take every module and object apart takes the interpreter as long as half a start."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # who read the output went away, which is told as always
    os._exit(code)


if __name__ == "__main__":
    main()
