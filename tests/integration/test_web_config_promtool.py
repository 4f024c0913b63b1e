"""The sidecar accepts and refuses the same web configs as promtool, which contains the exporter-toolkit.

promtool is the oracle: `promtool check web-config FILE`. A second list has the differences on purpose, with reasons.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.sidecar.webconfig.reload import ReloadedConfig
from tests.fixtures.certificates import Authority

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
PAIR = "cert_file: server.pem, key_file: server.key"


def tls(more: str = "") -> str:
    """Return a section with a certificate, and *more*."""
    return f"tls_server_config: {{{PAIR}{more}}}"


def user(name: str, hashed: str = HASH) -> str:
    """Return a section with one user."""
    return f"basic_auth_users: {{{name}: '{hashed}'}}"


SAME = [
    *("", "{}", "# nothing", "a: b", "- a", "text", "a: [", "\t", "a: b\n  c: d"),
    *("tls_server_config:", "tls_server_config: {}", "tls_server_config: []", "tls_server_config: text"),
    tls(),
    *(tls(f", min_version: {version}") for version in ("TLS10", "TLS11", "TLS12", "TLS13", "TLS14", "tls12", "1.2")),
    *(tls(f", max_version: {version}") for version in ("TLS12", "TLS13", "SSL30")),
    tls(", min_version: TLS10, max_version: TLS11"),
    *(tls(f", client_auth_type: {kind}") for kind in ("NoClientCert", "RequestClientCert", "VerifyClientCertIfGiven")),
    *(tls(f", client_auth_type: {kind}") for kind in ("RequireAndVerifyClientCert", "Nonsense", "noclientcert", "''")),
    tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: authority.pem"),
    tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: missing.pem"),
    tls(", client_auth_type: RequestClientCert, client_ca_file: authority.pem"),
    tls(", client_ca_file: authority.pem"),
    tls(", cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]"),
    *(tls(f", cipher_suites: {suites}") for suites in ("[]", "[TLS_AES_128_GCM_SHA256]", "[TLS_INVENTED]", "[1]")),
    *(tls(f", curve_preferences: {curves}") for curves in ("[]", "[CurveP521]", "[CurveP255]", "[P-256]")),
    *(tls(f", prefer_server_cipher_suites: {flag}") for flag in ("true", "false", "yes", "maybe", "[]")),
    *(tls(", nonsense: x"), tls(", Cert_File: x"), tls(", cert_file: server.pem")),
    *("tls_server_config: {cert_file: server.pem}", "tls_server_config: {key_file: server.key}"),
    "tls_server_config: {cert_file: server.pem, key_file: other.key}",
    "tls_server_config: {cert_file: missing.pem, key_file: server.key}",
    "tls_server_config: {cert_file: server.key, key_file: server.key}",
    "tls_server_config: {cert_file: server.pem, key_file: encrypted.key}",
    "tls_server_config: {client_auth_type: NoClientCert}",
    *(f"http_server_config: {{http2: {flag}}}" for flag in ("true", "false", "off", "maybe", "2")),
    "http_server_config: {http3: true}",
    *(
        f"http_server_config: {{headers: {{X-Frame-Options: {value}}}}}"
        for value in ("deny", "sameorigin", "DENY", "x")
    ),
    *(f"http_server_config: {{headers: {{X-Content-Type-Options: {value}}}}}" for value in ("nosniff", "sniff")),
    "http_server_config: {headers: {Content-Security-Policy: a, Strict-Transport-Security: b, X-XSS-Protection: c}}",
    *("http_server_config: {headers: {Server: x}}", "http_server_config: {headers: {x-frame-options: deny}}"),
    *("basic_auth_users:", "basic_auth_users: {}", "basic_auth_users: [a]", "basic_auth_users: text"),
    *(user("alice"), user("no"), user("12"), user("''"), user("alice", "hunter2"), user("alice", "")),
    *(user("alice", HASH.replace("$2y", kind)) for kind in ("$2a", "$2b", "$2", "$3y", "2y")),
    *(user("alice", HASH.replace("$10", cost)) for cost in ("$04", "$12", "$31", "$03", "$32", "$xx")),
    f"basic_auth_users:\n  alice: {HASH}\n  alice: {HASH}\n",
    "basic_auth_users: {}\nbasic_auth_users: {}",
    f"{user('alice')}\n{tls()}\nhttp_server_config: {{http2: true}}",
]

DIFFERENT = {
    # Python cannot do it.
    tls(", client_auth_type: RequireAnyClientCert"): False,
    tls(", curve_preferences: [CurveP256, X25519]"): False,
    # It is contradictory; in Go it would fail at the first scrape.
    tls(", min_version: TLS13, max_version: TLS12"): False,
    tls(", max_version: TLS11"): False,
    tls(", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.key"): False,
    user("alice", HASH[:-1]): False,
    # The file asks for TLS, and Go would serve without.
    "tls_server_config: {min_version: TLS13}": False,
    # More than one document, of which Go reads the first.
    "{}\n---\n{}": False,
    "{}\n{}": False,
    # The toolkit's documentation says so ("unset if blank"); its code differs.
    "http_server_config: {headers: {X-Frame-Options: ''}}": True,
}
"""Whether the package accepts it; promtool does the opposite."""


@pytest.fixture(name="directory", scope="module")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("web")
    authority = Authority(directory)
    authority.server()
    authority.server("other")
    authority.client("encrypted", password=b"hunter2")
    return directory


def is_taken(file: Path) -> bool:
    """Whether the package accepts the file."""
    try:
        ReloadedConfig(file)
    except SettingsError:
        return False
    return True


def verdicts(promtool: Path, directory: Path, texts: Sequence[str]) -> dict[str, tuple[bool, bool]]:
    """Return for each text whether the package accepts it, and whether promtool does."""
    files = [directory / f"{number}.yml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    checked = subprocess.run([promtool, "check", "web-config", *files], capture_output=True, text=True, check=False)
    said = f"{checked.stdout}\n{checked.stderr}".splitlines()
    taken = {file for file in files if f"{file} SUCCESS" in said}
    refused = {file for file in files if any(line.startswith(f"{file} FAILED") for line in said)}

    assert set(files) == taken ^ refused
    return {text: (is_taken(file), file in taken) for file, text in zip(files, texts, strict=True)}


def test_same_verdict(directory: Path, promtool: Path) -> None:
    """A text is accepted if promtool accepts it, and refused if it refuses it."""
    found = verdicts(promtool, directory, SAME)

    assert {} == {text: accepted for text, (accepted, by_promtool) in found.items() if accepted != by_promtool}
    assert {True, False} == {accepted for accepted, _ in found.values()}


def test_other_verdict(directory: Path, promtool: Path) -> None:
    """The texts of the second list are judged differently."""
    found = verdicts(promtool, directory, list(DIFFERENT))

    assert {text: (accepted, not accepted) for text, accepted in DIFFERENT.items()} == found
