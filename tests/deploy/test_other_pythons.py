"""The script that finds the Pythons on which all tests are run."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.dashboards.boards import ROOT

SCRIPT = ROOT / "deploy" / "ci" / "other-pythons"


def program(path: Path, version: str) -> None:
    """Write a program that stands for a Python of that version; without one, for a shim, which fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{f'echo {version}' if version else 'exit 127'}\n")
    path.chmod(0o755)


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """Return a home with Pythons on the PATH and of pyenv."""
    for version in ("3.10", "3.11", "3.14"):
        program(tmp_path / "bin" / f"python{version}", version)
    program(tmp_path / "bin" / "python3.12", "")
    for of_pyenv, version in (("3.12.1", "3.12"), ("3.12.10", "3.12"), ("3.13.0t", "3.13t")):
        for name in {"3.12": ["3.12"], "3.13t": ["3.13", "3.13t"]}[version]:
            program(tmp_path / ".pyenv" / "versions" / of_pyenv / "bin" / f"python{name}", version)
    return tmp_path


def found(home: Path, *arguments: str) -> list[str]:
    """Return the lines of the script, without the path of the home."""
    environ = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin"}
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=True, env=environ)
    lines = done.stdout.replace(f"{home}/", "").splitlines()
    return [line for line in lines if "/usr/bin" not in line and " /bin" not in line]


def test_supported_versions(home: Path) -> None:
    """Each other one is there once, from the PATH or the newest of pyenv; no shim that fails, and not 3.13t as 3.13."""
    expected = ["3.10 bin/python3.10", "3.12 .pyenv/versions/3.12.10/bin/python3.12"]

    assert expected == found(home, "python3.11")


def test_newer_ones(home: Path) -> None:
    """Where it is asked for, later versions and free-threaded builds are there, too."""
    assert ["3.14 bin/python3.14", "3.13t .pyenv/versions/3.13.0t/bin/python3.13t"] == found(
        home, "--newer", "python3.11"
    )[2:]
