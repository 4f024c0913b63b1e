"""TLS by the web config, between two real ends: which clients are accepted, by which version, cipher and curve."""

import os
import socket
import ssl
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.sidecar.webconfig.config import CIPHERS_1_2, TlsConfig
from pool_exporter.sidecar.webconfig.tls import context_of, has_allowed_name
from tests.fixtures.certificates import Authority, Pair


def can_prefer(curve: str) -> bool:
    """Return whether this Python can prefer one curve: X25519 came within the 3.11 series."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(curve)
    except (ssl.SSLError, ValueError):
        return False
    return True


HAS_X25519 = can_prefer("X25519")


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(name="server", scope="module")
def _server(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture(name="config")
def _config(server: Pair) -> TlsConfig:
    return TlsConfig("web.yml: tls_server_config", cert_file=server.cert, key_file=server.key)


@pytest.fixture(name="verifying")
def _verifying(config: TlsConfig, authority: Authority) -> TlsConfig:
    return replace(config, client_ca_file=authority.cert, client_auth_type="RequireAndVerifyClientCert")


def client(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    """Return a scraper's context."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


def met(config: TlsConfig, context: ssl.SSLContext) -> tuple[Any, dict[str, Any]]:
    """Bring both ends together; return the scraper's end and the certificate that it showed. OSError if they part."""
    server_end, client_end = socket.socketpair()
    shown: list[Any] = []
    server = context_of(config)

    def serve() -> None:
        try:
            with server.wrap_socket(server_end, server_side=True) as connection:
                shown.append(connection.getpeercert())
                connection.sendall(b"hello")
        except OSError:
            server_end.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client_end.settimeout(10)
    try:
        with context.wrap_socket(client_end, server_hostname="localhost") as connection:
            if connection.recv(5) != b"hello":
                raise ConnectionError("the server has hung up")
            facts = {"version": connection.version(), "cipher": connection.cipher()}
    finally:
        client_end.close()
        thread.join()
    return shown[0], facts


def refused(config: TlsConfig, context: ssl.SSLContext) -> bool:
    """Whether the two ends do not come together."""
    try:
        met(config, context)
    except OSError:
        return True
    return False


# What OpenSSL offers by itself.


@pytest.mark.parametrize("lowest", ["TLS10", "TLS12"])
def test_suites_are_gos_by_default(config: TlsConfig, lowest: str) -> None:
    """Without cipher_suites none exchanges keys by RSA: it would have no forward secrecy, and pass by the curves."""
    offered = {suite["name"] for suite in context_of(replace(config, min_version=lowest)).get_ciphers()}

    assert set(CIPHERS_1_2.values()) == {name for name in offered if not name.startswith("TLS_")}


# The server's certificate.


def test_certificate_from_files(config: TlsConfig, authority: Authority) -> None:
    """A scraper that trusts the authority gets in, by the newest version."""
    _, facts = met(config, client(authority))

    assert "TLSv1.3" == facts["version"]


def test_certificate_from_text(config: TlsConfig, server: Pair, authority: Authority) -> None:
    """The certificate and its key may be in the web config itself."""
    inline = replace(config, cert_file=None, key_file=None, cert=server.cert.read_text(), key=server.key.read_text())
    _, facts = met(inline, client(authority))

    assert "TLSv1.3" == facts["version"]


def test_certificate_from_text_without_memory_files(
    config: TlsConfig, server: Pair, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same where the system has no files in memory."""
    monkeypatch.delattr("os.memfd_create", raising=False)
    mixed = replace(config, key_file=None, key=server.key.read_text())

    assert not refused(mixed, client(authority))


def test_key_of_another_certificate(config: TlsConfig, authority: Authority) -> None:
    """A key that is not the certificate's is an error at once, not at the first scrape."""
    other = authority.server("other")

    with pytest.raises(SettingsError) as caught:
        context_of(replace(config, key_file=other.key))

    assert "web.yml: tls_server_config.cert_file: and its key cannot be used: KEY_VALUES_MISMATCH" == str(caught.value)


def test_encrypted_key(config: TlsConfig, authority: Authority) -> None:
    """A key with a password is an error."""
    pair = authority.client("encrypted", password=b"hunter2")

    with pytest.raises(SettingsError, match="cannot be used"):
        context_of(replace(config, cert_file=pair.cert, key_file=pair.key))


@pytest.mark.parametrize("name", ["cert_file", "key_file", "client_ca_file"])
def test_missing_file(verifying: TlsConfig, tmp_path: Path, name: str) -> None:
    """A file that is not there is named, with its key."""
    missing = tmp_path / "missing.pem"
    arguments: dict[str, Any] = {name: missing}

    with pytest.raises(SettingsError) as caught:
        context_of(replace(verifying, **arguments))

    assert f"web.yml: tls_server_config.{name}='{missing}': cannot be read: No such file or directory" == str(
        caught.value
    )


def test_pipe_is_no_file(verifying: TlsConfig, tmp_path: Path) -> None:
    """A certificate is no pipe, either."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SettingsError, match=r"cannot be read: not a regular file$"):
        context_of(replace(verifying, cert_file=tmp_path / "pipe"))


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize("name", ["cert", "client_ca"])
def test_file_without_certificate(verifying: TlsConfig, tmp_path: Path, name: str, content: str) -> None:
    """A file that holds no certificate is an error of its key."""
    file = tmp_path / "empty.pem"
    file.write_text(content)
    arguments: dict[str, Any] = {f"{name}_file": file}

    with pytest.raises(SettingsError, match=f"tls_server_config.{name}_file"):
        context_of(replace(verifying, **arguments))


# The client's.


def test_client_without_certificate_is_refused(verifying: TlsConfig, authority: Authority) -> None:
    """RequireAndVerifyClientCert: no certificate, no answer."""
    assert refused(verifying, client(authority))


def test_client_with_certificate_gets_in(verifying: TlsConfig, authority: Authority) -> None:
    """RequireAndVerifyClientCert: a certificate of the authority gets in."""
    shown, _ = met(verifying, client(authority, authority.client()))

    assert (("commonName", "client"),) in shown["subject"]


def test_client_authority_from_text(verifying: TlsConfig, authority: Authority) -> None:
    """The authority of the clients may be in the web config itself, with remarks around it."""
    text = f"# Die Behörde\n{authority.cert.read_text()}"
    inline = replace(verifying, client_ca_file=None, client_ca=text)

    assert not refused(inline, client(authority, authority.client()))
    assert refused(inline, client(authority))


def test_expired_client_is_refused(verifying: TlsConfig, authority: Authority) -> None:
    """A certificate that has expired is none."""
    assert refused(verifying, client(authority, authority.client("expired", is_expired=True)))


def test_untrusted_client_is_refused(verifying: TlsConfig, authority: Authority, tmp_path: Path) -> None:
    """A certificate of another authority is none."""
    stranger = Authority(tmp_path / "others", "authority")

    assert refused(verifying, client(authority, stranger.client()))


def test_servers_certificate_is_no_clients(verifying: TlsConfig, authority: Authority, server: Pair) -> None:
    """A certificate that was made for servers does not let a scraper in, as with Go."""
    assert refused(verifying, client(authority, server))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NoClientCert", [True, True, True]),
        ("RequestClientCert", [True, True, True]),
        ("VerifyClientCertIfGiven", [True, True, False]),
        ("RequireAndVerifyClientCert", [False, True, False]),
    ],
)
def test_who_gets_in(config: TlsConfig, authority: Authority, tmp_path: Path, kind: str, expected: list[bool]) -> None:
    """Of a client without a certificate, one of the authority and one of another, Go's servers accept the same."""
    file = None if kind == "NoClientCert" else authority.cert
    changed = replace(config, client_auth_type=kind, client_ca_file=file)
    stranger = Authority(tmp_path / "others", "authority")
    clients = [None, authority.client(), stranger.client()]

    assert expected == [not refused(changed, client(authority, each)) for each in clients]


def test_without_authority_the_systems_are_trusted(config: TlsConfig, authority: Authority) -> None:
    """Without a client CA, the system's authorities are trusted, and not the test's."""
    changed = replace(config, client_auth_type="VerifyClientCertIfGiven")

    assert [False, True] == [refused(changed, client(authority, each)) for each in (None, authority.client())]


@pytest.mark.parametrize("name", ["scraper.example", "scraper@example.com", "::1", "spiffe://example.com/scraper"])
def test_allowed_name(verifying: TlsConfig, authority: Authority, name: str) -> None:
    """Any alternative name of the subject can be the allowed one, written as Go writes it."""
    shown, _ = met(verifying, client(authority, authority.client()))

    assert has_allowed_name(shown, ["other.example", name])


@pytest.mark.parametrize(
    "names", [[], ["example"], ["*.example"], ["SCRAPER.EXAMPLE"], ["client"], ["0:0:0:0:0:0:0:1"]]
)
def test_other_names_are_not_allowed(verifying: TlsConfig, authority: Authority, names: list[str]) -> None:
    """Only an exact match counts, and the common name does not."""
    shown, _ = met(verifying, client(authority, authority.client()))

    assert not has_allowed_name(shown, names)


@pytest.mark.parametrize("shown", [None, {}, {"subject": ()}, {"subjectAltName": (("IP Address", "<invalid>"),)}])
def test_no_certificate_has_no_allowed_name(shown: Any) -> None:
    """A client without a certificate, or with one without names, is not allowed."""
    assert not has_allowed_name(shown, ["a"])


# Versions, ciphers, curves.

VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


def speaking(authority: Authority, version: str) -> ssl.SSLContext:
    """Return a scraper's context that speaks one version and no other."""
    context = client(authority)
    if version in ("TLS10", "TLS11"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = VERSIONS["TLS10"], VERSIONS[version]
        context.minimum_version = VERSIONS[version]
    return context


@pytest.mark.parametrize(
    ("lowest", "highest", "spoken"),
    [
        ("TLS12", "TLS13", ["TLS12", "TLS13"]),
        ("TLS13", "TLS13", ["TLS13"]),
        ("TLS12", "TLS12", ["TLS12"]),
        ("TLS10", "TLS13", ["TLS10", "TLS11", "TLS12", "TLS13"]),
        ("TLS11", "TLS12", ["TLS11", "TLS12"]),
        ("TLS10", "TLS10", ["TLS10"]),
    ],
)
def test_versions(config: TlsConfig, authority: Authority, lowest: str, highest: str, spoken: list[str]) -> None:
    """The versions from min_version to max_version are spoken, and no other."""
    changed = replace(config, min_version=lowest, max_version=highest)

    assert spoken == [version for version in VERSIONS if not refused(changed, speaking(authority, version))]


@pytest.mark.parametrize("suite", CIPHERS_1_2)
def test_cipher_suites(authority: Authority, suite: str) -> None:
    """The one suite that is listed is the one that is used."""
    pair = authority.server(suite, has_rsa="_RSA_" in suite)
    config = TlsConfig("x", cert_file=pair.cert, key_file=pair.key, cipher_suites=(suite,))
    context = speaking(authority, "TLS12")
    context.set_ciphers(CIPHERS_1_2[suite])
    _, facts = met(config, context)

    assert CIPHERS_1_2[suite] == facts["cipher"][0]


def test_unlisted_suite_is_refused(config: TlsConfig, authority: Authority) -> None:
    """A scraper that has none of the listed suites does not get in."""
    changed = replace(config, cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",))
    context = speaking(authority, "TLS12")
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")

    assert refused(changed, context)


def test_suites_of_tls_13_alone_leave_tls_13_alone(config: TlsConfig, authority: Authority) -> None:
    """Where no suite of TLS 1.2 is listed, none is spoken, as with Go."""
    changed = replace(config, cipher_suites=("TLS_AES_128_GCM_SHA256",))

    assert ["TLS13"] == [version for version in VERSIONS if not refused(changed, speaking(authority, version))]
    with pytest.raises(SettingsError, match=r"has suites of TLS 1\.3 alone"):
        context_of(replace(changed, max_version="TLS12"))


@pytest.mark.parametrize(("is_servers", "used"), [(True, "AES256"), (False, "AES128")])
def test_order_of_suites(config: TlsConfig, authority: Authority, is_servers: bool, used: str) -> None:
    """prefer_server_cipher_suites decides whether the server's order of suites applies, or the client's."""
    suites = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    context = speaking(authority, "TLS12")
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    _, facts = met(replace(config, cipher_suites=suites, prefer_server_cipher_suites=is_servers), context)

    assert used in facts["cipher"][0]


@pytest.mark.parametrize(
    ("curve", "openssl"),
    [
        ("CurveP256", "prime256v1"),
        ("CurveP384", "secp384r1"),
        ("CurveP521", "secp521r1"),
        pytest.param("X25519", "X25519", marks=pytest.mark.skipif(not HAS_X25519, reason="this Python cannot do it")),
    ],
)
def test_curve(authority: Authority, curve: str, openssl: str) -> None:
    """The one curve that is listed is the one that is used, with either version."""
    pair = authority.server("rsa", has_rsa=True)  # With TLS 1.2, the other kind's own curve would count, too.
    changed = TlsConfig("x", cert_file=pair.cert, key_file=pair.key, curve_preferences=(curve,))
    others = {"prime256v1", "secp384r1", "secp521r1"} - {openssl}
    for version in ("TLS12", "TLS13"):
        same, other = speaking(authority, version), speaking(authority, version)
        same.set_ecdh_curve(openssl)
        other.set_ecdh_curve(min(others))

        assert [False, True] == [refused(changed, context) for context in (same, other)]


@pytest.mark.skipif(HAS_X25519, reason="this Python can do it")
def test_curve_that_cannot_be_had_is_an_error(config: TlsConfig) -> None:
    """A curve that this Python cannot prefer is an error and not left out."""
    with pytest.raises(SettingsError, match="has a curve that the installed Python or OpenSSL does not support"):
        context_of(replace(config, curve_preferences=("X25519",)))


@pytest.mark.skipif(hasattr(ssl.SSLContext, "set_groups"), reason="this Python can do it")
def test_two_curves_are_an_error(config: TlsConfig) -> None:
    """An order of curves, which Python cannot have, is an error and not left out."""
    with pytest.raises(SettingsError) as caught:
        context_of(replace(config, curve_preferences=("X25519", "CurveP256")))

    assert (
        "web.yml: tls_server_config.curve_preferences: has more than one curve, and Python before 3.15 can prefer "
        "just one"
    ) == str(caught.value)
