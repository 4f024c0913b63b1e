"""The addresses that a server listens on: `:10042`, `[::1]:9100`, `unix:/run/pool_exporter.sock`, or systemd's sockets.

`listening` opens the sockets and closes them; this module accepts no connection. Everything that is wrong with an
address is a SettingsError of one line.
"""

import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from pathlib import Path
from typing import Final

from pool_exporter.environment import PORT_MAX, address_text
from pool_exporter.errors import Problem, SettingsError

FLAG: Final = "--web.listen-address"
BACKLOG: Final = 128
SOCKET_UMASK: Final = 0o117
"""Only its owner and its group may use a unix socket."""

_UNIX: Final = "unix:"
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/\[\]]*)):(?P<port>\d{1,5})")
_FIRST_PASSED: Final = 3
"""The first of the file descriptors that systemd passes."""


def parse(address: str) -> tuple[str, int] | Path:
    """Return host and port, or the path of a unix socket.

    Raises:
        SettingsError: It is neither.
    """
    if address.startswith(_UNIX) and address != _UNIX:
        return Path(address.removeprefix(_UNIX))
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > PORT_MAX:
        raise _error(
            address, "must be an address such as :10042, 127.0.0.1:10042, [::1]:10042 or unix:/run/pool_exporter.sock"
        )
    return found["v6"] or found["host"], int(found["port"])


@contextmanager
def listening(addresses: Sequence[str]) -> Iterator[list[socket.socket]]:
    """Listen on all addresses for the time of the block.

    Yields:
        The listening sockets, in the order of *addresses*.

    Raises:
        SettingsError: An address is malformed, or cannot be listened on.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_listener(address)) for address in addresses]


def passed_by_systemd(environ: Mapping[str, str]) -> list[socket.socket]:
    """Return the listening sockets of systemd's socket activation.

    Raises:
        SettingsError: systemd passed none.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal() or int(count) < 1:
        fault = "systemd passed no socket: it needs a .socket unit of the same name"
        raise SettingsError(Problem("--web.systemd-socket", None, fault))
    return [socket.socket(fileno=_FIRST_PASSED + number) for number in range(int(count))]


def name_of(listener: socket.socket) -> str:
    """Return the address of a listening socket, as `parse` reads it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{_UNIX}{name}"
    return address_text(*name[:2])


@contextmanager
def _listener(given: str) -> Iterator[socket.socket]:
    address = parse(given)
    try:
        listener = _bound_path(given, address) if isinstance(address, Path) else _bound_port(*address)
    except OSError as error:
        # Python adds the address to the system's text.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise _error(given, f"cannot be listened on: {reason}") from None
    with listener, _removed_at_end(address):
        yield listener


@contextmanager
def _removed_at_end(address: tuple[str, int] | Path) -> Iterator[None]:
    """Remove the socket's file at the end, unless another server has replaced it."""
    inode = address.stat().st_ino if isinstance(address, Path) else 0
    yield
    with suppress(OSError):
        if isinstance(address, Path) and address.stat().st_ino == inode:
            address.unlink()


def _bound_port(host: str, port: int) -> socket.socket:
    if host in ("", "::") and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (EADDRNOTAVAIL, EAFNOSUPPORT):  # IPv6 is disabled on this machine.
                raise
    family, _, _, _, name = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(name, family=family, backlog=BACKLOG)


def _bound_path(address: str, path: Path) -> socket.socket:
    """Listen at a path, and replace a socket that an ended server left there."""
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(SOCKET_UMASK)
    try:
        _remove_unused_socket(address, path)
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _remove_unused_socket(address: str, path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _error(address, "is a file that is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise _error(address, "cannot be listened on: another server listens there")


def _error(address: str, fault: str) -> SettingsError:
    return SettingsError(Problem(FLAG, address, fault))
