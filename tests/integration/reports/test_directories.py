"""What containers do: an overlay under the shared directory, a swap of a certificate's symlink, a job of a second."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPSConnection
from pathlib import Path

from cryptography import x509

from tests.faults.application import application, only_pool
from tests.fixtures.certificates import Authority, Pair
from tests.fixtures.deadlines import until
from tests.fixtures.otlp import http_collector
from tests.fixtures.programs import missing
from tests.fixtures.sidecar import Sidecar, samples, sidecar
from tests.integration.reports.replays import replay
from tests.integration.test_sidecar import scraper
from tests.telemetry import decoded


@contextmanager
def overlay(path: Path) -> Iterator[Path]:
    """Mount an overlay over a volume in memory, which needs root; skipped where it cannot be had."""
    memory, merged = path / "memory", path / "merged"
    memory.mkdir()
    merged.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", memory], check=False, capture_output=True)
    for name in ("lower", "upper", "work"):
        (memory / name).mkdir()
    options = f"lowerdir={memory}/lower,upperdir={memory}/upper,workdir={memory}/work"
    command = ["mount", "-t", "overlay", "-o", options, "none", str(merged)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            missing(f"no overlay of the test's own: {done.stderr.strip()}")
        yield merged
    finally:
        subprocess.run(["umount", "--lazy", merged], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", memory], check=False, capture_output=True)


@replay("B25")
def test_b25_overlay(tmp_path: Path) -> None:
    """A worker that is killed on an overlay leaves its six checkouts, and nothing used."""
    with overlay(tmp_path) as directory, application(directory) as worker:
        worker.ask("use(5)")
        worker.ask("hold()")
        before = only_pool(directory)
        worker.kill()
        after = only_pool(directory)

    assert (6, 1) == (before.checkouts, before.used)
    assert (6, 0) == (after.checkouts, after.used)


def write(volume: Path, name: str, cert: bytes, key: bytes) -> None:
    """Swap the symlink `..data` to a new directory, as the kubelet does."""
    new = volume / name
    new.mkdir()
    (new / "tls.crt").write_bytes(cert)
    (new / "tls.key").write_bytes(key)
    link = volume / "..data_tmp"
    link.symlink_to(name)
    link.rename(volume / "..data")


def shown(running: Sidecar, authority: Authority) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    connection = running.connection(scraper(authority))
    assert isinstance(connection, HTTPSConnection)
    with closing(connection):
        connection.connect()
        der = connection.sock.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial(pair: Pair) -> int:
    """Return a certificate's serial number."""
    return x509.load_pem_x509_certificate(pair.cert.read_bytes()).serial_number


@replay("B31")
def test_b31_symlink_swap_of_a_certificate(tmp_path: Path) -> None:
    """The certificate is the new one after a swap, and stays it after a swap to a broken one, which is a metric."""
    authority = Authority(tmp_path / "certificates")
    old, new = authority.server("old"), authority.server("new")
    volume, directory = tmp_path / "volume", tmp_path / "shared"
    volume.mkdir()
    directory.mkdir()
    write(volume, "..1", old.cert.read_bytes(), old.key.read_bytes())
    for name in ("tls.crt", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    config = tmp_path / "web.yml"
    config.write_text(f"tls_server_config: {{cert_file: {volume}/tls.crt, key_file: {volume}/tls.key}}")
    with sidecar(directory, "--web.config.file", config) as running:
        assert serial(old) == shown(running, authority)

        write(volume, "..2", new.cert.read_bytes(), new.key.read_bytes())
        until(serial(new), lambda: shown(running, authority))

        write(volume, "..3", b"broken", new.key.read_bytes())
        page = running.ask(tls=scraper(authority)).body
        assert {"": 1.0} == samples(page, "pool_exporter_web_config_stale")
        assert serial(new) == shown(running, authority)


@replay("B13")
def test_b13_job_between_two_scrapes(tmp_path: Path) -> None:
    """The checkouts of a job that no scrape saw are in the last push of a sidecar that ends with it."""
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o770)
    with http_collector() as collector:
        with sidecar(directory, "--otlp", collector.endpoint, "--otlp.interval", "60") as running:
            with application(directory) as job:
                job.ask("use(50)")
                assert 0 == job.end()
            code, seconds = running.end()
        pushed = decoded(list(collector.exports)[-1])

    assert [50] == [number for (name, _), number in pushed.items() if name == "sqlalchemy_pool_checkouts_total"]
    assert (0, True) == (code, seconds < 5)
