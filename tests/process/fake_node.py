"""Runs a supervisor with the fake app: `python fake_node.py SETTINGS APP [watch] [subreaper]`."""

import ctypes
import os
import sys
from pathlib import Path

from fastpath.process.supervisor import run
from fastpath.settings.file import read

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    path, app, *options = sys.argv[1:]
    file = Path(path)
    if "subreaper" in options:  # what PID 1 is to a container
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    return run(
        lambda: read(file, os.environ),
        file if "watch" in options else None,
        app=app,
        withheld=("XDG_SECRET",),
    )


sys.exit(main())
