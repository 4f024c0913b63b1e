"""Copies of the installed SQLAlchemy with one change each, and the application that is run on them.

As a program it is that application, which prints its results as JSON. A copy has links, except for what differs.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VERSION = (r'__version__ = "[^"]*"', '__version__ = "2.99.0"')

Changes = list[tuple[str, str]]
"""Regular expressions and what replaces their matches, in every file."""


def make_copy(package: Path, texts: Mapping[Path, str], target: Path, changes: Changes) -> None:
    """Make a copy of *package*, which has the sources *texts*, with *changes* and a version of its own."""
    changed = {path: text for path, text in _changed(texts, [*changes, VERSION]).items() if text != texts[path]}
    unmade = [pattern for pattern, _ in changes if not any(re.search(pattern, text) for text in texts.values())]
    assert [] == unmade, "nothing of SQLAlchemy matches"

    real = {package, *(parent for path in changed for parent in path.parents if parent.is_relative_to(package))}
    for folder in sorted(real):
        (target / folder.relative_to(package.parent)).mkdir(parents=True)
    for folder in real:
        for entry in folder.iterdir():
            if entry not in real and entry not in changed and entry.name != "__pycache__":
                (target / entry.relative_to(package.parent)).symlink_to(entry)
    for path, text in changed.items():
        (target / path.relative_to(package.parent)).write_text(text, encoding="utf-8")


def _changed(texts: Mapping[Path, str], changes: Changes) -> dict[Path, str]:
    found = dict(texts)
    for pattern, replacement in changes:
        for path, text in found.items():
            found[path] = re.sub(pattern, replacement, text)
    return found


def run_all(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Run the application on each copy, two at a time, and return what each saw."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(folders, pool.map(_run, folders.values()), strict=True))


def _run(folder: Path) -> dict[str, Any]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, __file__], env=environ, capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )
    if done.returncode != 0:
        return {"exceptions": done.stderr.splitlines()[-3:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Use three pools, instrumented in the three ways, and print their numbers and the truth."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import QueuePool

    import pool_exporter

    options: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 1, "pool_timeout": 0}
    exceptions: list[str] = []
    engines = {"plugin": create_engine("sqlite:///?plugin=pool_exporter&pool_exporter_name=plugin", **options)}
    for name in ("all", "one"):
        engines[name] = create_engine("sqlite://", logging_name=name, **options)
    pool_exporter.instrument_all()
    pool_exporter.instrument(engines["one"], name="one")
    used = {}
    for name, engine in engines.items():
        try:
            _use(engine)
        except Exception as error:  # noqa: BLE001  # the application must not see any
            exceptions.append(f"{name}: {type(error).__name__}: {error}")
        used[name] = engine.pool.checkedout()  # type: ignore[attr-defined]  # it is a QueuePool
    sys.stdout.write(json.dumps({"exceptions": exceptions, "truth": used, **_seen()}))


HELD: list[object] = []
"""What the application keeps."""


def _use(engine: Any) -> None:  # of whichever copy
    from sqlalchemy.exc import TimeoutError as PoolTimeoutError

    for _ in range(2):
        engine.connect().close()
    held = [engine.connect(), engine.connect()]
    try:
        engine.connect()
    except PoolTimeoutError:
        pass
    else:
        raise AssertionError("a third connection")
    for connection in held:
        connection.close()
    for act in ("invalidate", "detach"):
        connection = engine.connect()
        getattr(connection, act)()
        connection.close()
    engine.connect().close()
    engine.dispose()
    HELD.append(engine.connect())


def _seen() -> dict[str, Any]:
    from pool_exporter.hook_errors import errors
    from pool_exporter.metrics.pool_metrics import POOL_METRICS
    from pool_exporter.runtime.instrumentation import snapshot

    taken = snapshot()
    times = ("seconds", "time", "peak", "info")
    numbers = {
        pool.name: {
            metric.field: pool.value(metric.field) for metric in POOL_METRICS if not metric.field.endswith(times)
        }
        for pool in taken.pools
    }
    counts = {} if taken.degraded else {pool.name: pool.use_time.count for pool in taken.pools}
    plain = json.loads(json.dumps(numbers, default=dict))
    for values in plain.values():
        if verdicts := values["exhaustions"]:  # Which one it is depends on how long the process did not run meanwhile.
            values["exhaustions"] = sum(verdicts.values())
    return {"degraded": taken.degraded, "errors": errors.count, "numbers": plain, "uses": counts}


if __name__ == "__main__":
    main()
