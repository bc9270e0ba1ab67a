"""Builds what is compiled: the kernels under _native/, and every module that has a .pxd beside its .py.

The latter are the request path and the way from the outbox to rows (docs/adr/0004): Python that also runs interpreted,
with its C types in the .pxd.
FASTPATH_COMPILE=kernels leaves them interpreted, for a debugger. Stops when it finds no kernels: a wheel without them
once built silently.
"""

import os
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path(__file__).parent
KERNELS = sorted((HERE / "_native").glob("*.pyx"))
HEADERS = sorted((HERE / "_native").glob("*.h"))
if not KERNELS:
    raise SystemExit("no kernels under _native/: refusing to build a wheel that could not run")
TYPED = [
    pxd.with_suffix(".py")
    for root in ("backends", "controlplane", "fastpath", "scheduler")
    for pxd in (HERE / root).rglob("*.pxd")
]
if os.environ.get("FASTPATH_COMPILE") == "kernels":
    TYPED = []

DEBUG = os.environ.get("FASTPATH_DEBUG_NATIVE") == "1"
COMMON = ["-O1", "-g"] if DEBUG else ["-fno-plt"]
if sysconfig.get_config_var("CC") and "gcc" in str(sysconfig.get_config_var("CC")):
    COMMON.append("-fvisibility=hidden")
CORES = len(os.sched_getaffinity(0))


def kernel(source: Path) -> Extension:
    """One kernel, built anew when a header changed that it or a kernel it cimports includes."""
    return Extension(
        f"_native.{source.stem}",
        [str(source.relative_to(HERE))],
        include_dirs=["_native"],
        depends=[str(header.relative_to(HERE)) for header in HEADERS],
        extra_compile_args=COMMON if DEBUG else [*COMMON, "-O3"],
    )


def typed(source: Path) -> Extension:
    """One module of the request path. -O2: at -O3 it is no faster and takes half as long again to build. The warning
    is about `X | None` in annotations, where Cython offers a fast path for numbers."""
    path = source.relative_to(HERE)
    flags = COMMON if DEBUG else [*COMMON, "-O2"]
    name = ".".join(path.with_suffix("").parts)
    return Extension(name, [str(path)], extra_compile_args=[*flags, "-Wno-array-bounds"])


DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "cdivision": True,
    "embedsignature": False,
    "freethreading_compatible": False,
}

setup(
    ext_modules=[
        *cythonize(
            [kernel(source) for source in KERNELS],
            build_dir="build/cython",
            nthreads=CORES,
            compiler_directives={**DIRECTIVES, "wraparound": False},
        ),
        *cythonize(
            [typed(source) for source in sorted(TYPED)],
            build_dir="build/cython",
            nthreads=CORES,
            # Types come from the .pxd alone. Python's own rules elsewhere: negative indices, checked bounds.
            compiler_directives={**DIRECTIVES, "boundscheck": True, "annotation_typing": False},
        ),
    ],
    options={"build_ext": {"parallel": CORES}},
)
