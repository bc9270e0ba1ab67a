"""Where a running gateway's settings come from: a file or one URL, with the command line's flags on top.

Owns re-reading: a call reads the file, the environment and the pepper's id anew, which is what SIGHUP means. Called by
the CLI and the supervisor in one thread; never in a worker.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from fastpath.settings import Settings, state_folder
from fastpath.settings.file import Overrides, read, validate
from fastpath.settings.pepper import read_pepper
from fastpath.settings.secret import Secret
from fastpath.settings.token import pepper_id

UPSTREAM_KEY = "FASTPATH_UPSTREAM_KEY"
"""Environment variable with the key for `serve --upstream`: an argument would be seen in `ps`."""


class SettingsSource(Struct, frozen=True, kw_only=True):
    """Reads settings when called. Exactly one of `config` (a file) and `upstream` (a URL) is given.

    `environ` is the live environment and `uid` the user's number; both only choose defaults and fill in `${NAME}`.
    `check` looks at what settings name and do not hold, and raises SettingsError.
    """

    environ: Mapping[str, str]
    uid: int
    config: Path | None = None
    upstream: str | None = None
    overrides: Overrides = {}
    check: Callable[[Settings], None] | None = None

    def __call__(self) -> Settings:
        """Settings that a gateway can serve. Raises SettingsError with every mistake."""
        return self.read()

    def read(self) -> Settings:
        """Settings as written. Raises SettingsError with every mistake."""
        settings = self._read()
        if self.check is not None:
            self.check(settings)
        return settings

    def _read(self) -> Settings:
        if self.config is not None:
            return read(self.config, self.environ, overrides=self.overrides, pepper=self._find_pepper)
        key = self.environ.get(UPSTREAM_KEY)
        settings = Settings.for_upstream(self.upstream or "", api_key=Secret(key) if key else None)
        return validate(settings, "command line", overrides=self.overrides, pepper=self._find_pepper)

    def _find_pepper(self, configured: str | None) -> tuple[str, str | None]:
        folder = state_folder(configured, self.environ, self.uid)
        pepper = read_pepper(folder)
        return str(folder), None if pepper is None else pepper_id(pepper)
