"""The engine that an argument of `check` names as MODULE:ENGINE, imported as its application imports it.

Nothing is opened or sent. No message has what an error of the application quotes of a URL.
"""

import importlib
import os
import sys
from typing import Final

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.errors import Problem, SettingsError, may_have_password

TARGET: Final = "MODULE:ENGINE"

_A_TARGET: Final = "must be MODULE:NAME, such as app.db:engine"


class EngineTarget:
    """An engine, a sessionmaker with one, or a function that returns one."""

    def __init__(self, text: str) -> None:
        """Import it.

        Args:
            text: MODULE:NAME; NAME may have dots.

        Raises:
            SettingsError: It cannot be imported.
        """
        self.text = text
        self._target = _loaded(text)

    def findings(
        self, server: ServerFacts, threads: int | None, processes: int | None, silenced: tuple[str, ...]
    ) -> tuple[Finding, ...]:
        """Return what is wrong with the engine; the arguments are those of `pool_exporter.check()`.

        Raises:
            SettingsError: It is no engine, or its function raises.
        """
        from pool_exporter.runtime.checking.check import check

        bind = getattr(self._target, "kw", {}).get("bind") if hasattr(self._target, "class_") else None
        sessionmaker, engine = (self._target, bind) if bind is not None else (None, self._target)
        try:
            if callable(engine) and not hasattr(engine, "pool"):
                engine = engine()
            return check(
                engine,  # type: ignore[arg-type]  # check() raises for what is no engine
                sessionmaker=sessionmaker,  # type: ignore[arg-type]  # it has what a sessionmaker has
                threads=threads,
                processes=processes or 1,
                server=server,
                silence=silenced,
            )
        except Exception as error:  # noqa: BLE001  # the application's function may raise anything
            raise SettingsError(Problem(TARGET, self.text, _fault(error))) from None


def _loaded(text: str) -> object:
    module, _, name = text.partition(":")
    if not module or not name:
        raise SettingsError(Problem(TARGET, text, _A_TARGET))
    sys.path.insert(0, os.getcwd())  # noqa: PTH109  # what `python -m` has there
    try:
        target: object = importlib.import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
    except Exception as error:  # noqa: BLE001  # the application's module may raise anything
        raise SettingsError(Problem(TARGET, text, f"cannot be imported: {_fault(error)}")) from None
    return target


def _fault(error: Exception) -> str:
    """Return what an application's error says, unless it may quote a password."""
    text = str(error).partition("\n")[0]
    return type(error).__name__ + ("" if may_have_password(text) else f": {text}")
