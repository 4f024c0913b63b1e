"""The SSL context for `tls_server_config`, and the check of a client certificate's names.

A setting that Python's ssl does not support is an error here or in config.py, never ignored. Two settings have no
effect, as in Go's servers: TLS 1.3 always has its three cipher suites, and RequestClientCert accepts the same clients
as NoClientCert.
"""

import os
import ssl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from pool_exporter.errors import Problem, SettingsError
from pool_exporter.sidecar.webconfig.config import CIPHERS_1_2, CIPHERS_1_3, TlsConfig
from pool_exporter.sidecar.webconfig.strict_yaml import regular_content

_VERSIONS: Final = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_OLD: Final = ("TLS10", "TLS11")
_CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_VERIFY: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

PeerCertificate = Mapping[str, Sequence[tuple[str, str]]]
"""What `getpeercert()` returns, as far as `subjectAltName` is concerned."""


def context_of(config: TlsConfig) -> ssl.SSLContext:
    """Return the context for a section.

    Raises:
        SettingsError: A file cannot be read or used, or Python's ssl does not support a setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_versions(context, config)
    _set_ciphers(context, config)
    _set_curves(context, config)
    _load_certificate(context, config)
    _set_client_authority(context, config)
    return context


def has_allowed_name(certificate: PeerCertificate | None, allowed: Sequence[str]) -> bool:
    """Return whether a client's certificate has a subject alternative name that is in *allowed*."""
    names = (certificate or {}).get("subjectAltName", ())
    return any(_canonical(kind, name) in allowed for kind, name in names)


def _canonical(kind: str, name: str) -> str:
    """Write an IP address as Go does: OpenSSL writes ::1 as 0:0:0:0:0:0:0:1."""
    with suppress(ValueError):  # OpenSSL writes a malformed address as <invalid>.
        return str(ip_address(name.strip())) if kind == "IP Address" else name
    return name


def _set_versions(context: ssl.SSLContext, config: TlsConfig) -> None:
    has_suites = not config.cipher_suites or any(suite in CIPHERS_1_2 for suite in config.cipher_suites)
    lowest = config.min_version if has_suites else "TLS13"
    if not has_suites and config.max_version != "TLS13":
        raise _error(config, "cipher_suites", f"has suites of TLS 1.3 alone, and max_version is {config.max_version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The user may choose TLS10.
        context.minimum_version = _VERSIONS[lowest]
        context.maximum_version = _VERSIONS[config.max_version]


def _set_ciphers(context: ssl.SSLContext, config: TlsConfig) -> None:
    if not config.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # OpenSSL's own default may have suites that exchange keys by RSA: without forward secrecy, and whatever
    # curve_preferences says. Go's default has none.
    names = config.cipher_suites or tuple(CIPHERS_1_2)
    suites = [CIPHERS_1_2[suite] for suite in names if suite not in CIPHERS_1_3]
    # OpenSSL 3 allows the signatures of the old versions only at security level 0.
    level = ["@SECLEVEL=0"] if config.min_version in _OLD else []
    if suites:
        try:
            context.set_ciphers(":".join([*suites, *level]))
        except ssl.SSLError:
            raise _error(config, "cipher_suites", "has no suite that the installed OpenSSL supports") from None


def _set_curves(context: ssl.SSLContext, config: TlsConfig) -> None:
    curves = [_CURVES[curve] for curve in config.curve_preferences]
    set_groups = getattr(context, "set_groups", None)  # Since Python 3.15.
    if len(curves) > 1 and set_groups is None:
        raise _error(config, "curve_preferences", "has more than one curve, and Python before 3.15 can prefer just one")
    try:
        if set_groups is not None and curves:
            set_groups(":".join(curves))
        elif curves:
            context.set_ecdh_curve(curves[0])
    except (ValueError, ssl.SSLError):
        raise _error(
            config, "curve_preferences", "has a curve that the installed Python or OpenSSL does not support"
        ) from None


def _load_certificate(context: ssl.SSLContext, config: TlsConfig) -> None:
    pem = b"\n".join(_pem(config, name) for name in ("cert", "key"))
    try:
        with _as_file(pem) as path:
            # Without a password, OpenSSL would prompt for that of an encrypted key on the terminal.
            context.load_cert_chain(path, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "they are not PEM, or the key is encrypted"
        name = "cert" if config.cert_file is None else "cert_file"
        raise _error(config, name, f"and its key cannot be used: {reason}") from None


def _set_client_authority(context: ssl.SSLContext, config: TlsConfig) -> None:
    context.verify_mode = _VERIFY[config.client_auth_type]
    if config.client_ca or config.client_ca_file:
        name = "client_ca" if config.client_ca_file is None else "client_ca_file"
        pem = _pem(config, "client_ca").decode("ascii", "ignore")
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):
            raise _error(config, name, "holds no certificate in PEM") from None
    elif context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)


def _pem(config: TlsConfig, name: str) -> bytes:
    """Return a PEM of the section, from its text or its file."""
    file: Path | None = getattr(config, f"{name}_file")
    if file is None:
        text: str = getattr(config, name)
        return text.encode()
    try:
        return regular_content(file)
    except OSError as error:
        raise _error(config, f"{name}_file", f"cannot be read: {error.strerror}", str(file)) from None


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Provide the path of a file with *content*, in memory where the system supports it: OpenSSL loads only files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  # it has no path yet
            file.write(content)
            yield f"/proc/self/fd/{descriptor}"
    else:
        with NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _error(config: TlsConfig, name: str, fault: str, value: str | None = None) -> SettingsError:
    return SettingsError(Problem(f"{config.section}.{name}", value, fault))
