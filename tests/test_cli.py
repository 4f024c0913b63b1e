"""The command line: each error is one line on stderr and exit code 2, and every listed command exists."""

import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pool_exporter
from pool_exporter import cli
from pool_exporter.commands import demo
from pool_exporter.demo.scenes import SCENES

ADDRESSES = "must be an address such as :10042, 127.0.0.1:10042, [::1]:10042 or unix:/run/pool_exporter.sock"
PROGRAM = "import sys; from pool_exporter.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(name="_no_env_file", autouse=True)
def _no_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep a developer's own `.env` away: the demo reads that of the directory that it is started in."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(name="_log", autouse=True)
def _log() -> Iterator[None]:
    """Undo what `serve` sets for the log of its process: its handler writes to a closed stderr later."""
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "asyncio")]
    before = [(each, each.level, [*each.handlers]) for each in loggers]
    yield
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return the exit code of the command line with *arguments*, and what it wrote to stdout and stderr."""
    try:
        code = cli.main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    written = capsys.readouterr()
    return code, written.out, written.err


def is_one_line(text: str) -> bool:
    """Return whether *text* is a single line with its line break."""
    return text.endswith("\n") and text.count("\n") == 1


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` says which version is installed."""
    assert (0, f"pool-exporter {pool_exporter.__version__}\n", "") == run(capsys, "--version")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "a command is missing"),
        (["unknown"], "'unknown'"),
        (["demo", "--unknown"], "--unknown"),
        (["demo", "--duration", "soon"], "--duration='soon': must be seconds, at least 1"),
        (["demo", "--duration", "0.9"], "at least 1"),
        (["demo", "--duration", "-5"], "at least 1"),
        (["demo", "--duration", "nan"], "at least 1"),
        (["demo", "--duration", "inf"], "at least 1"),
        (["demo", "--port", "65536"], "--port='65536': must be a whole number from 0 to 65535"),
        (["demo", "--port", "-1"], "--port"),
        (["demo", "--port", "http"], "--port"),
        (["demo", "--scene", "war"], "'war'"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    """A wrong argument is one line, without a usage of twenty lines."""
    code, out, err = run(capsys, *arguments)

    assert (2, "", True) == (code, out, is_one_line(err))
    assert expected in err


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"DATABASE_URL": "postgres"}, "DATABASE_URL='***': must be a database URL"),
        ({"DATABASE_URL": "sqlite://"}, "name a file"),
        ({"DATABASE_URL": "sqlite:////nowhere/demo.db"}, "cannot be used: unable to open database file"),
        ({"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/d"}, "cannot be used: [Errno"),
        ({"DB_POOL_SIZE": "many"}, "DB_POOL_SIZE='many'"),
        ({"POOL_EXPORTER_PORT": "1"}, "POOL_EXPORTER_PORT: is not a setting"),
    ],
    ids=["no URL", "in memory", "no directory", "no server", "no number", "no setting"],
)
def test_wrong_settings_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str], expected: str
) -> None:
    """A setting that cannot be used ends the demo before it prints its banner."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    code, out, err = run(capsys, "demo", "--port", "0")

    assert (2, "", True) == (code, out, is_one_line(err))
    assert expected in err
    assert "hidden" not in err


def test_missing_driver_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a driver that is not installed names the database and what to install."""
    monkeypatch.setitem(sys.modules, "aiomysql", None)
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hidden@127.0.0.1:1/d")
    url = "mysql+aiomysql://u:***@127.0.0.1:1/d"
    expected = f"pool-exporter demo: DATABASE_URL='{url}': its driver is not installed: pip install aiomysql\n"

    assert (2, "", expected) == run(capsys, "demo", "--port", "0")


def test_taken_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is in use is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(capsys, "demo", "--port", str(port))

    assert (2, "", f"pool-exporter demo: --port='{port}': is in use on 127.0.0.1; choose another port\n") == ended


def test_listen_address_of_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named as in the other commands, too; the demo listens on no unix socket."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        at_port = run(capsys, "demo", "--web.listen-address", f"127.0.0.1:{port}")
    at_path = run(capsys, "demo", "--web.listen-address=unix:/run/x")

    assert (2, "", f"pool-exporter demo: --port='{port}': is in use on 127.0.0.1; choose another port\n") == at_port
    assert "pool-exporter demo: --web.listen-address='unix:/run/x': must be HOST:PORT" in at_path[2]


def test_foreign_address_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An address that this machine does not have is named; 192.0.2.1 belongs to no machine (RFC 5737)."""
    expected = "pool-exporter demo: --host='192.0.2.1': port 0 cannot be opened: Cannot assign requested address\n"

    assert (2, "", expected) == run(capsys, "demo", "--host", "192.0.2.1", "--port", "0")


def test_scene_that_cannot_be_played_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An SQLite file has no server to restart, so the scene is refused."""
    code, out, err = run(capsys, "demo", "--scene", "restart", "--port", "0")

    assert (2, "", True) == (code, out, is_one_line(err))
    assert "--scene='restart': needs PostgreSQL" in err


@pytest.mark.parametrize("command", ["demo", "diagnose", "dump", "healthcheck", "serve"])
def test_wrong_variables_are_reported_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A command ends with 2 on wrong variables of the package, and names all of them in one message."""
    monkeypatch.setenv("POOL_EXPORTER_DIRR", "/tmp")  # noqa: S108  # it is not opened
    monkeypatch.setenv("POOL_EXPORTER_TRACE_WAITS", "soon")
    code, out, err = run(capsys, command)

    assert (2, "") == (code, out)
    assert "POOL_EXPORTER_DIRR: is not a setting of pool_exporter; did you mean POOL_EXPORTER_DIR?" in err
    assert "POOL_EXPORTER_TRACE_WAITS='soon': must be seconds, at least 0" in err


def test_everything_wrong_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`serve` names every wrong argument, variable and file in one run, each with what is allowed."""
    (tmp_path / "web.yml").write_text("rate_limit: {interval: soon, burst: 1}\nnonsense: 1\n")
    for key, value in {
        "POOL_EXPORTER_DIRR": "/x",
        "OTEL_METRIC_EXPORT_INTERVAL": "often",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "both",
    }.items():
        monkeypatch.setenv(key, value)
    code, out, err = run(
        capsys,
        "serve",
        *("--database-url=oracle://u:hidden@db/x", "--database-url=env:NOWHERE", "--database-interval=0"),
        *("--otlp=localhost:4318", "--otlp.protocol=json", "--web.listen-address=10042", "--web.listen-address=:99999"),
        *("--web.telemetry-path=metrics", f"--web.config.file={tmp_path}/web.yml", "--log.level=loud"),
    )
    found = [line.strip() for line in err.splitlines()]

    assert (2, "") == (code, out)
    assert f"pool-exporter serve: {len(found) - 1} settings are wrong:" == found[0]
    assert "hidden" not in err
    assert [
        "--database-interval='0': must be seconds, at least 0.1, or a time such as 500ms, 90s or 5m",
        "--database-url='env:NOWHERE': needs the environment variable NOWHERE, which is not set",
        "--database-url='oracle://u:***@db/x': must be of PostgreSQL, PgBouncer, MySQL or MariaDB, not of oracle",
        "--dir: is needed, or POOL_EXPORTER_DIR: the directory that the workers share",
        "--log.level='loud': must be debug, info, warn or error",
        "--otlp.protocol='json': must be http/protobuf or grpc",
        "--otlp='localhost:4318': must be a URL such as http://localhost:4318",
        f"--web.listen-address='10042': {ADDRESSES}",
        f"--web.listen-address=':99999': {ADDRESSES}",
        "--web.telemetry-path='metrics': must be a path such as /metrics, and not under /-/",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE='both': must be one of cumulative, delta, lowmemory",
        "OTEL_METRIC_EXPORT_INTERVAL='often': must be milliseconds, at least 1",
        "POOL_EXPORTER_DIRR: is not a setting of pool_exporter; did you mean POOL_EXPORTER_DIR?",
    ] == sorted(line for line in found[1:] if not line.startswith(str(tmp_path)))
    assert {"nonsense", "rate_limit.interval"} <= {
        line.partition(": ")[2].partition("=")[0].partition(":")[0] for line in found if line.startswith(str(tmp_path))
    }


def test_everything_wrong_with_the_demo_is_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`demo` names wrong arguments, variables of the package and variables of the database in one run."""
    for key, value in {"POOL_EXPORTER_DIRR": "/x", "DATABASE_URL": "postgres", "DB_POOL_SIZE": "many"}.items():
        monkeypatch.setenv(key, value)
    code, out, err = run(capsys, "demo", "--port=http", "--workers=0", "--otlp=localhost", "--scene=war")

    assert (2, "") == (code, out)
    assert ["--otlp", "--port", "--scene", "--workers", "DATABASE_URL", "DB_POOL_SIZE", "POOL_EXPORTER_DIRR"] == sorted(
        line.strip().partition("=")[0].partition(":")[0] for line in err.splitlines()[1:]
    )


def test_defaults_are_those_of_the_design() -> None:
    """The demo listens on this machine only, on the port that is free in Prometheus' list, until it is stopped."""
    arguments = cli._parser().parse_args(["demo"])

    assert ("127.0.0.1", 10042, None, None) == (arguments.host, arguments.port, arguments.duration, arguments.scene)


def test_scenes_are_those_of_the_demo() -> None:
    """The command line has the scenes' names without importing the demo, and they are the demo's."""
    assert tuple(scene.name for scene in SCENES) == demo.SCENES
