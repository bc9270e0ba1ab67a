"""Builds the Cython kernels. Stops when it finds none: a wheel without kernels once built silently."""

import os
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path(__file__).parent
KERNELS = sorted((HERE / "_native").glob("*.pyx"))
if not KERNELS:
    raise SystemExit("no kernels under _native/: refusing to build a wheel that could not run")

DEBUG = os.environ.get("FASTPATH_DEBUG_NATIVE") == "1"
FLAGS = ["-O1", "-g"] if DEBUG else ["-O3", "-fno-plt"]
if sysconfig.get_config_var("CC") and "gcc" in str(sysconfig.get_config_var("CC")):
    FLAGS.append("-fvisibility=hidden")

setup(
    ext_modules=cythonize(
        [Extension(f"_native.{k.stem}", [str(k.relative_to(HERE))], extra_compile_args=FLAGS) for k in KERNELS],
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": False,
            "freethreading_compatible": False,
        },
    )
)
