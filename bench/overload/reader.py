"""`python -m bench.overload.reader PORT NAME SECONDS`: reads one stream as fast as it comes; prints bytes per second.

NAME is that of NAME.heads and NAME.body. A process of its own on the load's CPU. Exits 1 when the stream ends.
"""

import os
import socket
import sys
import time
from pathlib import Path

from bench.load.probe import first_request
from bench.memory.soaker import load_at
from bench.stage import LOAD_CPU

CHUNK = 1 << 20


def main(port: int, name: Path, seconds: float) -> int:
    """Reads for so long."""
    os.sched_setaffinity(0, {LOAD_CPU})
    total, began = 0, time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 30) as stream:
        stream.sendall(first_request(load_at(name)))
        while time.monotonic() - began < seconds:
            data = stream.recv(CHUNK)
            if not data:
                return 1
            total += len(data)
    print(f"{total / (time.monotonic() - began):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
