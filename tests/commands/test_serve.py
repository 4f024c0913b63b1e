"""The arguments of `serve`: their names and defaults, and the reasons for which they are refused."""

import argparse
from pathlib import Path

import pytest

from pool_exporter.arguments import problems_of
from pool_exporter.commands import serve
from pool_exporter.commands.directory_argument import directory_of
from pool_exporter.environment import process_environ
from pool_exporter.errors import SettingsError


@pytest.fixture(name="parser")
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pool-exporter serve")
    serve.add_arguments(parser)
    return parser


def test_defaults(parser: argparse.ArgumentParser) -> None:
    """Without arguments it is an exporter like others: /metrics, no TLS, logfmt from info on."""
    arguments = parser.parse_args([])

    assert (None, None, False) == (arguments.dir, arguments.addresses, arguments.systemd)
    assert ("/metrics", False, None) == (arguments.metrics, arguments.per_worker, arguments.config_file)
    assert ("info", "logfmt") == (arguments.log_level, arguments.log_format)


def test_every_argument(parser: argparse.ArgumentParser) -> None:
    """Every argument is taken, with = or without, and addresses any number of times."""
    arguments = parser.parse_args(
        [
            *("--dir", "/run/pools", "--per-worker", "--web.systemd-socket", "--web.listen-address=:1"),
            *("--web.listen-address", "[::1]:2", "--web.telemetry-path=/m", "--web.config.file", "web.yml"),
            *("--log.level=debug", "--log.format=json"),
        ]
    )

    assert (Path("/run/pools"), [":1", "[::1]:2"], True) == (arguments.dir, arguments.addresses, arguments.systemd)
    assert ("/m", True, Path("web.yml")) == (arguments.metrics, arguments.per_worker, arguments.config_file)
    assert ("debug", "json") == (arguments.log_level, arguments.log_format)


@pytest.mark.parametrize("path", ["metrics", "", "/-/healthy", "/-/x", "/a?b", "/a#b", "/a b", "/%61"])
def test_bad_telemetry_path(parser: argparse.ArgumentParser, path: str) -> None:
    """A path that cannot be requested, or is one of the sidecar's, is refused."""
    (problem,) = problems_of(parser.parse_args([f"--web.telemetry-path={path}"]))

    assert f"--web.telemetry-path={path!r}: must be a path such as /metrics, and not under /-/" == str(problem)


@pytest.mark.parametrize("path", ["/", "/metrics", "/a/b", "/-", "/über"])
def test_telemetry_path(parser: argparse.ArgumentParser, path: str) -> None:
    """Any other path is taken."""
    assert path == parser.parse_args([f"--web.telemetry-path={path}"]).metrics


@pytest.mark.parametrize(
    ("arguments", "variable", "expected"),
    [
        (["--dir=/a"], "/b", "/a"),
        (["--dir=/a"], None, "/a"),
        ([], "/b", "/b"),
        ([], " /b ", "/b"),
    ],
)
def test_directory(
    parser: argparse.ArgumentParser,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str | None,
    expected: str,
) -> None:
    """The directory is the argument's, else the environment's."""
    if variable is not None:
        monkeypatch.setenv("POOL_EXPORTER_DIR", variable)

    assert Path(expected) == directory_of(parser.parse_args(arguments), process_environ())


@pytest.mark.parametrize("variable", [None, "", " "])
def test_no_directory(parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    """Without either, it is an error that says how to give one; an empty variable is none."""
    if variable is not None:
        monkeypatch.setenv("POOL_EXPORTER_DIR", variable)
    with pytest.raises(SettingsError) as caught:
        directory_of(parser.parse_args([]), process_environ())

    assert "--dir: is needed, or POOL_EXPORTER_DIR: the directory that the workers share" == str(caught.value)


def test_help_names_every_argument(parser: argparse.ArgumentParser) -> None:
    """The help can be printed, and has a word about each argument."""
    printed = parser.format_help()

    assert [] == [
        action.dest for action in parser._actions if not action.help or action.option_strings[-1] not in printed
    ]
