"""`python -m backends.mock`: see `--help`."""

import sys

from backends.mock.cli import run

if __name__ == "__main__":
    sys.exit(run())
