"""The command `inlake`, also as `python -m inlake`."""

from __future__ import annotations

import gc
import sys

from inlake import __version__


def main() -> None:
    """Runs the command. Its version is told without the libraries of the others, which take longer to load."""
    if sys.argv[1:] == ["--version"]:
        print(f"inlake {__version__}")
        return
    # A start makes tens of thousands of objects, and a collection has hundreds of thousands: the collector of reference
    # cycles looked through them again and again, and none of them is in one.
    gc.set_threshold(50_000, 20, 100)
    from inlake.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
