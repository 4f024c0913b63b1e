"""An installation whose compiled modules and sources are not of one build runs the sources, and says so.

These tests need a compiled installation: `make compiled`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pool_exporter
from pool_exporter.compiled import MODULES

pytestmark = pytest.mark.skipif(not pool_exporter.is_compiled, reason="this installation has no compiled modules")

PROGRAM = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
import pool_exporter
from pool_exporter.state import pool_state
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool
engine = create_engine("sqlite://", poolclass=QueuePool)
monitor = pool_exporter.instrument(engine)
engine.connect().close()
engine.dispose()
print(pool_exporter.is_compiled, pool_state.__file__.endswith(".py"), monitor.snapshot().checkouts)
"""


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> Path:
    """A copy of the installed package."""
    source = Path(pool_exporter.__file__).parent
    shutil.copytree(source, tmp_path / "pool_exporter", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "pool_exporter"


def run(package: Path) -> tuple[str, str]:
    """Return what the program prints, and what it logs, with this package."""
    environ = {**os.environ, "PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=package.parent, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr.strip()


def test_whole_build_is_compiled(package: Path) -> None:
    """The copy itself runs compiled, and logs nothing."""
    assert ("True False 1", "") == run(package)


@pytest.mark.parametrize("module", MODULES)
def test_changed_source(package: Path, module: str) -> None:
    """A source that was changed after the build is what runs, in each module."""
    with package.joinpath(*module.split(".")).with_suffix(".py").open("a") as source:
        source.write("# Changed.\n")
    said, logged = run(package)

    assert "False True 1" == said
    assert 1 == len(logged.splitlines())
    assert logged.startswith("WARNING the compiled modules of pool_exporter in ")


def test_incomplete_build(package: Path) -> None:
    """A build of which a part is missing is not used, nor completed by the modules of another build."""
    (build,) = (each for each in (package / "compiled").iterdir() if each.is_dir())
    other = build.with_name(f"{build.name.partition('_')[0]}_0123456789abcdef")
    shutil.copytree(build, other)
    shutil.rmtree(build / "state")
    shutil.rmtree(other / "hooks")

    assert ("False True 1", "") == run(package)
