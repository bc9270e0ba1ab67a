"""What all fuzz targets share: how one is started under atheris, and where it reads its seeds.

A target is a file fuzz_NAME.py with `check(data)`, which raises when something is wrong, and `seeds()`. Run as a
script it fuzzes; imported (test_replay.py) it needs no atheris. Only pure code is instrumented: a twin's branches guide
the search.
"""

import base64
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IS_SCRIPT = Path(sys.argv[0]).parent.resolve() == HERE.resolve() and Path(sys.argv[0]).name.startswith("fuzz_")


@contextlib.contextmanager
def instrumented(*packages: str) -> Iterator[None]:
    """Imports inside come from this checkout; those of `packages` report their branches when this is a fuzzing run."""
    if not IS_SCRIPT:
        yield
        return
    import atheris

    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=list(packages)):
        yield


def corpus(name: str, file: str) -> Iterator[Any]:
    """The rows of tests/corpora/NAME/FILE."""
    for line in (HERE.parent / "corpora" / name / file).read_text().splitlines():
        yield json.loads(line)


def payloads(name: str, file: str) -> Iterator[bytes]:
    """The decoded "b64" of the rows that have one of at most 4 KiB: longer seeds only slow the search."""
    for row in corpus(name, file):
        data = base64.b64decode(row["b64"] or "")
        if 0 < len(data) <= 4096:
            yield data


def fuzz(path: str, check: Callable[[bytes], None], seeds: Callable[[], Iterator[bytes]]) -> None:
    """Runs `check` until it fails or -max_total_time is over: fuzz_NAME.py [libFuzzer options] [CORPUS_FOLDER].

    An empty or missing folder is filled with the seeds. A failing input is kept in crashes/NAME/ for test_replay.py.
    """
    import atheris

    name = Path(path).stem.removeprefix("fuzz_")
    crashes = HERE / "crashes" / name
    crashes.mkdir(parents=True, exist_ok=True)
    for folder in (Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")):
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            for index, seed in enumerate(seeds()):
                (folder / f"seed-{index:04}").write_bytes(seed)
    atheris.Setup([*sys.argv, f"-artifact_prefix={crashes}/"], check)
    atheris.Fuzz()
