"""Publishes for ever, to be killed: `python -m tests.publication.publishing FOLDER`. Says `ready`, then versions."""

import sys
from pathlib import Path

from scheduler.clock import SystemClock
from tests.publication.nodes import Plane, rows


def main(path: Path) -> None:
    plane = Plane(path)
    plane.clock = SystemClock()  # type: ignore[assignment]  # versions go on where the last process ended
    plane.publisher.close()
    plane.open()
    if plane.publisher.resume(plane.trust) is None:
        plane.publisher.publish_all(b"0", rows(100))
    print("ready", flush=True)
    for number in range(10_000):
        if number % 7 == 0:
            manifest = plane.publisher.publish_all(b"all", rows(100))
        else:
            manifest = plane.publisher.publish_changes(b"%d" % number, rows(1, number))
        print(manifest.version, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
