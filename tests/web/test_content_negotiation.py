"""Every Accept header gets a result; a well-formed one gets the format and compression that the client prefers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.web.content_negotiation import (
    FORMATS,
    OPENMETRICS_1_0_0,
    TEXT_0_0_4,
    TEXT_1_0_0,
    Format,
    accepts_gzip,
    choose_format,
)

OPENMETRICS = "application/openmetrics-text"

PROMETHEUS_2_0 = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)
PROMETHEUS_2_5 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_NATIVE_HISTOGRAMS = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    f"escaping=allow-utf-8;q=0.7,{PROMETHEUS_3}"
)
PROMETHEUS_3_TEXT_ONLY = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("", TEXT_0_0_4, id="none"),
        pytest.param("*/*", TEXT_0_0_4, id="curl"),
        pytest.param(FIREFOX, TEXT_0_0_4, id="browser"),
        pytest.param(JAVA, TEXT_0_0_4, id="java"),
        pytest.param(PROMETHEUS_2_0, TEXT_0_0_4, id="prometheus-2.0"),
        pytest.param(PROMETHEUS_2_5, TEXT_0_0_4, id="prometheus-2.5"),
        pytest.param(PROMETHEUS_2_42, OPENMETRICS_1_0_0, id="prometheus-2.42"),
        pytest.param(PROMETHEUS_3, OPENMETRICS_1_0_0, id="prometheus-3"),
        pytest.param(PROMETHEUS_3_NATIVE_HISTOGRAMS, OPENMETRICS_1_0_0, id="prometheus-3-native-histograms"),
        pytest.param(PROMETHEUS_3_TEXT_ONLY, TEXT_1_0_0, id="prometheus-3-text-only"),
    ],
)
def test_real_clients_get_their_format(accept: str, expected: Format) -> None:
    """A scraper gets the newest format that both sides know; a client without a preference gets plain text."""
    assert expected == choose_format(accept)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param("text/plain", TEXT_0_0_4, id="text-without-version"),
        pytest.param("text/*", TEXT_0_0_4, id="any-text"),
        pytest.param("application/*", OPENMETRICS_1_0_0, id="any-application"),
        pytest.param(OPENMETRICS, OPENMETRICS_1_0_0, id="openmetrics-without-version"),
        pytest.param(f"{OPENMETRICS};q=0.2,text/plain;q=0.3", TEXT_0_0_4, id="quality-before-order"),
        pytest.param(f"text/plain;q=0.3,{OPENMETRICS};q=0.31", OPENMETRICS_1_0_0, id="quality-not-order"),
        pytest.param(f"{OPENMETRICS},text/plain", OPENMETRICS_1_0_0, id="equal-first-listed-openmetrics"),
        pytest.param(f"text/plain,{OPENMETRICS}", TEXT_0_0_4, id="equal-first-listed-text"),
        pytest.param(f"*/*,{OPENMETRICS}", OPENMETRICS_1_0_0, id="named-before-wildcard"),
        pytest.param(f"{OPENMETRICS};q=0,*/*", TEXT_0_0_4, id="not-openmetrics"),
        pytest.param("text/plain;q=0,*/*;q=0.1", OPENMETRICS_1_0_0, id="not-text"),
        pytest.param("text/*;q=0,text/plain;version=1.0.0;q=0.1", TEXT_1_0_0, id="exact-beats-wildcard"),
        pytest.param("text/plain;version=0.0.4;q=0.3,text/plain;q=0.9", TEXT_1_0_0, id="exact-has-its-own-quality"),
        pytest.param("text/plain;version=1.0.0;q=0.5,text/plain;version=1.0.0", TEXT_1_0_0, id="named-twice"),
        pytest.param(
            f"text/plain;q=0.4,{OPENMETRICS};q=0.2,{OPENMETRICS};q=0.6", OPENMETRICS_1_0_0, id="named-twice-best-counts"
        ),
        pytest.param("TEXT/Plain ; Version = 1.0.0 ; Q=0.5", TEXT_1_0_0, id="case-and-spaces"),
        pytest.param('text/plain;version="1.0.0"', TEXT_1_0_0, id="quoted"),
        pytest.param(f'text/plain;q=0.5;note=",{OPENMETRICS};x="', TEXT_0_0_4, id="comma-in-quotes"),
        pytest.param('text/plain;version=1.0.0;q=0.5;note=";q=0;x="', TEXT_1_0_0, id="semicolon-in-quotes"),
        pytest.param(f"{OPENMETRICS};escaping=dots", OPENMETRICS_1_0_0, id="escaping-of-names-that-need-none"),
        pytest.param(f"{OPENMETRICS};escaping=nonsense", OPENMETRICS_1_0_0, id="unknown-escaping"),
    ],
)
def test_most_wanted_format_is_chosen(accept: str, expected: Format) -> None:
    """Quality decides, then how exactly a format is named, then the order in the header (RFC 9110, 12.5.1)."""
    assert expected == choose_format(accept)


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("*/*;q=0", id="nothing"),
        pytest.param(f"{OPENMETRICS};q=0", id="not-openmetrics-nor-anything"),
        pytest.param("image/png", id="picture"),
        pytest.param(f"{OPENMETRICS};version=abc", id="no-version"),
        pytest.param(f"{OPENMETRICS};version=", id="empty-version"),
        pytest.param(f"{OPENMETRICS};version=9.9.9", id="version-of-the-future"),
        pytest.param(f"{OPENMETRICS};version=2.0.0", id="openmetrics-2"),
        pytest.param(f"{OPENMETRICS};version=0.0.1", id="openmetrics-0"),
        pytest.param("text/plain;version=9.9.9", id="text-of-the-future"),
        pytest.param(f"{OPENMETRICS};q=abc", id="no-quality"),
        pytest.param(f"{OPENMETRICS};q=1.5", id="quality-above-1"),
        pytest.param(f"{OPENMETRICS};q=-1", id="quality-below-0"),
        pytest.param(f"{OPENMETRICS};q=nan", id="quality-nan"),
        pytest.param(f"{OPENMETRICS};q=inf", id="quality-inf"),
        pytest.param(f"{OPENMETRICS};q=", id="empty-quality"),
        pytest.param(",;,=;;\",'\\", id="punctuation"),
        pytest.param('"', id="open-quote"),
        pytest.param("\xff\xfe", id="not-utf-8"),
        pytest.param("\x00", id="nul"),
        pytest.param("Ünïcode/*", id="unicode"),
    ],
)
def test_absurd_headers_get_the_oldest_format(accept: str) -> None:
    """A header that is malformed, or accepts no format on offer, gets text 0.0.4 and no error."""
    assert choose_format(accept) == TEXT_0_0_4


@pytest.mark.parametrize("offered", FORMATS, ids=["text-0.0.4", "text-1.0.0", "openmetrics-1.0.0"])
def test_content_type_asks_for_itself(offered: Format) -> None:
    """The Content-Type of each format, sent as an Accept header, gets that format."""
    assert offered == choose_format(offered.content_type)


HEADERS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            [*("text/plain", OPENMETRICS, "*/*", "*", "gzip", "identity"), *'/;,= q"\\', "version", "1.0.0", "0.5"]
        )
    ).map("".join),
)


@given(accept=HEADERS)
def test_any_text_is_an_accept_header(accept: str) -> None:
    """No text raises, and each gets a format on offer."""
    assert choose_format(accept) in FORMATS


@given(accept_encoding=HEADERS)
def test_any_text_is_an_accept_encoding_header(accept_encoding: str) -> None:
    """No text raises, and only a header with `gzip` or `*` in it gets gzip."""
    assert accepts_gzip(accept_encoding) <= ("gzip" in accept_encoding.lower() or "*" in accept_encoding)


@pytest.mark.parametrize("piece", ["a", '"', '"\\', "\\", ",", ";", '",', "a;q=0.1,", '"a";'])
def test_long_headers_take_linear_time(piece: str) -> None:
    """The longest header that servers accept is parsed in linear time; quadratic time would be minutes."""
    header = (piece * 65536)[:65536]

    assert choose_format(header) == TEXT_0_0_4
    assert accepts_gzip(header) is False


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0.001", True),
        ("gzip ; q = 0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("identity, *;q=0", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("identity;q=0, gzip;q=0.1", True),
        ("br", False),
        ("notgzip", False),
        ("gzipped, identity", False),
        ("gzip;q=nonsense", False),
    ],
)
def test_gzip_is_sent_where_it_is_accepted(accept_encoding: str, expected: bool) -> None:
    """Gzip needs a quality above 0, by name or by `*`, and not below that of no compression."""
    assert expected == accepts_gzip(accept_encoding)
