"""`python -m controlplane`: a control process as a child of another one.

The first line of standard input is its settings (`controlplane.settings`), so that no secret shows in `ps` or in an
environment that others inherit. People run `fastpath control`.
"""

import os
import sys

from controlplane.settings import ControlSettingsError, read_settings

MOST_LINE = 1 << 16


def main() -> int:
    """Reads the settings, serves, gives the exit status."""
    try:
        settings = read_settings(_read_line())
    except ControlSettingsError as error:
        print(f"fastpath control: {error}", file=sys.stderr)
        return 1
    try:
        from controlplane.server import run
    except ModuleNotFoundError as error:
        print(f"fastpath control: {error.name} is missing: pip install 'fastpath-gateway[control]'", file=sys.stderr)
        return 1
    return run(settings)


def _read_line() -> bytes:
    """One line, byte by byte: what follows is not ours to buffer."""
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MOST_LINE:
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return bytes(line)


if __name__ == "__main__":
    raise SystemExit(main())
