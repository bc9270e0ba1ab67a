"""What instruction counts depend on besides our code: interpreter, compiler, libc, and the CPU that valgrind plays."""

import platform
import re
import sys
from pathlib import Path
from typing import Literal

import msgspec

from bench.versions import program_version

Scope = Literal["total", "ours"]


class Build(msgspec.Struct, frozen=True):
    """`python` tells one binary from another. `cpu` is the widest vector unit that matters: libc picks its memcpy by
    it, and valgrind plays none beyond AVX2."""

    python: str
    gcc: str
    libc: str
    cpu: str

    def scopes_against(self, other: "Build") -> tuple[Scope, ...]:
        """What may be compared between two builds; nothing when even our own objects are compiled otherwise.

        Instructions in our own objects depend on the compiler and on the headers of one minor version of Python;
        all of them together also on the very binaries of the interpreter and of libc.
        """
        if (self.gcc, self.minor) != (other.gcc, other.minor):
            return ()
        return ("total", "ours") if self == other else ("ours",)

    @property
    def minor(self) -> str:
        """Python's version up to the minor one."""
        return ".".join(self.python.split(".")[:2])


def this_build() -> Build:
    """Of this machine and environment."""
    wide = re.search(r"\bavx2\b", Path("/proc/cpuinfo").read_text())
    return Build(
        python=sys.version,
        gcc=program_version("gcc", "--version"),
        libc=platform.libc_ver()[1],
        cpu=f"{platform.machine()}{' avx2' if wide else ''}",
    )
