"""The command line as a process: without its extras, as a module, and with a reader that closes the pipe."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = "import sys; from pool_exporter.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("demo", ["fastapi", "sqlmodel"], "demo"),
        ("demo", ["pydantic_settings"], "demo"),
        ("serve", ["starlette", "uvicorn"], "sidecar"),
        ("serve", ["bcrypt", "starlette", "uvicorn", "yaml"], "sidecar"),
    ],
)
def test_missing_extra_is_one_line(command: str, missing: list[str], extra: str) -> None:
    """Without the packages of its extra a command says how to install them."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({missing})); "
    done = subprocess.run(
        [sys.executable, "-c", hidden + PROGRAM, command], capture_output=True, text=True, check=False
    )
    expected = f"pool-exporter {command}: needs {', '.join(missing)}: pip install 'pool-exporter[{extra}]'\n"

    assert (2, "", expected) == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", ["dump", "healthcheck", "--version"])
def test_commands_of_the_base_need_no_extra(command: str) -> None:
    """Commands that read the directory or check a sidecar need no extra."""
    names = ("anyio", "bcrypt", "fastapi", "httpx", "pydantic", "pydantic_settings", "starlette", "uvicorn", "yaml")
    hidden = f"import sys; sys.modules.update(dict.fromkeys({names})); "
    done = subprocess.run(
        [sys.executable, "-c", hidden + PROGRAM, command, "--help"], capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_the_module_is_the_program() -> None:
    """`python -m pool_exporter` is the same program under the same name."""
    done = subprocess.run(
        [sys.executable, "-m", "pool_exporter", "unknown"], capture_output=True, text=True, check=False
    )

    assert (2, True) == (done.returncode, done.stderr.startswith("pool-exporter: there is no command 'unknown'"))


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("pool-exporter d", ["dashboards", "demo", "diagnose", "dump"]),
        ("pool-exporter serve --web.l", ["--web.listen-address"]),
        ("pool-exporter check --pro", []),
        ("pool-exporter check --wor", ["--workers"]),
    ],
)
def test_shell_completes(tmp_path: Path, typed: str, completed: list[str]) -> None:
    """A shell gets the commands and flags that begin as what was typed, without names of earlier versions."""
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    question = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": "bash",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
        "COMP_TYPE": "9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pool_exporter"], env={**os.environ, **question}, capture_output=True, check=False
    )

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)
    assert completed == sorted(each.strip() for each in answer.read_text().split("\n") if each.strip())


@pytest.mark.parametrize("library", ["fastapi", "httpx", "starlette", "uvicorn"])
def test_help_imports_no_server(library: str) -> None:
    """A command imports only what it needs."""
    code = f"import sys, pool_exporter.cli; print({library!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout


def test_reader_that_goes_away_ends_the_demo() -> None:
    """`pool-exporter demo | head -1` ends at the demo's next line, without an error."""
    command = [sys.executable, "-c", PROGRAM, "demo", "--port", "0", "--duration", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.readline()
        demo.stdout.close()
        said = demo.stderr.read()

    assert (0, b"") == (demo.returncode, said)


def test_demo_without_the_sidecars_extra_ends_at_once() -> None:
    """A sidecar that cannot start ends the demo with the sidecar's own error, and is not waited for."""
    with tempfile.TemporaryDirectory() as directory:
        hide = Path(directory) / "sitecustomize.py"
        hide.write_text("import sys; sys.modules['bcrypt'] = None")
        path = os.pathsep.join(filter(None, [directory, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "demo", "--port", "0", "--sidecar"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            timeout=150,
            check=False,
        )

    assert (2, "") == (done.returncode, done.stdout)
    assert "pool-exporter serve: needs bcrypt: pip install 'pool-exporter[sidecar]'\n" in done.stderr
    assert "did not start: see the error above\n" in done.stderr
