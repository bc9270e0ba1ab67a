"""`python -m bench.stage.launch FILE`: the gateway with settings that are too many for a settings file."""

import sys
from pathlib import Path

import msgspec

from fastpath.process.supervisor import run
from fastpath.settings import Settings


def main(path: Path) -> int:
    """Serves until SIGTERM; the file is JSON and trusted, so it is not judged as a settings file is."""
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    return run(lambda: settings)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
