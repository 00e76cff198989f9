"""`python -m inlake` is the command `inlake`."""

from inlake.cli.app import main

if __name__ == "__main__":
    main()
