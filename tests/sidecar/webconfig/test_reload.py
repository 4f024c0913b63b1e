"""The web config is the file's as it is now, and the last good one while the file is broken."""

import logging
import os
from pathlib import Path

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.sidecar.webconfig.config import RateLimit, WebConfig
from pool_exporter.sidecar.webconfig.reload import ReloadedConfig
from tests.fixtures.certificates import Authority

ONE, TWO = "rate_limit: {interval: 1s, burst: 1}", "rate_limit: {interval: 1s, burst: 2}"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    file = tmp_path / "web.yml"
    file.write_text(ONE)
    return file


def change(file: Path, content: str) -> None:
    """Write another content, at another time, however coarse the file system's clock is."""
    before = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(content)
    os.utime(file, ns=(before + 1_000_000, before + 1_000_000))


def burst(config: ReloadedConfig) -> int:
    """Return the number in which the configs differ."""
    limit = config.current().config.rate_limit

    assert limit is not None
    return limit.burst


def test_no_file_demands_nothing() -> None:
    """Without a file there are no demands, and nothing is stale."""
    config = ReloadedConfig(None)

    assert (WebConfig(), None, False) == (config.current().config, config.current().context, config.is_stale)


def test_what_is_wrong_at_the_start_is_an_error(file: Path) -> None:
    """A config that is wrong at the start is an error: nothing is served without it."""
    file.write_text("nonsense")
    with pytest.raises(SettingsError):
        ReloadedConfig(file)


def test_unchanged_file_is_not_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As long as nothing changes, the same config is returned, and nothing is said."""
    config = ReloadedConfig(file)
    before = config.current()

    assert before is config.current()
    assert [] == caplog.records


def test_unchanged_certificates_are_not_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is the same with a certificate."""
    pair = Authority(tmp_path / "certificates").server()
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}")
    config = ReloadedConfig(file)
    before = config.current()

    assert before is config.current()
    assert [] == caplog.records


def test_changed_file_is_read_again(file: Path) -> None:
    """A change holds from the next look on."""
    config = ReloadedConfig(file)
    change(file, TWO)

    assert 2 == burst(config)


def test_replaced_file_is_read_again(file: Path, tmp_path: Path) -> None:
    """A file that another one took the place of is read, though its time and size be the same: Kubernetes does that."""
    config = ReloadedConfig(file)
    other = tmp_path / "other.yml"
    other.write_text(TWO)
    times = file.stat()
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.rename(file)

    assert 2 == burst(config)


@pytest.mark.parametrize("content", ["nonsense", "basic_auth_user: {}", "a: [", None])
def test_broken_file_keeps_the_one_before(file: Path, caplog: pytest.LogCaptureFixture, content: str | None) -> None:
    """A new file that is wrong or gone is one line in the log and stale; what holds is as it was."""
    config = ReloadedConfig(file)
    if content is None:
        file.unlink()
    else:
        change(file, content)
    found = [burst(config) for _ in range(3)]

    assert ([1, 1, 1], True) == (found, config.is_stale)
    assert [logging.ERROR] == [record.levelno for record in caplog.records]
    assert str(file) in caplog.text


def test_mended_file_holds_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once it is mended, the new file holds and nothing is stale."""
    caplog.set_level(logging.INFO)
    config = ReloadedConfig(file)
    change(file, "nonsense")
    config.current()
    change(file, TWO)

    assert (2, False) == (burst(config), config.is_stale)
    assert [logging.ERROR, logging.INFO] == [record.levelno for record in caplog.records]


def test_renewed_certificate_is_loaded(tmp_path: Path) -> None:
    """A certificate and key that are replaced are loaded; between the two replacements, the old pair holds."""
    authority = Authority(tmp_path / "certificates")
    pair, new = authority.server(), authority.server("new")
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}")
    config = ReloadedConfig(file)
    first = config.current().context
    new.cert.rename(pair.cert)

    assert (True, True) == (config.current().context is first, config.is_stale)

    new.key.rename(pair.key)

    assert (False, False) == (config.current().context is first, config.is_stale)


def test_certificate_that_comes_late_is_loaded(tmp_path: Path) -> None:
    """A config that names files which are not there yet holds as soon as they are."""
    authority = Authority(tmp_path / "certificates")
    pair, new = authority.server(), authority.server("new")
    late = tmp_path / "late.key"
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}")
    config = ReloadedConfig(file)
    change(file, f"tls_server_config: {{cert_file: {new.cert}, key_file: {late}}}")
    first = config.current().context

    assert config.is_stale

    new.key.rename(late)

    assert (False, False) == (config.current().context is first, config.is_stale)


def test_tls_is_not_turned_off_by_a_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that has lost its TLS section does not turn TLS off."""
    pair = Authority(tmp_path / "certificates").server()
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {pair.cert}, key_file: {pair.key}}}")
    config = ReloadedConfig(file)
    change(file, "")

    assert config.current().context is not None
    assert (True, 1) == (config.is_stale, caplog.text.count("turns TLS on or off, which needs a restart"))


USERS = "basic_auth_users: {alice: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}"


@pytest.mark.parametrize("content", ["", "# being written", "{}", "basic_auth_users:", "rate_limit: {interval: 0}"])
def test_passwords_are_not_turned_off_by_a_half_written_file(
    file: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    """A file that had users and has none keeps them, as it may be half written; the log says how to turn them off."""
    file.write_text(USERS)
    config = ReloadedConfig(file)
    change(file, content)

    assert {"alice"} == config.current().config.users.keys()
    assert (True, 1) == (config.is_stale, caplog.text.count("write `basic_auth_users: {}` to turn passwords off"))


def test_passwords_can_be_turned_off(file: Path) -> None:
    """An empty mapping says so."""
    file.write_text(USERS)
    config = ReloadedConfig(file)
    change(file, "basic_auth_users: {}")

    assert ({}, False) == (config.current().config.users, config.is_stale)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("client_auth_type, client_allowed_sans", "has no client_auth_type any more"),
        ("client_allowed_sans", "has no client_allowed_sans any more"),
    ],
)
def test_client_certificates_are_not_turned_off_by_a_half_written_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lost: str, expected: str
) -> None:
    """A file that has lost what it asks of clients' certificates is not taken."""
    authority = Authority(tmp_path / "certificates")
    pair = authority.server()
    keys = {
        "cert_file": str(pair.cert),
        "key_file": str(pair.key),
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_allowed_sans": "[scraper]",
    }
    file = tmp_path / "web.yml"
    file.write_text(section(keys))
    config = ReloadedConfig(file)
    change(file, section({key: value for key, value in keys.items() if key not in lost}))

    tls = config.current().config.tls
    assert tls is not None
    assert ("RequireAndVerifyClientCert", ("scraper",)) == (tls.client_auth_type, tls.client_allowed_sans)
    assert (True, True) == (config.is_stale, expected in caplog.text)


def section(keys: dict[str, str]) -> str:
    """Return a TLS section of these keys."""
    return "tls_server_config:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def test_rate_limit_can_be_removed(file: Path) -> None:
    """What the new file does not demand is demanded no more."""
    config = ReloadedConfig(file)

    assert RateLimit(1.0, 1) == config.current().config.rate_limit

    change(file, "")

    assert config.current().config.rate_limit is None
