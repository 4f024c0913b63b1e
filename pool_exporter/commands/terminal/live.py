"""The screen while it is open: draws at each new sample, key or size, until the operator leaves.

The terminal is given back as it was, whatever happens. Nothing here may decide what is on the screen.
"""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Final

from rich.console import Console

from pool_exporter.commands.terminal.frame import frame
from pool_exporter.commands.terminal.samples import Sample, Sampler, Source
from pool_exporter.commands.terminal.view import View, pressed, rows_of

TICK_SECONDS: Final = 0.5
"""How often the screen is drawn anew without a sample: a source that is silent gets older, and the size may change."""
ESCAPE_SECONDS: Final = 0.05
"""How long the rest of a key's sequence may take; else it was the key Esc."""

_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ARROWS: Final = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_SEQUENCES: Final = {
    **{start + letter: name for letter, name in _ARROWS.items() for start in "[O"},
    **dict(zip(("[5~", "[6~", "[1~", "[4~"), ("pageup", "pagedown", "home", "end"), strict=True)),
}
"""What a terminal sends after an escape character, and the key."""
_CONTROLS: Final = {
    **dict.fromkeys("\r\n", "enter"),
    **dict.fromkeys("\x03\x04", "q"),
    "\x1b": "escape",
    "\x06": "pagedown",
    "\x02": "pageup",
}
"""The keys of single characters; Ctrl-C and Ctrl-D are q."""


def keys_of(typed: str) -> Iterator[str]:
    """Yield the keys of what was typed: characters, and names such as "up"; of an unknown sequence nothing."""
    rest = typed
    while rest:
        if rest[0] == "\x1b" and rest[1:2] in ("[", "O"):
            length = _length_of_sequence(rest)
            if rest[1:length] in _SEQUENCES:
                yield _SEQUENCES[rest[1:length]]
        else:
            length = 1
            yield _CONTROLS.get(rest[0], rest[0])
        rest = rest[length:]


def _length_of_sequence(text: str) -> int:
    """Return the length of the sequence at the beginning of *text*: to its final letter or tilde."""
    return next((index + 1 for index, each in enumerate(text[2:], 2) if "@" <= each <= "~"), len(text))


def run(sources: Sequence[Source], interval: float, view: View) -> None:
    """Show the sources until the operator leaves.

    Args:
        sources: Where the states come from.
        interval: The seconds between two samples.
        view: What is shown first.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def changed() -> None:
        with suppress(OSError):  # It is full, so that the screen is drawn anyway; or nothing reads it any more.
            os.write(write_end, b".")

    sampler = Sampler(sources, interval, changed)
    console = Console(highlight=False)
    try:
        with _interrupt() as interrupt, _raw_keyboard() as keyboard, console.screen(hide_cursor=True):
            sampler.start()
            _loop(console, sampler, view, keyboard, read_end, interrupt=interrupt)
    finally:
        sampler.close()
        os.close(read_end)


@dataclass
class _Interrupt:
    """Whether a signal has come that ends the program. A second one does what it does by default."""

    has_come: bool = False

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Handle the signal. It does not raise: Python ignores what is raised while it calls a finalizer."""
        self.has_come = True
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def _interrupt() -> Iterator[_Interrupt]:
    """Note the signals, for the time of the block: only an end in order gives the terminal back as it was."""
    interrupt = _Interrupt()
    heard = [number for number in _ENDS if signal.getsignal(number) != signal.SIG_IGN]  # As nohup has SIGHUP.
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loop(  # noqa: PLR0913  # what the loop waits for
    console: Console, sampler: Sampler, view: View, keyboard: int, samples: int, *, interrupt: _Interrupt
) -> None:
    while not (view.has_ended or interrupt.has_come):
        rows = rows_of(sampler.samples, view)
        view = drawn(console, sampler.samples, view)
        ready, _, _ = select.select([keyboard, samples], [], [], TICK_SECONDS)
        if samples in ready:
            os.read(samples, 4096)
        if keyboard in ready:
            typed = _typed(keyboard)
            if not typed:
                return  # The terminal is gone.
            for key in keys_of(typed):
                view = pressed(view, key, rows)
            sampler.is_paused = view.is_paused


def _typed(keyboard: int) -> str:
    typed = os.read(keyboard, 1024)
    if typed == b"\x1b" and select.select([keyboard], [], [], ESCAPE_SECONDS)[0]:
        typed += os.read(keyboard, 1024)
    return typed.decode("utf-8", "replace")


@contextmanager
def _raw_keyboard() -> Iterator[int]:
    """Read each key at once and without showing it, for the time of the block."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def drawn(console: Console, samples: Sequence[Sample], view: View) -> View:
    """Draw the whole screen for the terminal's present size; return the view, scrolled no further than to the end."""
    width, height = console.size
    lines, scroll = frame(console, samples, view, (width, height), time.monotonic())
    console.update_screen_lines(lines)
    return replace(view, scroll=scroll)
