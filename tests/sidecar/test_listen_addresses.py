"""Listening as exporters do: addresses as they are written, and one clear error for each that cannot be had."""

import os
import socket
import stat
from pathlib import Path

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.sidecar.listen_addresses import listening, name_of, parse, passed_by_systemd


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (":10042", ("", 10042)),
        ("127.0.0.1:9100", ("127.0.0.1", 9100)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9100", ("::1", 9100)),
        ("[fe80::1%lo]:65535", ("fe80::1%lo", 65535)),
        ("unix:/run/pool_exporter.sock", Path("/run/pool_exporter.sock")),
        ("unix:relative.sock", Path("relative.sock")),
    ],
)
def test_address(address: str, expected: object) -> None:
    """An address is read as it is written for exporters, with unix sockets beside."""
    assert expected == parse(address)


@pytest.mark.parametrize(
    "address",
    ["", "10042", "localhost", ":", ":port", ":65536", "::1:9100", "http://a:1", "unix:", "[::1]", "a:1:2", ": 1"],
)
def test_no_address(address: str) -> None:
    """What is no address is an error with the flag, what was given, and examples."""
    with pytest.raises(SettingsError) as caught:
        parse(address)

    assert str(caught.value).startswith(f"--web.listen-address={address!r}: must be an address such as :10042, ")


def connects(family: socket.AddressFamily, address: object) -> bool:
    """Whether a server listens there."""
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0  # type: ignore[arg-type]  # a host and a port, or a path


def test_no_host_is_every_address() -> None:
    """Without a host, IPv4 and IPv6 are both listened on, at one port."""
    with listening([":0"]) as [listener]:
        port = listener.getsockname()[1]

        assert connects(socket.AF_INET, ("127.0.0.1", port))
        assert connects(socket.AF_INET6, ("::1", port))
        assert f"[::]:{port}" == name_of(listener)


def test_without_ipv6_no_host_is_every_address_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without IPv6, IPv4 is listened on."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listening([":0"]) as [listener]:
        assert connects(socket.AF_INET, ("127.0.0.1", listener.getsockname()[1]))


def test_several_addresses(tmp_path: Path) -> None:
    """Any number of addresses is listened on, and none any more at the end."""
    path = tmp_path / "s.sock"
    with listening(["127.0.0.1:0", "[::1]:0", f"unix:{path}"]) as listeners:
        names = [listener.getsockname() for listener in listeners]

        assert [True] * 3 == [connects(each.family, name) for each, name in zip(listeners, names, strict=True)]
        assert [f"127.0.0.1:{names[0][1]}", f"[::1]:{names[1][1]}", f"unix:{path}"] == [*map(name_of, listeners)]

    assert not connects(socket.AF_INET, names[0])
    assert not path.exists()


def test_taken_port_is_one_line() -> None:
    """A port that is in use is an error of one line, and what was opened before is closed."""
    with listening(["127.0.0.1:0"]) as [listener]:
        port = listener.getsockname()[1]
        with pytest.raises(SettingsError) as caught, listening(["127.0.0.1:0", f"127.0.0.1:{port}"]):
            pass

    assert f"--web.listen-address='127.0.0.1:{port}': cannot be listened on: Address already in use" == str(
        caught.value
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [("192.0.2.1:0", "Cannot assign requested address"), ("nowhere.invalid:0", "")],
)
def test_address_of_another_machine(address: str, reason: str) -> None:
    """A host that is not this one, or none, is an error of one line."""
    with pytest.raises(SettingsError) as caught, listening([address]):
        pass

    assert str(caught.value).startswith(f"--web.listen-address={address!r}: cannot be listened on: {reason}")
    assert "\n" not in str(caught.value)


# Unix sockets.


def test_unix_socket_is_its_groups(tmp_path: Path) -> None:
    """A unix socket is open to its owner and group, as the workers' files are, whatever the umask says."""
    before = os.umask(0)
    try:
        with listening([f"unix:{tmp_path}/s.sock"]):
            mode = stat.S_IMODE((tmp_path / "s.sock").stat().st_mode)
    finally:
        after = os.umask(before)

    assert (0o660, 0) == (mode, after)


def test_left_unix_socket_is_replaced(tmp_path: Path) -> None:
    """A socket that a killed server left is no obstacle."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))

    assert path.exists()

    with listening([f"unix:{path}"]):
        assert connects(socket.AF_UNIX, str(path))


def test_used_unix_socket_is_an_error(tmp_path: Path) -> None:
    """A socket on which a server listens is that server's, and stays."""
    path = tmp_path / "s.sock"
    with listening([f"unix:{path}"]):
        with pytest.raises(SettingsError) as caught, listening([f"unix:{path}"]):
            pass

        assert connects(socket.AF_UNIX, str(path))

    assert f"--web.listen-address='unix:{path}': cannot be listened on: another server listens there" == str(
        caught.value
    )


def test_file_at_the_place_is_left_alone(tmp_path: Path) -> None:
    """A file that is not a socket is not removed."""
    path = tmp_path / "s.sock"
    path.write_text("precious")
    with pytest.raises(SettingsError, match="is a file that is not a socket"), listening([f"unix:{path}"]):
        pass

    assert "precious" == path.read_text()


def test_successors_socket_is_not_removed(tmp_path: Path) -> None:
    """A server that ends after its successor has replaced its socket leaves the successor's."""
    path = tmp_path / "s.sock"
    with listening([f"unix:{path}"]):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))

    assert path.exists()


def test_missing_directory_of_unix_socket(tmp_path: Path) -> None:
    """A directory that is not there is one line."""
    with pytest.raises(SettingsError, match="cannot be listened on: No such file or directory"):
        listening([f"unix:{tmp_path}/missing/s.sock"]).__enter__()


# systemd.


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_PID": str(os.getpid())}]
)
def test_no_socket_of_systemd(environ: dict[str, str]) -> None:
    """Without sockets from systemd, or with those of another process, it is an error."""
    with pytest.raises(SettingsError, match="systemd passed no socket"):
        passed_by_systemd(environ)
