"""Ctrl-C and the signals that end a program end the screen wherever they come."""

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_that_ends_a_program(number: signal.Signals) -> None:
    """It is noted, so that the terminal is given back; `timeout` and `kill` send SIGTERM, a lost terminal SIGHUP."""
    before = signal.signal(number, signal.SIG_DFL)  # Under `nohup`, the tests themselves ignore SIGHUP.
    try:
        with _interrupt() as interrupt:
            assert signal.SIG_DFL != signal.getsignal(number), "it would end the tests"
            signal.raise_signal(number)
            second = signal.getsignal(number)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before)

    assert (True, signal.SIG_DFL, signal.SIG_DFL) == (interrupt.has_come, second, after)


def test_signal_that_is_ignored() -> None:
    """As SIGHUP under `nohup`, it goes on to be."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
        found = signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert (False, signal.SIG_IGN) == (interrupt.has_come, found)
