"""The parser of the command line: argparse, with errors that name the nearest right word and how to see help.

A wrong flag or command is one line. Flags are not abbreviated: an abbreviation that is clear today may be ambiguous
with the next flag. Nothing here may know a command.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, NoReturn

from typing_extensions import override

from pool_exporter.errors import without_passwords

EXIT_USAGE: Final = 2
_LIKE_ENOUGH: Final = 0.6
_END_OF_FLAGS: Final = "--"
_OTHER_NAMES: Final = {
    **dict.fromkeys(("host", "port", "bind", "addr"), "--web.listen-address"),
    **dict.fromkeys(("directory", "folder", "path"), "--dir"),
    **dict.fromkeys(("verbose", "debug", "quiet"), "--log.level"),
    **dict.fromkeys(("dsn", "db"), "--database-url"),
    "tls": "--web.config.file",
}
"""What other programs call a flag that has another name here."""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the usage before it, and without passwords of URLs.

    Attributes:
        commands: The parser of each command, by its name; empty in a command's own parser.
    """

    def __init__(self, prog: str | None = None, *, description: str | None = None, **_: object) -> None:
        """Make a parser; argparse passes the first two, and in later versions of Python others."""
        super().__init__(prog, description=description, allow_abbrev=False)
        self.commands: dict[str, Parser] = {}

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {without_passwords(message)}; see {self.prog} --help\n")

    def parse(self, given: Sequence[str]) -> argparse.Namespace:
        """Return the parsed arguments of the program. Ends the program if they are wrong."""
        if not given:
            self.error(f"a command is missing: {', '.join(self.commands)}")
        name = _command_of(given, self.commands, self.flags, self.error)
        if name is None:
            return self.parse_args(given)
        elsewhere = {other: each.flags for other, each in self.commands.items() if other != name}
        self.commands[name].check_flags(given[1:], elsewhere)
        arguments, rest = self.parse_known_args(given)
        self.commands[name].check_rest(rest)
        return arguments

    @property
    def flags(self) -> list[str]:
        """Every flag that is shown in the help, in its order."""
        shown = (action for action in self._actions if action.help != argparse.SUPPRESS)
        return [flag for action in shown for flag in action.option_strings]

    def check_flags(self, given: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> None:
        """End the program if *given* has a flag that this parser does not have.

        Args:
            given: The arguments for this parser.
            elsewhere: The flags of the other commands, by their names.
        """
        for flag in _flags_of(given):
            if flag not in self._option_string_actions:
                self.error(f"there is no {flag}{_hint(flag, self.flags, elsewhere)}")

    def check_rest(self, rest: Sequence[str]) -> None:
        """End the program if arguments are left that no flag takes."""
        if rest:
            meant = "--url" if "://" in rest[0] else "--dir"
            instead = f"; give it as {meant} {rest[0]}" if meant in self._option_string_actions else ""
            self.error(f"it takes no argument {rest[0]!r}{instead}")


def _command_of(
    given: Sequence[str], commands: Mapping[str, Parser], flags: Sequence[str], fail: Callable[[str], NoReturn]
) -> str | None:
    """Return the command that the arguments begin with; None where they ask for help or the version.

    Args:
        given: The arguments of the program, at least one.
        commands: The parser of each command.
        flags: The flags without a command.
        fail: Ends the program with a message.
    """
    if given[0] in flags:
        return None
    if given[0].startswith("-"):
        fail(_misplaced(given[0].partition("=")[0], commands, flags))
    if given[0] not in commands:
        near = nearest(given[0], commands)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the commands are {', '.join(commands)}"
        fail(f"there is no command {given[0]!r}; {hint}")
    return given[0]


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """Return at most two of *known* that are written like *given*, or have it as a part; the nearest first."""
    by_text = {_bare(name): name for name in known}
    close = get_close_matches(_bare(given), by_text, n=2, cutoff=_LIKE_ENOUGH)
    if close and _bare(given) == close[0]:
        del close[1:]
    parts = [text for text in by_text if _bare(given) in text.split("-")]
    return [by_text[text] for text in dict.fromkeys([*close, *parts])][:2]


def _bare(name: str) -> str:
    """Return a name as it is compared: of `--log.level`, `--log-level` and `--LOG_LEVEL` it is the same."""
    return re.sub(r"[._]", "-", name.lstrip("-").lower())


def _flags_of(given: Sequence[str]) -> Iterator[str]:
    for each in given:
        if each == _END_OF_FLAGS:
            return
        if each.startswith("-") and not each[1:2].isdigit() and each != "-":
            yield each.partition("=")[0]


def _hint(flag: str, flags: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> str:
    near = nearest(flag, flags)
    other_name = _OTHER_NAMES.get(_bare(flag), "")
    if not near and other_name in flags:
        near = [other_name]
    having = [command for command, of_command in elsewhere.items() if flag in of_command]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; {' and '.join(having)} {'have' if len(having) > 1 else 'has'} it" if having else ""


def _misplaced(flag: str, commands: Mapping[str, Parser], flags: Sequence[str]) -> str:
    """Return what is wrong with a flag in the place of the command."""
    having = next((name for name, parser in commands.items() if flag in parser.flags), None)
    if having is None:
        return f"there is no {flag}{_hint(flag, flags, {})}"
    return f"{flag} is no command: a flag comes after the command, as in pool-exporter {having} {flag}"
