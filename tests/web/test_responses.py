"""Every answer over HTTP as a function of the request and the snapshot."""

import gzip
import logging
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.snapshot import DirectoryFaults, Snapshot
from pool_exporter.web.responses import (
    LIVENESS,
    METRICS,
    POOLS,
    READINESS,
    STATUS_PAGE,
    Request,
    Response,
    respond,
    takes_snapshot,
)
from pool_exporter.web.status.source import StatusSource
from tests.golden import OPENMETRICS, SNAPSHOT, parse_openmetrics, scrape

PATHS = [STATUS_PAGE, POOLS, METRICS, LIVENESS, READINESS]


def ask(
    path: str = METRICS, method: str = "GET", query: str = "", accept: str = "", accept_encoding: str = ""
) -> Response:
    """Return the response for the golden snapshot."""
    request = Request(method, path, query, accept, accept_encoding)
    return respond(request, lambda: SNAPSHOT, StatusSource(clock=lambda: 0.0))


def header(response: Response, name: str) -> str | None:
    """Return the value of a header that occurs at most once; None if it is absent."""
    values = [value for key, value in response.headers if key == name]

    assert len(values) <= 1
    return values[0] if values else None


def failing() -> Snapshot:
    """Fail as a source may, with a message that must not be shown."""
    raise RuntimeError("password=hunter2")


class CountingSource:
    """A source that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Snapshot:
        """Return the golden snapshot."""
        self.calls += 1
        return SNAPSHOT


# Paths and methods.


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_there(path: str) -> None:
    """Each of the pages answers 200."""
    assert 200 == ask(path).status


@pytest.mark.parametrize(
    "path", ["", "/metrics/", "//metrics", "/metrics/x", "/Metrics", "metrics", "/healthy", "/-/", "/favicon.ico"]
)
def test_paths_are_exact(path: str) -> None:
    """Every other path is 404, and never a redirect: scrapers need not follow one."""
    assert (404, b"not found\n") == (ask(path).status, ask(path).body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW", ""])
def test_only_get_and_head(path: str, method: str) -> None:
    """Other methods get a 405 that names the allowed ones."""
    response = ask(path, method)

    assert (405, "GET, HEAD") == (response.status, header(response, "Allow"))


def test_unknown_path_is_404_for_any_method() -> None:
    """The path is looked up before the method."""
    assert 404 == ask("/nothing", "POST").status


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
@pytest.mark.parametrize("accept_encoding", ["", "gzip"])
def test_head_is_get_without_the_body(path: str, accept_encoding: str) -> None:
    """HEAD has the status and headers of GET, its Content-Length included, and no body."""
    get, head = (ask(path, method, accept_encoding=accept_encoding) for method in ("GET", "HEAD"))

    assert (get.status, get.headers, b"") == (head.status, head.headers, head.body)


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_content_length_is_the_bodys(path: str, method: str) -> None:
    """Every response has the Content-Length of its body."""
    response = ask(path, method)

    assert str(len(response.body)) == header(response, "Content-Length")


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "\xff"]),
    path=st.one_of(st.sampled_from(PATHS), st.text()),
    query=st.one_of(st.text(), st.text().map("name[]={}".format), st.text().map("name%5B%5D={}".format)),
    accept=st.text(),
    accept_encoding=st.text(),
)
def test_every_request_has_a_response(method: str, path: str, query: str, accept: str, accept_encoding: str) -> None:
    """No request raises or gets a 5xx."""
    response = respond(Request(method, path, query, accept, accept_encoding), Snapshot)

    assert response.status in (200, 404, 405)


# Formats and compression.


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"),
        (f"{OPENMETRICS};version=1.0.0", f"{OPENMETRICS}; version=1.0.0; charset=utf-8; escaping=underscores"),
        (f"{OPENMETRICS};version=2.0.0", "text/plain; version=0.0.4; charset=utf-8"),
        (f"{OPENMETRICS};version=9.9.9", "text/plain; version=0.0.4; charset=utf-8"),
        (f"{OPENMETRICS};version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("\xff\xfe", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_content_type_is_what_is_sent(accept: str, expected: str) -> None:
    """The version in the Content-Type is that of the body, not that of the request."""
    response = ask(accept=accept)
    is_openmetrics = response.body.endswith(b"# EOF\n")

    assert expected == header(response, "Content-Type")
    assert expected.startswith(OPENMETRICS) == is_openmetrics


def test_gzip_holds_the_same_page() -> None:
    """The compressed page has the bytes of the plain one, and a Content-Encoding."""
    plain, packed = ask(), ask(accept_encoding="gzip")

    assert (None, "gzip") == (header(plain, "Content-Encoding"), header(packed, "Content-Encoding"))
    assert plain.body == gzip.decompress(packed.body)


def test_gzip_of_the_same_page_is_the_same() -> None:
    """The gzip header contains no time, so that an unchanged page has unchanged bytes."""
    assert packed_time(ask(accept_encoding="gzip").body) == 0


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_compressed_page_is_never_in_memory_as_a_whole(accept: str) -> None:
    """A sidecar of a thousand pools stays within the memory of the manifests: each family is encoded by itself."""
    pools = tuple(
        replace(SNAPSHOT.pools[0], identity=PoolIdentity(f"{number}-{'x' * 200}", "postgresql", "shop", "db", "5432"))
        for number in range(100)
    )
    request = Request("GET", METRICS, "", accept, "gzip")
    snapshot = replace(SNAPSHOT, pools=pools)
    page = len(respond(replace(request, accept_encoding=""), lambda: snapshot).body)
    tracemalloc.start()
    respond(request, lambda: snapshot)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < page


def packed_time(body: bytes) -> int:
    """Return the modification time in a gzip header."""
    return int.from_bytes(body[4:8], "little")


@pytest.mark.parametrize("accept_encoding", ["", "gzip"])
def test_vary_names_both_headers(accept_encoding: str) -> None:
    """A cache must not give one client the format of another."""
    assert "Accept, Accept-Encoding" == header(ask(accept_encoding=accept_encoding), "Vary")


# The name[] filter.


def family_names(query: str, snapshot: Snapshot = SNAPSHOT) -> list[str]:
    """Return the names of the families in the filtered page, which must be valid OpenMetrics."""
    return [family.name for family in parse_openmetrics(scrape(OPENMETRICS, query, snapshot))]


SAMPLES = {
    "db_client_connection_count": "db_client_connection_count",
    "sqlalchemy_pool_checkouts": "sqlalchemy_pool_checkouts",
    "sqlalchemy_pool_checkouts_total": "sqlalchemy_pool_checkouts",
    "sqlalchemy_pool_info": "sqlalchemy_pool_info",
    "db_client_connection_wait_time_seconds": "db_client_connection_wait_time_seconds",
    "db_client_connection_wait_time_seconds_bucket": "db_client_connection_wait_time_seconds",
    "db_client_connection_wait_time_seconds_sum": "db_client_connection_wait_time_seconds",
    "db_client_connection_wait_time_seconds_count": "db_client_connection_wait_time_seconds",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_filter_takes_names_of_samples_and_families(name: str) -> None:
    """The name of a family, or of one of its samples, selects the whole family and no other."""
    assert [SAMPLES[name]] == family_names(f"name[]={name}")


@pytest.mark.parametrize("metric", [*POOL_METRICS, *EXPORTER_METRICS], ids=lambda metric: metric.name)
def test_filter_finds_every_metric(metric: Metric) -> None:
    """Each metric of the catalogue is selected by the name that a PromQL query uses."""
    assert [metric.family] == family_names(f"name[]={metric.prometheus}")


def test_filter_is_repeatable() -> None:
    """Several names add up, in the order of the page; unknown names change nothing."""
    query = "name[]=sqlalchemy_pool_leaked_total&name[]=unknown&name%5B%5D=db_client_connection_max"

    assert ["db_client_connection_max", "sqlalchemy_pool_leaked"] == family_names(query)


@pytest.mark.parametrize("query", ["name[]=unknown", "name[]=", "name[]", "name[]=%FF", "name[]=up&name[]=go_info"])
def test_filter_for_nothing_is_an_empty_page(query: str) -> None:
    """Unknown names give a valid page without a family, not an error and not all families."""
    assert (200, b"") == (ask(query=query).status, ask(query=query).body)
    assert b"# EOF\n" == ask(query=query, accept=OPENMETRICS).body


@pytest.mark.parametrize("query", ["", "name=x", "names[]=x", "collect[]=x", "%FF=%FF", "&;=&", "debug"])
def test_other_parameters_change_nothing(query: str) -> None:
    """Only name[] filters."""
    assert ask().body == ask(query=query).body


def test_filter_works_when_there_is_no_pool() -> None:
    """A family without a series can be selected."""
    assert ["db_client_connection_max"] == family_names("name[]=db_client_connection_max", Snapshot())


# Snapshots.


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_one_snapshot_for_an_answer(path: str) -> None:
    """An answer takes one snapshot at most, and takes_snapshot() tells which answers take one."""
    source = CountingSource()

    respond(Request("GET", path), source)

    assert int(takes_snapshot(path)) == source.calls


def test_metrics_can_be_at_another_path() -> None:
    """The metrics are at the path that the server sets, only there, and the status page links to it."""
    answers = {path: respond(Request("GET", path, metrics="/m"), lambda: SNAPSHOT) for path in ("/", "/metrics", "/m")}

    assert [200, 404, 200] == [answer.status for answer in answers.values()]
    assert b"# HELP " == answers["/m"].body[:7]
    assert b'<a href="m">/m</a>' in answers["/"].body
    assert [False, True] == [takes_snapshot(path, "/m") for path in ("/metrics", "/m")]


def test_metrics_can_be_at_the_root() -> None:
    """At / the metrics replace the status page."""
    answer = respond(Request("GET", "/", metrics="/"), lambda: SNAPSHOT)

    assert b"# HELP " == answer.body[:7]


def test_which_pages_take_a_snapshot() -> None:
    """Every page but /-/healthy, which must answer while a snapshot is stuck."""
    assert [True, True, True, False, True] == [takes_snapshot(path) for path in PATHS]


@pytest.mark.parametrize("path", [STATUS_PAGE, POOLS, METRICS, READINESS])
@pytest.mark.parametrize("error", [RuntimeError, ValueError, MemoryError, RecursionError])
def test_failing_source_is_one_line(path: str, error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    """An error while collecting is one line with its class only, 500 or 503, and is logged in full."""

    def source() -> Snapshot:
        raise error("password=hunter2")

    response = respond(Request("GET", path), source)
    [record] = caplog.records

    assert (503 if path == READINESS else 500, 1) == (response.status, response.body.count(b"\n"))
    assert error.__name__.encode() in response.body
    assert b"hunter2" not in response.body
    assert (logging.ERROR, "pool_exporter") == (record.levelno, record.name)


def test_healthy_does_not_need_the_source() -> None:
    """With a source that fails the server is healthy and not ready."""
    assert [200, 503] == [respond(Request("GET", path), failing).status for path in (LIVENESS, READINESS)]


# Headers for browsers.


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_no_browser_guesses_the_type(path: str) -> None:
    """A browser must not take text for HTML: labels contain names from elsewhere."""
    assert "nosniff" == header(ask(path), "X-Content-Type-Options")


def test_status_page_may_load_and_run_nothing() -> None:
    """The Content-Security-Policy forbids everything that the page does not do."""
    policy = header(ask(STATUS_PAGE), "Content-Security-Policy") or ""

    assert {"default-src 'none'", "frame-ancestors 'none'", "form-action 'none'"} <= set(policy.split("; "))


def test_status_page_is_utf_8() -> None:
    """The page is UTF-8, so that a name in any script is shown."""
    response = ask(STATUS_PAGE)

    assert "text/html; charset=utf-8" == header(response, "Content-Type")
    assert "\U0001f418" in response.body.decode()


# A sidecar's directory.


@pytest.mark.parametrize(
    ("texts", "status", "body"),
    [
        ({}, 200, "ready\n"),
        ({"no_worker": "no worker was ever seen in /p"}, 200, "ready, but no worker was ever seen in /p\n"),
        (
            {"two_directories": "a", "missing": "/p does not exist"},
            503,
            "nothing can be served: a\n/p does not exist\n",
        ),
    ],
)
def test_ready_says_what_is_wrong_with_the_directory(texts: dict[str, str], status: int, body: str) -> None:
    """It is 503 where nothing of the directory can be read, and has the text of every fault."""
    faulty = replace(SNAPSHOT, faults=DirectoryFaults(texts))
    response = respond(Request("GET", READINESS), lambda: faulty)

    assert (status, body) == (response.status, response.body.decode())
