"""Parts of the sidecar that need a process of their own: a terminal, passed descriptors, and loggers."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.certificates import Authority


def test_no_prompt_for_a_password(tmp_path: Path) -> None:
    """The password of a key is not prompted for, not even on a terminal."""
    pair = Authority(tmp_path).client("encrypted", password=b"hunter2")
    main, terminal = pty.openpty()
    code = f"""
import fcntl, termios
from pathlib import Path
from pool_exporter.sidecar.webconfig.tls import SettingsError, TlsConfig, context_of
fcntl.ioctl({terminal}, termios.TIOCSCTTY, 0)
try:
    context_of(TlsConfig("x", cert_file=Path({str(pair.cert)!r}), key_file=Path({str(pair.key)!r})))
except SettingsError:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        start_new_session=True,
        pass_fds=[terminal],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(main)
    os.close(terminal)

    assert "refused\n" == done.stdout


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", "debug info warn error"), ("info", "info warn error"), ("warn", "warn error"), ("error", "error")],
)
def test_level_is_the_option(level: str, expected: str) -> None:
    """Events below the level are not written; the others are, on stderr."""
    code = f"""
import logging
from pool_exporter.sidecar.log_format import configure
configure({level!r}, "json")
for each in ("debug", "info", "warning", "error"):
    getattr(logging.getLogger("pool_exporter"), each)(each.removesuffix("ing"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert (expected, "") == (" ".join(json.loads(line)["msg"] for line in done.stderr.splitlines()), done.stdout)


def test_sockets_of_systemd() -> None:
    """The sockets that systemd passes are found as the descriptors from 3 on."""
    code = """
import os, socket
from pool_exporter.sidecar.listen_addresses import name_of, passed_by_systemd
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
ports = [listener.getsockname()[1] for listener in listeners]
copies = [os.dup(listener.fileno()) for listener in listeners]
for number, copy in enumerate(copies):
    os.dup2(copy, 3 + number)
found = passed_by_systemd({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())})
print([f"127.0.0.1:{port}" for port in ports] == [name_of(each) for each in found])
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-u", "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert "True" == done.stdout.strip()
