"""The web config file: what the exporter-toolkit takes is taken, and everything else is an error that says what is."""

import os
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.sidecar.webconfig.config import CIPHERS_1_2, CIPHERS_1_3, RateLimit, WebConfig, read
from pool_exporter.sidecar.webconfig.strict_yaml import FILE_BYTES_MAX

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
CERT = "cert_file: server.crt, key_file: server.key"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "web.yml"


def config(file: Path, text: str) -> WebConfig:
    """Read a file of that text."""
    file.write_text(text)
    return read(file)


def refusal(file: Path, text: str) -> str:
    """Return what is said against a file of that text, without the file's name."""
    with pytest.raises(SettingsError) as caught:
        config(file, text)
    return str(caught.value).replace(str(file), "FILE")


def tls(file: Path, text: str) -> Any:
    """Return what a section with certificates and *text* comes to."""
    return config(file, f"tls_server_config: {{{CERT}, {text}}}").tls


# What is taken.


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "{}", "tls_server_config:", "basic_auth_users: {}", "rate_limit: ~"]
)
def test_nothing_said_is_no_demand(file: Path, text: str) -> None:
    """An empty file, and empty sections, demand nothing."""
    assert WebConfig() == config(file, text)


def test_whole_file(file: Path) -> None:
    """Every key of the format is taken, and means what it says."""
    found = config(
        file,
        f"""
        tls_server_config:
          cert_file: certs/server.crt
          key_file: /etc/server.key
          client_ca_file: ca.crt
          client_auth_type: RequireAndVerifyClientCert
          client_allowed_sans: [scraper.example, "::1"]
          min_version: TLS11
          max_version: TLS12
          cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
          prefer_server_cipher_suites: false
          curve_preferences: [CurveP256]
        http_server_config:
          http2: true
          headers:
            Content-Security-Policy: default-src 'self'
            X-Frame-Options: deny
            X-Content-Type-Options: nosniff
            X-XSS-Protection: 1; mode=block
            Strict-Transport-Security: max-age=31536000
        basic_auth_users:
          alice: {HASH}
        rate_limit: {{interval: 1m30.5s, burst: 20}}
        """,
    )

    assert found.tls is not None
    assert (file.parent / "certs/server.crt", Path("/etc/server.key"), file.parent / "ca.crt") == found.tls.files
    assert "RequireAndVerifyClientCert" == found.tls.client_auth_type
    assert ("scraper.example", "::1") == found.tls.client_allowed_sans
    assert ("TLS11", "TLS12") == (found.tls.min_version, found.tls.max_version)
    assert ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256") == found.tls.cipher_suites
    assert (False, ("CurveP256",)) == (found.tls.prefer_server_cipher_suites, found.tls.curve_preferences)
    assert 5 == len(found.headers)
    assert {"alice": HASH.encode()} == found.users
    assert RateLimit(90.5, 20) == found.rate_limit


def test_defaults_are_the_toolkits(file: Path) -> None:
    """The defaults are the exporter-toolkit's: TLS 1.2 and 1.3, no client certificate, the server's cipher order."""
    found = tls(file, "")

    assert ("TLS12", "TLS13", "NoClientCert") == (found.min_version, found.max_version, found.client_auth_type)
    assert (True, (), (), None) == (
        found.prefer_server_cipher_suites,
        found.cipher_suites,
        found.curve_preferences,
        found.client_allowed_sans,
    )


@pytest.mark.parametrize("value", ["true", "false", "yes", "off", "True"])
def test_http2_is_taken(file: Path, value: str) -> None:
    """The format's default is `http2: true`; with it, and when it is turned off, HTTP/1.1 is served."""
    assert WebConfig() == config(file, f"http_server_config: {{http2: {value}}}")


def test_inline_certificates(file: Path) -> None:
    """Certificates may stand in the file itself."""
    found = config(
        file, "tls_server_config: {cert: C, key: K, client_ca: A, client_auth_type: VerifyClientCertIfGiven}"
    ).tls

    assert found is not None
    assert (("C", "K", "A"), ()) == ((found.cert, found.key, found.client_ca), found.files)


@pytest.mark.parametrize("name", ["no", "1234", "null", "~", "0x10", "true", "<<"])
def test_users_are_called_what_they_are_called(file: Path, name: str) -> None:
    """A user's name is text, whatever YAML could make of it."""
    assert {name: HASH.encode()} == config(file, f"basic_auth_users: {{{name}: {HASH}}}").users


@pytest.mark.parametrize("suite", [*CIPHERS_1_2, *CIPHERS_1_3])
def test_every_cipher_suite(file: Path, suite: str) -> None:
    """Go's names of its cipher suites are taken, those of TLS 1.3 too."""
    assert (suite,) == tls(file, f"cipher_suites: [{suite}]").cipher_suites


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("1s", 1.0), ("500ms", 0.5), ("1h30m", 5400.0), (".5s", 0.5), ("1.s", 1.0), ("10us", 1e-5), ("10µs", 1e-5)],
)
def test_durations_are_gos(file: Path, duration: str, seconds: float) -> None:
    """An interval is written as in Go."""
    limit = config(file, f"rate_limit: {{interval: {duration}, burst: 2}}").rate_limit

    assert limit is not None
    assert seconds == pytest.approx(limit.interval_seconds)


@pytest.mark.parametrize("text", ["interval: 0", "interval: 0, burst: 5", "interval: 0s, burst: 5", "burst: 5"])
def test_no_interval_is_no_limit(file: Path, text: str) -> None:
    """An interval of 0, or none, turns the rate limit off."""
    assert config(file, f"rate_limit: {{{text}}}").rate_limit is None


# What is not.


@pytest.mark.parametrize("value", ["", "''", "~", "null", "[]", "{}", "x", HASH[:-1], HASH.replace("$10$", "$99$")])
def test_user_without_hash_is_an_error(file: Path, value: str) -> None:
    """A user with a missing or damaged hash is not skipped: without the last user, passwords would be off."""
    assert refusal(file, f"basic_auth_users:\n  alice: {value}\n").startswith("FILE: basic_auth_users.alice: must be ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls_config: {}", "FILE: tls_config: is not a known key; known are tls_server_config, http_server_config,"),
        (f"tls_server_config: {{{CERT}, certfile: x}}", "FILE: tls_server_config.certfile: is not a known key; known"),
        ("http_server_config: {http3: true}", "FILE: http_server_config.http3: is not a known key; known are http2, h"),
        (
            "http_server_config: {headers: {Server: x}}",
            "FILE: http_server_config.headers.Server: is not a known key; k",
        ),
        ("rate_limit: {intervall: 1s}", "FILE: rate_limit.intervall: is not a known key; known are interval, burst"),
        ("basic_auth_user: {a: b}", "FILE: basic_auth_user: is not a known key; known are tls_server_config, http_se"),
    ],
)
def test_unknown_key_is_named(file: Path, text: str, expected: str) -> None:
    """An unknown key is an error that names the file, the key and the keys that there are."""
    assert refusal(file, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "FILE: must be a mapping of keys to values"),
        ("text", "FILE: must be a mapping of keys to values"),
        ("tls_server_config: [a]", "FILE: tls_server_config: must be a mapping of keys to values"),
        ("basic_auth_users: alice", "FILE: basic_auth_users: must be a mapping of keys to values"),
        ("http_server_config: {http2: maybe}", "FILE: http_server_config.http2='maybe': must be true or false"),
        ("http_server_config: {http2: [1]}", "FILE: http_server_config.http2: must be text"),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            "FILE: http_server_config.headers.X-Frame-Options='allow': must be one of deny, sameorigin",
        ),
        (
            'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSet-Cookie: x"}}',
            "FILE: http_server_config.headers.X-XSS-Protection='1\\r\\nSet-Cookie: x': must be printable ASCII on one",
        ),
        (
            "rate_limit: {interval: 1, burst: 1}",
            "FILE: rate_limit.interval='1': must be a duration such as 1s, 500ms or 1m30s, or 0 for no limit",
        ),
        ("rate_limit: {interval: -1s, burst: 1}", "FILE: rate_limit.interval='-1s': must be a duration such as 1s, 5"),
        ("rate_limit: {interval: 1s}", "FILE: rate_limit.burst: is missing: without it no request is answered"),
        ("rate_limit: {interval: 1s, burst: 0}", "FILE: rate_limit.burst='0': must be a whole number from 1"),
        ("rate_limit: {interval: 1s, burst: 1.5}", "FILE: rate_limit.burst='1.5': must be a whole number from 1"),
    ],
)
def test_wrong_value_is_named(file: Path, text: str, expected: str) -> None:
    """A value that makes no sense is an error that names file, key and value, and what is allowed."""
    assert refusal(file, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("min_version: TLS14", "min_version='TLS14': must be one of TLS10, TLS11, TLS12, TLS13"),
        ("min_version: TLS13, max_version: TLS12", "min_version='TLS13': is above the max_version TLS12"),
        ("max_version: TLS11", "min_version='TLS12': is above the max_version TLS11"),
        ("client_auth_type: Maybe", "client_auth_type='Maybe': must be one of NoClientCert, RequestClientCert, "),
        (
            "client_auth_type: RequireAnyClientCert",
            "client_auth_type='RequireAnyClientCert': is not supported: Python's ssl cannot accept unverified client ",
        ),
        ("client_auth_type: RequireClientCert", "client_auth_type='RequireClientCert': is not supported: "),
        (
            "cipher_suites: [TLS_INVENTED]",
            "cipher_suites: TLS_INVENTED is not supported; supported are TLS_AES_128_GCM_SHA256",
        ),
        ("cipher_suites: TLS_AES_128_GCM_SHA256", "cipher_suites='TLS_AES_128_GCM_SHA256': must be a list of texts"),
        ("curve_preferences: [P256]", "curve_preferences: P256 is not supported; supported are CurveP256, CurveP384"),
        ("client_allowed_sans: [a]", "client_allowed_sans: needs the client_auth_type RequireAndVerifyClientCert"),
        (
            "client_allowed_sans: [a], client_auth_type: VerifyClientCertIfGiven",
            "client_allowed_sans: needs the client_auth_type RequireAndVerifyClientCert",
        ),
        (
            "client_ca_file: ca.crt",
            "client_auth_type='NoClientCert': requests no client certificate, but there is a client",
        ),
        ("cert: PEM", "cert: cannot be given together with cert_file"),
        ("key: PEM", "key: cannot be given together with key_file"),
    ],
)
def test_wrong_tls_is_named(file: Path, text: str, expected: str) -> None:
    """What TLS cannot have, or Python cannot do, is an error and is not left out."""
    assert refusal(file, f"tls_server_config: {{{CERT}, {text}}}").startswith(f"FILE: tls_server_config.{expected}")


@pytest.mark.parametrize("text", ["min_version: TLS13", "key_file: k", "client_auth_type: NoClientCert"])
def test_tls_without_certificate_is_an_error(file: Path, text: str) -> None:
    """A config with any key of TLS is not served without TLS."""
    assert "tls_server_config.cert_file: is missing: TLS needs" in refusal(file, f"tls_server_config: {{{text}}}")


def test_everything_wrong_is_reported_at_once(file: Path) -> None:
    """One reading finds everything that is wrong."""
    lines = refusal(file, "a: b\nrate_limit: {burst: x}\nbasic_auth_users: {alice: x, bob: y}\n").splitlines()

    assert ["4 settings are wrong:"] == lines[:1]
    assert ["a", "rate_limit.burst='x'", "basic_auth_users.alice", "basic_auth_users.bob"] == [
        line.strip().split(": ")[1] for line in lines[1:]
    ]


@pytest.mark.parametrize(
    "text",
    [
        "basic_auth_users: {alice: hunter2}",
        "basic_auth_users: {alice: [hunter2]}",
        "basic_auth_users: hunter2",
        "basic_auth_users: {alice: {hunter2: x}}",
        "tls_server_config: {key: [hunter2]}",
        "basic_auth_users:\n  alice: 'hunter2\n",
        "basic_auth_users: {alice: hunter2\n",
        "alice: %hunter2",
    ],
)
def test_no_secret_is_quoted(file: Path, text: str) -> None:
    """What may be a password or a key is in no error."""
    assert "hunter2" not in refusal(file, text).replace("alice: %", "")


def test_config_hides_its_secrets(file: Path) -> None:
    """Printing a config prints no hash and no key."""
    found = config(file, f"basic_auth_users: {{alice: {HASH}}}\ntls_server_config: {{cert: C, key: hunter2}}")

    assert "hunter2" not in repr(found)
    assert HASH not in repr(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "FILE, line 1: is not valid YAML: "),
        ("rate_limit:\n  burst: 1\n  burst: 2\n", "FILE, line 3: is not valid YAML: duplicate key burst"),
        ("rate_limit: {}\nrate_limit: {}", "FILE, line 2: is not valid YAML: duplicate key rate_limit"),
        ("{a: b}\n---\n{c: d}", "FILE, line 2: is not valid YAML: "),
        ("[[a]]: b", "FILE, line 1: is not valid YAML: found unhashable key"),
        ("a: *b", "FILE, line 1: is not valid YAML: "),
        ("a: \x00", "FILE: is not valid YAML: it cannot be parsed"),
        ("[" * 500, "FILE: is not valid YAML: it cannot be parsed"),
    ],
)
def test_malformed_file_is_one_line(file: Path, text: str, expected: str) -> None:
    """What is no YAML, or says a thing twice, is one line with its place."""
    found = refusal(file, text)

    assert found.startswith(expected)
    assert "\n" not in found


def test_bytes_that_are_no_text(file: Path) -> None:
    """A file in another encoding is an error as any other."""
    file.write_bytes(b"a: \xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not valid YAML"):
        read(file)


def test_missing_file(file: Path) -> None:
    """A file that is not there is one line."""
    with pytest.raises(SettingsError) as caught:
        read(file)

    assert f"{file}: cannot be read: No such file or directory" == str(caught.value)


def test_pipe_is_no_file(file: Path) -> None:
    """A pipe is one line: reading it would block the event loop until another process writes to it."""
    os.mkfifo(file)
    with pytest.raises(SettingsError) as caught:
        read(file)

    assert f"{file}: cannot be read: not a regular file" == str(caught.value)


def test_too_long_file(file: Path) -> None:
    """A file of any size is no reason to read all of it."""
    assert f"FILE: is longer than {FILE_BYTES_MAX} bytes" == refusal(file, "#" * (FILE_BYTES_MAX + 1))
