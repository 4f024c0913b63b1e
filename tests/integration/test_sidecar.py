"""The sidecar as a process: it serves what workers have written, whatever happens to them, to permitted clients."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.fixtures.certificates import Authority, Pair
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.prometheus import prometheus_server
from tests.fixtures.sidecar import (
    PROGRAM,
    Sidecar,
    UnixConnection,
    ask,
    basic,
    command,
    is_closed,
    samples,
    sidecar,
    worker,
)

HASH = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o770)
    return directory


@pytest.fixture(name="plain", scope="module")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One sidecar with one worker, which is frozen after a while, for tests that change nothing."""
    directory = tmp_path_factory.mktemp("plain") / "shared"
    directory.mkdir()
    with worker(directory), sidecar(directory) as running:
        yield running


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(name="server", scope="module")
def _server(authority: Authority) -> Pair:
    return authority.server()


def web_config(directory: Path, text: str) -> Path:
    """Write a web config beside the directory; return the flag's value."""
    file = directory.parent / "web.yml"
    file.write_text(text)
    return file


def scraper(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    """Return a scraper's context, with its certificate."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def name_of_server(connection: http.client.HTTPConnection) -> str:
    """Return the common name of the server's certificate."""
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown: Any = connection.sock.getpeercert()
    name: str = shown["subject"][0][0][1]
    return name


def send_and_read_nothing(connection: socket.socket, words: bytes) -> None:
    """Send as much as the other side accepts, and read nothing."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        connection.sendall(words)


# What it serves.


def test_pages(plain: Sidecar) -> None:
    """The worker's pool is among the metrics; status page, health and readiness are where exporters have them."""
    answers = {path: plain.ask(path) for path in ("/metrics", "/", "/-/healthy", "/-/ready", "/nothing")}
    page = answers["/metrics"].body

    assert [200, 200, 200, 200, 404] == [answer.status for answer in answers.values()]
    assert {7.0} == set(samples(page, "sqlalchemy_pool_connects_total").values())
    assert 1 == sum(samples(page, "pool_exporter_workers").values())
    assert {"": 0.0} == samples(page, "pool_exporter_web_config_stale")
    assert "orders" in answers["/"].body


def test_frozen_worker_is_served(directory: Path) -> None:
    """A worker that is stopped is served as it was, and its ages grow."""
    with worker(directory) as frozen, sidecar(directory) as running:
        frozen.process.send_signal(signal.SIGSTOP)
        [(labels, age)] = samples(running.ask().body, "sqlalchemy_pool_oldest_use_seconds").items()

        until(True, lambda: samples(running.ask().body, "sqlalchemy_pool_oldest_use_seconds")[labels] > age + 0.05)
        assert {2.0} == set(samples(running.ask().body, "db_client_connection_pending_requests").values())
        frozen.process.send_signal(signal.SIGCONT)


def test_killed_worker_leaves_its_counters(directory: Path) -> None:
    """The counters of a killed worker stay, its gauges go, and it is counted as killed."""
    with worker(directory) as dead, sidecar(directory) as running:
        dead.kill()
        page = running.ask().body

    assert {7.0} == set(samples(page, "sqlalchemy_pool_connects_total").values())
    assert {0.0} == set(samples(page, "db_client_connection_count").values())
    assert {'end="stopped"': 0.0, 'end="crashed"': 1.0, 'end="lost"': 0.0} == samples(
        page, "pool_exporter_workers_ended_total"
    )


def test_per_worker(directory: Path) -> None:
    """With --per-worker each worker has series of its own."""
    with worker(directory), worker(directory), sidecar(directory, "--per-worker") as running:
        found = samples(running.ask().body, "sqlalchemy_pool_connects_total")

    assert [7.0, 7.0] == list(found.values())


def test_telemetry_path(directory: Path) -> None:
    """The metrics are where --web.telemetry-path has them, and nowhere else."""
    with worker(directory), sidecar(directory, "--web.telemetry-path=/pools/metrics") as running:
        found = {path: running.ask(path) for path in ("/pools/metrics", "/metrics", "/")}

    assert [200, 404, 200] == [answer.status for answer in found.values()]
    assert "sqlalchemy_pool_connects_total" in found["/pools/metrics"].body
    assert 'href="pools/metrics"' in found["/"].body


def test_several_addresses(directory: Path) -> None:
    """Ports and unix sockets are served at once."""
    path = directory.parent / "s.sock"
    with worker(directory), sidecar(directory, addresses=("127.0.0.1:0", "[::1]:0", f"unix:{path}")) as running:
        port = int(running.addresses[1].rpartition(":")[2])
        connections = [running.connection(), http.client.HTTPConnection("::1", port, timeout=30), UnixConnection(path)]
        answers = [ask(connection, "/-/ready").body for connection in connections]
        for connection in connections:
            connection.close()

        assert ["ready\n"] * 3 == answers
        assert (0, False) == (running.end()[0], path.exists())


def test_systemd_socket(directory: Path) -> None:
    """With --web.systemd-socket the sockets of systemd are served."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        passed = (
            f"import os\nos.dup2({listener.fileno()}, 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        )
        arguments = [f"--dir={directory}", "--web.systemd-socket"]
        process = subprocess.Popen(
            [sys.executable, "-c", passed + PROGRAM, "serve", *arguments],
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                answer = ask(connection, "/-/healthy")
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)

    assert (200, 0) == (answer.status, process.returncode)
    assert f"msg=listening address=127.0.0.1:{port} tls=false" in log


def test_keep_alive(plain: Sidecar) -> None:
    """A scraper's connection serves one scrape after the other."""
    with closing(plain.connection()) as connection:
        statuses = [ask(connection).status for _ in range(3)]

    assert [200, 200, 200] == statuses


# What it does not need.


def test_missing_directory_is_not_ready(directory: Path) -> None:
    """Without the directory it is healthy and not ready, its metrics say so, and so does one line of its log."""
    directory.rmdir()
    paths = ("/-/healthy", "/-/ready", "/metrics", "/", "/-/pools.json")
    with sidecar(directory) as running:
        before, ready = [running.ask(path).status for path in paths], running.ask("/-/ready").body
        missing = samples(running.ask().body, "pool_exporter_directory_faults")['fault="missing"']
        directory.mkdir()
        after = [running.ask(path).status for path in paths]
        found = samples(running.ask().body, "pool_exporter_directory_faults")['fault="missing"']
        events = list(running.events)

    assert ([200, 503, 200, 200, 200], [200] * 5) == (before, after)
    assert ready.startswith(f"nothing can be served: {directory} does not exist")
    assert (1, 0) == (missing, found)
    assert ["missing"] * 2 == [event["fault"] for event in events if "fault" in event]
    assert not [event for event in events if event["level"] == "ERROR"]


def test_directory_from_the_environment(directory: Path) -> None:
    """Without --dir, POOL_EXPORTER_DIR says where the workers are."""
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "dump"], env=environ, capture_output=True, text=True, timeout=30, check=True
    )

    assert str(directory) == json.loads(done.stdout)["directory"]


def test_it_is_light() -> None:
    """The sidecar's process imports no SQLAlchemy, pydantic or OpenTelemetry, nor what only a web config needs."""
    heavy = ("sqlalchemy", "pydantic", "opentelemetry", "fastapi", "yaml", "bcrypt", "anyio._backends")
    code = "import sys, pool_exporter.sidecar.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert [] == [name for name in done.stdout.split() if name.startswith(heavy)]


def test_it_is_ready_soon(directory: Path) -> None:
    """It responds after less than a second of processor time; a fifth of that is usual."""
    with sidecar(directory) as running:
        status = running.ask("/-/ready").status
        seconds = cpu_seconds(running.process.pid)

    assert 200 == status
    assert seconds < 1


def cpu_seconds(pid: int) -> float:
    """Return a process's processor time: unlike the time since its start, it does not grow with the load of others."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


# Errors at the start.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--web.listen-address=nonsense"], "--web.listen-address='nonsense': must be an address such as :10042"),
        (["--web.systemd-socket"], "--web.systemd-socket: systemd passed no socket"),
        (["--web.config.file=/nonexistent/web.yml"], "/nonexistent/web.yml: cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(directory: Path, arguments: list[str], expected: str) -> None:
    """An argument that cannot be used is one line, and exit code 2."""
    done = command("serve", "--dir", directory, *arguments)

    assert (2, 1, "") == (done.returncode, done.stderr.count("\n"), done.stdout)
    assert expected in done.stderr


def test_no_directory_is_one_line(directory: Path) -> None:
    """Without a directory the error names the option and the variable."""
    done = command("serve")

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "--dir: is needed, or POOL_EXPORTER_DIR" in done.stderr


def test_taken_port_is_one_line(plain: Sidecar, directory: Path) -> None:
    """A port that is in use is one line, and exit code 2."""
    done = command("serve", "--dir", directory, f"--web.listen-address=127.0.0.1:{plain.port}")

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert f"'127.0.0.1:{plain.port}': cannot be listened on: Address already in use" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "web.yml, line 1: is not valid YAML"),
        ("basic_auth_user: {alice: x}", "web.yml: basic_auth_user: is not a known key; known are tls_server_config"),
    ],
)
def test_web_config_that_is_wrong_is_one_line(directory: Path, text: str, expected: str) -> None:
    """Failures to test, web.config.file: a malformed file or an unknown key, at the start, is one line."""
    done = command("serve", "--dir", directory, "--web.config.file", web_config(directory, text))

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert expected in done.stderr


# The web config, as a scraper sees it.


def test_password(directory: Path) -> None:
    """Failures to test, web.config.file: a wrong password and an unknown user are 401, on every page."""
    file = web_config(directory, f"basic_auth_users: {{alice: {HASH}}}")
    headers = [basic("alice", "right"), basic("alice", "wrong"), basic("unknown", "right"), ""]
    with sidecar(directory, "--web.config.file", file) as running:
        found = [running.ask(path, Authorization=each).status for path in ("/", "/-/healthy") for each in headers]

    assert [200, 401, 401, 401] * 2 == found


def test_rate_limit(directory: Path) -> None:
    """Failures to test, web.config.file: over the rate limit, an answer is 429."""
    file = web_config(directory, "rate_limit: {interval: 1h, burst: 2}")
    with sidecar(directory, "--web.config.file", file) as running:
        found = [running.ask("/-/healthy").status for _ in range(4)]

    assert [200, 200, 429, 429] == found


def test_headers(directory: Path) -> None:
    """The headers of the web config are on every answer."""
    file = web_config(directory, "http_server_config: {headers: {X-Frame-Options: deny}}")
    with sidecar(directory, "--web.config.file", file) as running:
        found = [running.ask(path).headers["x-frame-options"] for path in ("/", "/metrics", "/nothing")]

    assert ["deny"] * 3 == found


def test_tls(directory: Path, authority: Authority, server: Pair) -> None:
    """With a certificate, HTTPS is spoken and HTTP is not."""
    file = web_config(directory, f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}}}")
    with worker(directory), sidecar(directory, "--web.config.file", file) as running:
        answer = running.ask(tls=scraper(authority))
        with pytest.raises((OSError, http.client.HTTPException)):
            running.ask()
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            running.ask(tls=ssl.create_default_context())

        assert running.events[0]["tls"] is True
        assert running.end()[0] == 0

    assert (200, True) == (answer.status, "sqlalchemy_pool_connects_total" in answer.body)


def test_client_certificate(directory: Path, authority: Authority, server: Pair, tmp_path: Path) -> None:
    """Failures to test, web.config.file: an expired or untrusted certificate, or none, gets no answer."""
    file = web_config(
        directory,
        f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}, client_ca_file: {authority.cert},"
        " client_auth_type: RequireAndVerifyClientCert}",
    )
    stranger = Authority(tmp_path / "others", "authority")
    bad = [None, authority.client("expired", is_expired=True), stranger.client()]
    with sidecar(directory, "--web.config.file", file) as running:
        for each in bad:
            with pytest.raises((OSError, http.client.HTTPException)):
                running.ask("/-/healthy", tls=scraper(authority, each))
        status = running.ask("/-/healthy", tls=scraper(authority, authority.client())).status

    assert 200 == status


def test_allowed_names_of_clients(directory: Path, authority: Authority, server: Pair) -> None:
    """A certificate of the authority without an allowed name gets no answer; a change of the names holds at once."""
    file = directory.parent / "web.yml"
    tls = f"cert_file: {server.cert}, key_file: {server.key}, client_ca_file: {authority.cert}"
    text = f"tls_server_config: {{{tls}, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [NAME]}}"
    file.write_text(text.replace("NAME", "scraper.example"))
    context = scraper(authority, authority.client())
    with sidecar(directory, "--web.config.file", file) as running:
        allowed = running.ask("/-/healthy", tls=context).status
        file.write_text(text.replace("NAME", "another.example"))
        with pytest.raises((OSError, http.client.HTTPException)):
            running.ask("/-/healthy", tls=context)

    assert 200 == allowed


def test_certificate_is_renewed_without_restart(directory: Path, authority: Authority) -> None:
    """A certificate that is replaced is shown at the next connection, and those that are open stay open."""
    old, new = authority.server("old"), authority.server("renewed")
    file = web_config(directory, f"tls_server_config: {{cert_file: {old.cert}, key_file: {old.key}}}")
    context = scraper(authority)
    with sidecar(directory, "--web.config.file", file) as running, closing(running.connection(context)) as kept:
        before = ask(kept, "/-/healthy").status, name_of_server(kept)
        new.cert.rename(old.cert)
        new.key.rename(old.key)
        with closing(running.connection(context)) as fresh:
            after = ask(fresh, "/-/healthy").status, name_of_server(fresh)
        still = ask(kept, "/-/healthy").status, name_of_server(kept)

    assert [(200, "old"), (200, "renewed"), (200, "old")] == [before, after, still]


def test_web_config_is_read_again(directory: Path) -> None:
    """A change holds at the next request; a broken file keeps the old one, is one line in the log, and a metric."""
    file = web_config(directory, "")
    with sidecar(directory, "--web.config.file", file) as running:
        before = running.ask("/-/healthy").status
        file.write_text(f"basic_auth_users: {{alice: {HASH}}}")
        changed = [running.ask("/-/healthy").status for _ in range(2)]
        file.write_text("basic_auth_users: {alice: hunter2}")
        broken = [running.ask("/-/healthy").status for _ in range(3)]
        stale = samples(running.ask(Authorization=basic("alice", "right")).body, "pool_exporter_web_config_stale")
        lines = [event for event in running.events if event["level"] == "ERROR"]
        log = running.log.read_text()

    assert (200, [401, 401], [401, 401, 401]) == (before, changed, broken)
    assert ({"": 1.0}, 1, False) == (stale, len(lines), "hunter2" in log)


def test_prometheus_scrapes_it(directory: Path, authority: Authority, server: Pair, prometheus_binary: Path) -> None:
    """A real Prometheus scrapes by TLS, with a client's certificate and a password, again and again."""
    client = authority.client("prometheus")
    file = web_config(
        directory,
        f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}, client_ca_file: {authority.cert},"
        " client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: ['spiffe://example.com/scraper']}\n"
        f"basic_auth_users: {{alice: {HASH}}}\n",
    )
    scrape = {
        "scheme": "https",
        "basic_auth": {"username": "alice", "password": "right"},
        "tls_config": {"ca_file": str(authority.cert), "cert_file": str(client.cert), "key_file": str(client.key)},
    }
    with (
        worker(directory),
        sidecar(directory, "--web.config.file", file) as running,
        prometheus_server(prometheus_binary, {"pools": running.port}, **scrape) as prometheus,
    ):
        until(True, lambda: prometheus.value("count_over_time(sqlalchemy_pool_connects_total[1m])") >= 3, 30)

        assert 7 == prometheus.value("sqlalchemy_pool_connects_total")
        assert [("up", "")] == [(target["health"], target["lastError"]) for target in prometheus.targets()]


# Slow clients.


PATIENT = """
from pool_exporter.sidecar import connection_limits
connection_limits.REQUEST_SECONDS = 60.0
"""
"""A sidecar that gives each client a minute: if its end waits for one, that is seen, however busy the machine is."""


def test_scrapers_that_never_read_block_no_other(plain: Sidecar) -> None:
    """Twenty scrapers that send a hundred requests each and never read an answer block no other."""
    deaf = [plain.dial() for _ in range(20)]
    try:
        for connection in deaf:
            send_and_read_nothing(connection, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        statuses = {plain.ask("/metrics").status for _ in range(5)}
    finally:
        for connection in deaf:
            connection.close()

    assert {200} == statuses


def test_silent_clients_block_no_other(plain: Sidecar) -> None:
    """More silent or slow connections than there are places do not keep out a scraper."""
    silent = []
    try:
        for number in range(100):
            silent.append(plain.dial())
            if number % 2:
                silent[-1].sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            if number % 20 == 0:
                assert 200 == plain.ask("/-/healthy").status
        status = plain.ask("/metrics").status
    finally:
        for connection in silent:
            connection.close()

    assert 200 == status


def test_clients_without_a_tls_handshake_block_no_other(directory: Path, authority: Authority, server: Pair) -> None:
    """More connections than there are places that never begin with TLS do not keep out a scraper that does."""
    file = web_config(directory, f"tls_server_config: {{cert_file: {server.cert}, key_file: {server.key}}}")
    with sidecar(directory, "--web.config.file", file, program=PATIENT + PROGRAM) as running:
        silent = [running.dial() for _ in range(60)]
        status = running.ask("/-/healthy", tls=scraper(authority)).status
        code, seconds = running.end()
        for connection in silent:
            connection.close()

    assert (200, 0) == (status, code)
    assert seconds < PROMPT_SECONDS


def test_slow_header_is_cut_off(plain: Sidecar) -> None:
    """A client that takes too long for a request's headers is disconnected, however often it sends a byte."""
    started = time.perf_counter()
    with plain.dial() as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        connection.settimeout(0.5)
        closed = False
        while not closed and time.perf_counter() - started < 60:
            try:
                connection.sendall(b"x")
                closed = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
        seconds = time.perf_counter() - started

    assert closed
    assert seconds > 4


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nx", b"413"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"413"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70000, b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all \r\n\r\n", b"400"),
    ],
)
def test_what_is_too_much_is_refused(plain: Sidecar, request_: bytes, status: bytes) -> None:
    """A body, an endless header and bytes that are not HTTP are refused, and the connection is closed."""
    with plain.dial() as connection:
        with suppress(OSError):
            connection.sendall(request_)
        answer = connection.recv(4096)

        assert status == answer[9:12]
        assert is_closed(connection)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once(directory: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end it at once, with open connections that are idle, send slowly or never read."""
    with worker(directory), sidecar(directory, program=PATIENT + PROGRAM) as running:
        resting, slow, deaf = running.connection(), running.dial(), running.dial()
        ask(resting)
        slow.sendall(b"GET /met")
        send_and_read_nothing(deaf, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        running.ask()
        code, seconds = running.end(number)
        for each in (resting, slow, deaf):
            each.close()
        log = running.log.read_text()

    assert 0 == code
    assert seconds < PROMPT_SECONDS
    assert "Traceback" not in log


STUCK = """
import time
from pool_exporter.workers.directory_snapshot import DirectoryReader

DirectoryReader.__call__ = lambda self: time.sleep(60)
"""
"""The directory's file system stands still."""


def test_stuck_snapshot_is_503_in_the_scrapers_time(directory: Path) -> None:
    """While the file system is blocked, a scraper gets a 503 in its timeout, and a signal still ends the sidecar."""
    with sidecar(directory, program=STUCK + PROGRAM) as running:
        started = time.perf_counter()
        answer = running.ask(X_Prometheus_Scrape_Timeout_Seconds="1.2")
        seconds = time.perf_counter() - started
        healthy = running.ask("/-/healthy").status
        code, ending = running.end()

    assert (503, "no snapshot within 0.7 s\n", 200) == (answer.status, answer.body, healthy)
    assert 0.6 < seconds < PROMPT_SECONDS
    assert (0, True) == (code, ending < PROMPT_SECONDS)
