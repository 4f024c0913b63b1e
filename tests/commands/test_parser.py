"""A wrong flag or command is one line that names the nearest right one, and how to see help."""

import argparse
import re
from pathlib import Path

import pytest

from pool_exporter import cli
from pool_exporter.commands.parser import Parser, nearest

IN_PLACE = "pool-exporter serve --dir; see pool-exporter --help"


def said(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    """Return the line that wrong arguments end the program with."""
    with pytest.raises(SystemExit) as ended:
        cli._parser().parse(given)

    assert 2 == ended.value.code
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("serve --web.listen-adress=:1", "there is no --web.listen-adress; did you mean --web.listen-address?"),
        ("serve --log-level debug", "there is no --log-level; did you mean --log.level?"),
        ("serve --LOG.LEVEL debug", "there is no --LOG.LEVEL; did you mean --log.level?"),
        ("serve --log_format=json", "there is no --log_format; did you mean --log.format?"),
        ("serve -dir /run", "there is no -dir; did you mean --dir?"),
        ("serve --interval 5", "there is no --interval; did you mean --otlp.interval or --database-interval?"),
        ("dump --directory /run", "there is no --directory; did you mean --dir?"),
        ("serve --port 9000", "there is no --port; did you mean --web.listen-address?"),
        ("healthcheck --host=db", "there is no --host; did you mean --web.listen-address?"),
        ("dashboards --outputs x", "there is no --outputs; did you mean --output?"),
        ("demo --worker 3", "there is no --worker; did you mean --workers?"),
        ("dump --scene leak", "there is no --scene; demo has it"),
        ("dump --threads 3", "there is no --threads; check and advise have it"),
        ("top --verbose", "there is no --verbose"),
    ],
)
def test_wrong_flag(capsys: pytest.CaptureFixture[str], given: str, expected: str) -> None:
    """The nearest flag of the command is named, else the command that has it."""
    command = given.partition(" ")[0]

    assert f"pool-exporter {command}: {expected}; see pool-exporter {command} --help\n" == said(capsys, *given.split())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("serv", "pool-exporter: there is no command 'serv'; did you mean serve?; see pool-exporter --help"),
        ("health", "pool-exporter: there is no command 'health'; did you mean healthcheck?; see pool-exporter --help"),
        ("--verison", "pool-exporter: there is no --verison; did you mean --version?; see pool-exporter --help"),
        ("-v", "pool-exporter: there is no -v; see pool-exporter --help"),
        ("--dir /run serve", "pool-exporter: --dir is no command: a flag comes after the command, as in " + IN_PLACE),
    ],
)
def test_wrong_command(capsys: pytest.CaptureFixture[str], given: str, expected: str) -> None:
    """The nearest command is named, and where a flag belongs."""
    assert f"{expected}\n" == said(capsys, *given.split())


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, all are named."""
    names = ", ".join(command.name for command in cli.COMMANDS)

    assert f"pool-exporter: a command is missing: {names}; see pool-exporter --help\n" == said(capsys)


def test_unlike_any_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is near, all commands are named."""
    line = said(capsys, "xyz")

    assert all(command.name in line for command in cli.COMMANDS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["dump", "/run/pools"], "it takes no argument '/run/pools'; give it as --dir /run/pools"),
        (["dashboards", "--output=x", "y"], "it takes no argument 'y'"),
        (["dump", "--dir"], "argument --dir: expected one argument"),
        (["dashboards"], "the following arguments are required: --output"),
        (["demo", "--sidecar=yes"], "argument --sidecar: ignored explicit argument 'yes'"),
    ],
)
def test_other_errors(capsys: pytest.CaptureFixture[str], given: list[str], expected: str) -> None:
    """Whatever else is wrong, the line ends with how to see help."""
    command = given[0]

    assert f"pool-exporter {command}: {expected}; see pool-exporter {command} --help\n" == said(capsys, *given)


def test_wrong_flag_is_named_before_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt flag that is needed is misspelt, not missing."""
    assert "there is no --outptu; did you mean --output?" in said(capsys, "dashboards", "--outptu", "x")


def test_no_abbreviations(capsys: pytest.CaptureFixture[str]) -> None:
    """The beginning of a flag is no flag: the next version may have another one that begins so."""
    assert "there is no --time; did you mean --timeout?" in said(capsys, "healthcheck", "--time", "1")


@pytest.mark.parametrize(
    "given",
    [["demo", "--duration", "-5"], ["top", "--", "--x"], ["serve", "--otlp"], ["check", "--processes=2", "a:b"]],
)
def test_what_is_no_wrong_flag(given: list[str]) -> None:
    """A negative number, what follows `--`, a flag without its optional value, and the name of an earlier version."""
    assert given[0] == cli._parser().parse(given).command.name


def test_nearest() -> None:
    """At most two names, the one that differs in its signs alone, and those of which it is a part."""
    known = ["--web.listen-address", "--web.config.file", "--database-url", "--database-timeout", "--json"]

    assert ["--web.config.file"] == nearest("--web-config-file", known)
    assert ["--web.listen-address"] == nearest("--listen-address", known)
    assert ["--database-url", "--database-timeout"] == nearest("--database", known)
    assert [] == nearest("--x", known)


# The same names in all commands.

PARSERS = cli._parser().commands
FLAGS = sorted({flag for parser in PARSERS.values() for flag in parser.flags if flag.startswith("--")} - {"--help"})
WITHOUT_JSON = {"serve": "--log.format"}
"""The command of which the only output is its log, and the flag for JSON there."""


def actions(flag: str) -> dict[str, argparse.Action]:
    """Return the action of a flag in each command that shows it."""
    return {
        name: action
        for name, parser in PARSERS.items()
        for action in parser._actions
        if flag in action.option_strings and action.help != argparse.SUPPRESS
    }


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_takes_the_same_in_each_command(flag: str) -> None:
    """A flag that several commands have takes the same kind of value in each."""
    assert 1 == len({str(action.metavar) for action in actions(flag).values()})


@pytest.mark.parametrize("name", PARSERS)
def test_json_everywhere(name: str) -> None:
    """Each command with an output prints it as JSON too."""
    assert WITHOUT_JSON.get(name, "--json") in PARSERS[name].flags


@pytest.mark.parametrize("name", PARSERS)
def test_durations_and_directories(name: str) -> None:
    """What takes a time is shown as DURATION, which may have a unit, and what takes a directory as DIRECTORY."""
    shown = {str(action.metavar) for action in PARSERS[name]._actions}

    assert not shown & {"SECONDS", "TIME", "DIR", "ENDPOINT"}


def test_earlier_names_are_accepted_and_not_shown() -> None:
    """`check --processes` is `--workers`, as advise and demo have it."""
    arguments = cli._parser().parse(["check", "--processes=3", "a:b"])

    assert 3 == arguments.workers
    assert "--processes" not in PARSERS["check"].flags
    assert isinstance(PARSERS["check"], Parser)


def test_no_colour_of_its_own() -> None:
    """No module writes the escape sequence of a colour: those of `top` are rich's, which knows NO_COLOR."""
    colour = re.compile(r"\\(x1b|033|N\{ESCAPE\})\[[0-9;]*m")
    files = sorted((Path(cli.__file__).parent).rglob("*.py"))

    assert [] == [path.name for path in files if colour.search(path.read_text())]
    assert colour.search(r'"\033[31m"')
