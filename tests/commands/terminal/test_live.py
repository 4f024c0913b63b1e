"""Ctrl-C ends the screen wherever it comes."""

import signal

import pytest

from pool_exporter.commands.terminal.live import _interrupt


class Collected:
    """An object in whose finalizer a signal comes."""

    def __del__(self) -> None:
        """Get the signal."""
        signal.raise_signal(signal.SIGINT)


def test_interrupt_in_a_finalizer() -> None:
    """It is noted, although Python ignores what a finalizer raises; the handler of before is there afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with _interrupt() as interrupt:
        Collected()

    assert (True, before) == (interrupt.has_come, signal.getsignal(signal.SIGINT))


def test_second_interrupt() -> None:
    """It raises KeyboardInterrupt, so that a screen which cannot be drawn ends too."""
    with _interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
