"""`pool-exporter check MODULE:ENGINE`: what is wrong in the configuration of an engine. Exit code 1 if it has errors.

The module is imported as the application imports it, from the current directory too. Nothing is opened or sent, but to
a server that is named.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.finding import SEVERITIES, Finding
from pool_exporter.advice.checks.rules import RULES
from pool_exporter.arguments import AllSettings, CheckedValue, whole_number
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.probe.options import ARGUMENT, targets_from_arguments

if TYPE_CHECKING:
    from pool_exporter.probe.target import ProbeTarget

NAME: Final = "check"
HELP: Final = "Say what is wrong in the configuration of an engine: exit code 1 if it has errors."
EXIT_ERRORS: Final = 1
TARGET: Final = "MODULE:ENGINE"
SERVER_SECONDS: Final = 5.0
"""The time limit for connecting to a server and for each statement."""

_A_TARGET: Final = "must be MODULE:NAME, such as app.db:engine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "target", metavar=TARGET, help="an engine, a sessionmaker with one, or a function that returns one"
    )
    parser.add_argument(
        "--silence", action=CheckedValue, convert=_ids, default=(), metavar="ID,…", help="rules to leave out"
    )
    for name, text in (
        ("--threads", "threads of each process that use the pool"),
        ("--processes", "processes that have this pool"),
    ):
        parser.add_argument(
            name, action=CheckedValue, convert=whole_number(1, 1_000_000), default=None, metavar="N", help=text
        )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        ARGUMENT,
        dest="database_urls",
        metavar="URL",
        action="append",
        help="the engine's server, or its PgBouncer's console, to ask for its limits; env:NAME or file:PATH to keep the"
        " password out of the list of processes",
    )


def _ids(text: str) -> tuple[str, ...]:
    known = [rule.id for rule in RULES]
    given = tuple(each.strip().upper() for each in text.split(",") if each.strip())
    if unknown := [each for each in given if each not in known]:
        raise ValueError(f"there is no rule {', '.join(unknown)}; there are {', '.join(known)}")
    return given


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the findings, and exits with the result.

    Raises:
        SettingsError: The target cannot be imported, or is no engine; or a URL is wrong.
    """
    settings = AllSettings()
    targets = settings.read(lambda: targets_from_arguments(arguments, environ))
    target = settings.read(lambda: _load(arguments.target))
    settings.check()
    return partial(_run, arguments, target.value, targets.value)


def _load(text: str) -> object:
    """Return what *text* names. Raises SettingsError where it cannot be had."""
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
    """Return what an application's error says, unless it quotes a URL, which may have a password."""
    text = str(error).partition("\n")[0]
    return type(error).__name__ + ("" if "://" in text else f": {text}")


def _run(arguments: argparse.Namespace, target: object, servers: "tuple[ProbeTarget, ...]") -> None:
    found = _findings(arguments, target, _server_facts(servers))
    sys.stdout.write((_json(found) if arguments.json else _text(arguments.target, found)) + "\n")
    if any(each.severity == "error" for each in found):
        raise SystemExit(EXIT_ERRORS)


def _server_facts(targets: "tuple[ProbeTarget, ...]") -> ServerFacts:
    """Return what the servers say; what a PgBouncer says counts before its server. Raises SettingsError."""
    facts = ServerFacts()
    for target in targets:
        from pool_exporter.probe.server_settings import read_settings

        try:
            read = read_settings(target, SERVER_SECONDS)
        except Exception as error:  # noqa: BLE001  # a driver may raise anything
            fault = f"{type(error).__name__}: {target.without_secrets(str(error))}"
            raise SettingsError(Problem(ARGUMENT, str(target.url), fault)) from None
        facts = replace(
            facts,
            connections_max=min(filter(None, (facts.connections_max, read.connections_max)), default=None),
            settings={**facts.settings, **read.settings},
            is_bouncer=facts.is_bouncer or read.is_bouncer,
            pool_mode=read.pool_mode or facts.pool_mode,
        )
    return facts


def _findings(arguments: argparse.Namespace, target: object, server: ServerFacts) -> tuple[Finding, ...]:
    """Return the findings about *target*. Raises SettingsError if it is no engine, and no function that returns one."""
    from pool_exporter.runtime.checking.check import check

    bind = getattr(target, "kw", {}).get("bind") if hasattr(target, "class_") else None
    sessionmaker, engine = (target, bind) if bind is not None else (None, target)
    try:
        if callable(engine) and not hasattr(engine, "pool"):
            engine = engine()
        return check(
            engine,  # type: ignore[arg-type]  # check() raises for what is no engine
            sessionmaker=sessionmaker,  # type: ignore[arg-type]  # it has what a sessionmaker has
            threads=arguments.threads,
            processes=arguments.processes or 1,
            server=server,
            silence=arguments.silence,
        )
    except Exception as error:  # noqa: BLE001  # the application's function may raise anything
        raise SettingsError(Problem(TARGET, arguments.target, _fault(error))) from None


def _json(found: Sequence[Finding]) -> str:
    return json.dumps({"findings": [asdict(each) for each in found]}, indent=2)


def _text(target: str, found: Sequence[Finding]) -> str:
    if not found:
        return f"{target}: nothing was found."
    lines = [line for each in found for line in (f"{each.severity} {each.id}: {each.message}", f"  Fix: {each.fix}")]
    counts = [(sum(each.severity == severity for each in found), severity) for severity in SEVERITIES]
    summary = ", ".join(
        f"{count} {severity}{'s' * (count > 1 and severity != 'info')}" for count, severity in counts if count
    )
    return "\n".join([*lines, f"{target}: {summary}."])
