"""One line on stderr that says what a command waits for, once that takes over two seconds.

Only a terminal gets it, in the place of the line before, and it is removed at the end: in a file or a pipe it would be
noise, and control characters. Whatever is waited for may block, so a thread writes it. Nothing here may know what is
waited for.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

QUIET_SECONDS: Final = 2.0
"""What takes less has no line."""

STEP_SECONDS: Final = 1.0
THREAD: Final = "pool_exporter progress"


class Progress:
    """Where the line is written, and when."""

    def __init__(
        self,
        stream: TextIO | None = None,
        quiet_seconds: float = QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep what is given.

        Args:
            stream: Where to write; None is stderr as it is at each use.
            quiet_seconds: How long nothing is written.
            clock: Returns seconds.
        """
        self._stream, self._quiet_seconds, self._clock = stream, quiet_seconds, clock

    @contextmanager
    def shown(self, text: Callable[[float], str]) -> Iterator[None]:
        """Show a line while the block runs.

        Args:
            text: Returns the line for the seconds that have passed.
        """
        stream = self._stream or sys.stderr
        if stream is None or not stream.isatty():
            yield
            return
        ended, started = threading.Event(), self._clock()
        thread = threading.Thread(target=self._write, name=THREAD, args=(stream, ended, started, text), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _write(self, stream: TextIO, ended: threading.Event, started: float, text: Callable[[float], str]) -> None:
        if ended.wait(self._quiet_seconds):
            return
        while True:
            _write_line(stream, text(self._clock() - started))
            if ended.wait(STEP_SECONDS):
                break
        _write_line(stream, "")


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(f"\r\033[K{text}")
    stream.flush()
