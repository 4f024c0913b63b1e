"""A password that a driver's error or a name quotes, however it is spelled, is in nothing that this package writes."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from sqlalchemy import Engine

from pool_exporter import Monitor, instrument, unit
from pool_exporter.diagnosis.texts.report_attributes import report_attributes
from pool_exporter.errors import Problem, SettingsError, may_have_password, without_passwords
from pool_exporter.hook_errors import HookErrors
from pool_exporter.hooks.checkout_owner import name_of
from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.target import parse_target
from pool_exporter.runtime.instrumentation import snapshot
from pool_exporter.runtime.registry import Registry
from pool_exporter.runtime.reports.process_reports import process_reports
from pool_exporter.runtime.watchdog.opentelemetry_events import emit_log_record
from pool_exporter.sidecar.log_format import FORMATS, LineFormatter
from pool_exporter.state import layout
from pool_exporter.units import label
from pool_exporter.web.responses import Request, respond
from pool_exporter.web.status.source import StatusSource
from pool_exporter.workers.reports.directory_reports import DirectoryReports
from tests.pools import Database, second_registry

SECRET = "Zq9"
URL = f"postgresql://scott:{SECRET}@db.internal:5432/orders"

SPELLINGS = {
    "URL": URL,
    "URL without a scheme": f"cannot connect to scott:{SECRET}@db.internal:5432/orders: connection refused",
    "user and host": f"could not connect: scott:{SECRET}@db",
    "no user": f"redis://:{SECRET}@db",
    "no scheme's name": f"://scott:{SECRET}@db",
    "one slash": f"postgresql:/scott:{SECRET}@db",
    "quoted URL": f"connect({URL!r}, timeout=3)",
    "URL of a digit": f"scott:1{SECRET}@db, ask dba@example.com",
    "at sign in it": f"postgresql://scott:{SECRET}@{SECRET}@db/orders",
    "spaces in it": f"postgresql://scott:{SECRET} {SECRET}@db/orders",
    "spaces in it, no scheme": f"scott:{SECRET} {SECRET}@db/orders",
    "reserved characters in it": f"mysql+pymysql://scott:{SECRET}#{SECRET}/{SECRET}@db/orders",
    "percent-encoded password": f"postgresql://scott:{quote(f'{SECRET}@{SECRET}')}@db/orders",
    "percent-encoded URL": f"redirect to {quote(URL, safe='')}",
    "twice percent-encoded URL": quote(quote(URL, safe=""), safe=""),
    "two servers": f"postgresql://scott:{SECRET}@db1,scott:{SECRET}@db2/orders",
    "query": f"postgresql://db/orders?user=scott&password={SECRET}",
    "query without a scheme": f"db/orders?user=scott&password={SECRET}&x=y",
    "percent-encoded query": f"password%3D{SECRET}%26x%3Dy",
    "libpq, of a host": f'could not translate host name "{SECRET}@db" to address',
    "libpq, of no DSN": f'missing "=" after "{SECRET}" in connection info string',
    "libpq, of a port": f'invalid integer value "{SECRET}" for connection option "port"',
    "Oracle": f"ORA-12154: scott/{SECRET}@db:1521/orcl",
    "JDBC of Oracle": f"jdbc:oracle:thin:scott/{SECRET}@//db:1521/orcl",
    "DSN": f"invalid dsn: host=db password={SECRET} user=scott",
    "DSN with spaces": f"host = db password = {SECRET}",
    "quoted DSN": f"host=db password='{SECRET} {SECRET}' user=scott",
    "quotes in a quoted DSN": f"password='{SECRET}\\'{SECRET}' user=scott",
    "no end of the quotes": f"password='{SECRET} {SECRET}",
    "ODBC": f"DRIVER={{x}};UID=scott;PWD={SECRET} {SECRET};SERVER=db",
    "ODBC with braces": f"DRIVER={{x}};UID=scott;PWD={{{SECRET}}}}} {SECRET}}};SERVER=db",
    "environment": f"env PGPASSWORD={SECRET} psql",
    "another variable": f"MYSQL_PWD={SECRET}",
    "a variable of the application": f"DB_PASS={SECRET}",
    "subscript": f"os.environ['PGPASSWORD'] = '{SECRET}'",
    "option": f"psql --password {SECRET}",
    "option with =": f"psql --db-password={SECRET}",
    "keyword arguments": f"connect(host='db', passwd='{SECRET}')",
    "arrow": f"connect('scott', passwd => {SECRET})",
    "dict": repr({"user": "scott", "password": SECRET, "host": "db"}),
    "dict of bytes": repr({"password": SECRET.encode()}),
    "dict with quotes in it": repr({"password": f"{SECRET}'\"{SECRET}"}),
    "pairs": repr([("user", "scott"), ("password", SECRET)]),
    "JSON": f'{{"password": "{SECRET} {SECRET}"}}',
    "JSON in JSON": f'"{{\\"password\\": \\"{SECRET} {SECRET}\\"}}"',
    "SQL": f"CREATE USER scott IDENTIFIED BY '{SECRET} {SECRET}'",
    "SQL of a role": f"ALTER ROLE scott PASSWORD '{SECRET}'",
    "plugin of MySQL": f"ALTER USER scott IDENTIFIED WITH mysql_native_password BY '{SECRET}'",
    "header": f"Authorization: Basic {SECRET}{SECRET}{SECRET}==",
    "secret": f"client_secret: {SECRET}",
    "token": f"access_token={SECRET}",
    "second line": f"could not connect\n{URL}",
}
"""Texts of drivers, libraries and applications in which SECRET is a password."""

HARMLESS = (
    "",
    "Access denied for user 'x'@'172.17.0.1' (using password: YES)",
    "(1045, \"Access denied for user 'x'@'localhost' (using password: NO)\")",
    'connection to server at "db" (10.0.0.1), failed: FATAL:  password authentication failed for user "me@example.org"',
    'could not translate host name "db" to address: Name or service not known',
    "Can't connect to MySQL server on 'db:3306' ([Errno 111])",
    "(Background on this error at: https://sqlalche.me/e/20/e3q8)",
    "listening on http://localhost:10042, and http://[::1]:10042/.",
    "[Errno 111] Connect call failed ('127.0.0.1', 5432)",
    'File "/usr/lib/python3.12/site-packages/a@b/c.py", line 10, in connect',
    "fe_sendauth: no password supplied",
    "GET /orders/{id:int}",
    "Task-12",
    "celery@worker1: ready",
    "db.internal:5432/orders",
)
"""Texts without a password, from which nothing is taken."""

each_spelling = pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)


class DriverError(Exception):
    """An error of a driver."""


class Refusing(Database):
    """A database that refuses all connections with a text of a driver."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.is_refusing = True

    def connect(self) -> object:
        """Raise the driver's error, with the text as its argument."""
        if self.is_refusing:
            raise DriverError(self._text)
        return super().connect()


def failed_three_times(engine: Engine) -> None:
    """Try to connect, as often as makes a report due."""
    for _ in range(3):
        with pytest.raises(DriverError):
            engine.connect()


@pytest.fixture(name="monitor")
def _monitor(text: str) -> Iterator[Monitor]:
    engine = Refusing(text).engine()
    with instrument(engine, name="orders") as monitor:
        failed_three_times(engine)
        yield monitor
    engine.dispose()


@each_spelling
def test_text_without_its_password(text: str) -> None:
    """The password is masked alone, in an error's text, and in what quotes the error; twice changes no more."""
    masked = without_passwords(text)

    assert SECRET not in masked
    assert "***" in masked
    assert may_have_password(text)
    assert masked == without_passwords(masked)
    for around in (str(DriverError(1045, text)), repr(DriverError(text)), f"(DriverError) {text}\n[SQL: select 1]"):
        assert SECRET not in without_passwords(around)


@pytest.mark.parametrize("text", HARMLESS)
def test_text_without_a_password_stays(text: str) -> None:
    """What operators read of an error is not masked: addresses, ports, paths, and that a password was wrong."""
    assert text == without_passwords(text)


def test_what_stays_of_an_address() -> None:
    """Of an address, user, host, port and database can be read."""
    expected = "cannot connect to scott:***@db.internal:5432/orders: connection refused"

    assert expected == without_passwords(SPELLINGS["URL without a scheme"])


@pytest.mark.parametrize("part", ["a:", "a:b@", "%3A", ":", "password=", "'password", "\\", "://a:", "a/", "x ", "="])
def test_long_text_takes_no_long_time(part: str) -> None:
    """The patterns are linear: the hooks of an application read the text."""
    started = time.perf_counter()
    without_passwords(f" {part * 20_000}@")

    assert time.perf_counter() - started < 10


@each_spelling
def test_report_has_no_password(text: str, monitor: Monitor) -> None:
    """The screen, the note and every value of a diagnosis have the driver's message without it."""
    made = monitor.diagnose()

    assert "open_error" in repr(made.evidence)
    assert SECRET not in f"{made}{made!r}{made.evidence!r}"


@each_spelling
def test_page_has_no_password(text: str, monitor: Monitor) -> None:
    """The page, its JSON and the metrics have none."""
    statuses = StatusSource(process_reports)
    for path in ("/", "/-/pools.json", "/metrics"):
        body = respond(Request("GET", path, shows_holders=True), snapshot, statuses).body

        assert SECRET.encode() not in body


@each_spelling
def test_log_record_of_opentelemetry_has_no_password(
    text: str, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the body nor an attribute has it."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # it has no types
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs, "get_logger", provider.get_logger)
    made = monitor.diagnose()
    emit_log_record(str(made), report_attributes(made, monitor.identity))
    (record,) = exporter.get_finished_logs()

    assert SECRET not in f"{record.log_record.body!r}{dict(record.log_record.attributes or {})}"


@pytest.fixture(name="registry")
def _registry(tmp_path: Path) -> Iterator[Registry]:
    registry = second_registry()
    registry.prepare(tmp_path, 0o640)
    yield registry
    for monitor in registry.monitors():
        monitor.close()


@each_spelling
def test_worker_file_has_no_password(text: str, registry: Registry, tmp_path: Path) -> None:
    """Neither the report of the failure nor the names of pool, service and unit have it."""
    database = Refusing(text)
    database.is_refusing = False
    engine = database.engine(logging_name=text)
    with registry.changing():
        registry.add(engine.pool, identity_of(engine, engine.pool, None, text))
    with unit(text), engine.connect():
        state = registry._pools()[-1].state
        assert state is not None
        later = state.clock
        state.clock = lambda: later() + 2 * layout.SECOND
        database.is_refusing = True
        failed_three_times(engine)
        registry._beat()
        [report] = DirectoryReports(tmp_path)()
        contents = [path.read_bytes() for path in tmp_path.iterdir()]
    engine.dispose()

    assert "***" in report.pools[0].holders[0].unit
    assert [] == [content for content in contents if SECRET.encode() in content]


@each_spelling
def test_owner_has_no_password(text: str) -> None:
    """The name of a thread or a task is shown without it."""
    owner = threading.Thread(name=text)

    assert SECRET not in name_of(lambda: owner)


@each_spelling
def test_log_of_a_hook_has_no_password(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error of a hook while a driver's error is handled is logged with both tracebacks, and without it."""
    errors, error = HookErrors(), KeyError(text)
    error.__context__ = DriverError(text)
    errors.report(error)
    [record] = caplog.records

    assert "During handling of the above exception" in record.getMessage()
    assert record.exc_info is None
    assert SECRET not in record.getMessage()


@each_spelling
def test_log_of_a_failed_page_has_no_password(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a source of the application that fails nor reports that cannot be read put it into the log."""

    def failing() -> Snapshot:
        raise DriverError(text)

    def no_reports() -> tuple[ProcessReport, ...]:
        raise DriverError(text)

    respond(Request("GET", "/metrics"), failing, StatusSource())
    respond(Request("GET", "/", shows_holders=True), snapshot, StatusSource(no_reports))

    assert 2 == len(caplog.records)
    assert SECRET not in caplog.text


@each_spelling
@pytest.mark.parametrize("form", FORMATS)
def test_log_of_the_sidecar_has_no_password(text: str, form: str) -> None:
    """Neither the message nor the traceback of any library has it."""
    error = DriverError(text)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed: %s", (error,), (DriverError, error, None))

    assert SECRET not in LineFormatter(form).format(record)


@each_spelling
def test_setting_has_no_password(text: str) -> None:
    """A value of the environment or an argument is shown without it, whatever its key."""
    assert SECRET not in str(SettingsError(Problem("POOL_EXPORTER_DIR", text, "must be a directory")))


@each_spelling
def test_name_has_no_password(text: str) -> None:
    """A name that an application gives becomes a label without it."""
    assert SECRET not in label(text)


@each_spelling
def test_message_of_a_probe_has_no_password(text: str) -> None:
    """What a server or driver says to the probe is masked also if it is not the password of the probe's URL."""
    assert SECRET not in parse_target("postgresql+asyncpg://u:p@db/orders").without_secrets(text)
