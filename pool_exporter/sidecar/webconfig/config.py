"""The file of `--web.config.file`: its keys, values and their combinations, as in Prometheus' exporter-toolkit.

`read` returns a `WebConfig`, or raises a SettingsError with everything that is wrong in the file. The format is strict:
an unknown key, a duplicate key, or a value that is not supported is an error and never ignored, so that a misspelt
`basic_auth_users` does not open the server to all. This module opens no certificate (tls.py does), checks no password
(basic_auth.py does), and shows no secret.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any, Final

from pool_exporter.errors import Problem, SettingsError
from pool_exporter.sidecar.webconfig.strict_yaml import load

VERSIONS: Final = ("TLS10", "TLS11", "TLS12", "TLS13")
CURVES: Final = ("CurveP256", "CurveP384", "CurveP521", "X25519")
CIPHERS_1_3: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CIPHERS_1_2: Final = {
    f"TLS_ECDHE_{kind}_WITH_{cipher}": f"ECDHE-{kind}-{openssl}"
    for kind in ("ECDSA", "RSA")
    for cipher, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
"""Go's names of its secure cipher suites for TLS 1.2, and OpenSSL's."""

CLIENT_AUTH: Final = (
    *("NoClientCert", "RequestClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven"),
    "RequireAndVerifyClientCert",
)
HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
"""The headers that may be set, and their allowed values; () for any."""

EXPLICIT: Final = frozenset({"basic_auth_users", "client_auth_type"})
"""The keys that a reload needs to see before it turns passwords or client certificates off."""

_UNSET: Final = ("", "~", "null")
_FLAGS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_BCRYPT: Final = re.compile(r"\$2[abxy]?\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_A_MAPPING: Final = "must be a mapping of keys to values"
_UNQUOTED: Final = ("cert", "key", "client_ca")
"""Keys of values that are too long or too secret for an error message."""


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """The section `tls_server_config`. Each PEM is either text or a file; *section* names it in errors."""

    section: str
    cert: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    client_ca: str = field(default="", repr=False)
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the section names."""
        return tuple(file for file in (self.cert_file, self.key_file, self.client_ca_file) if file is not None)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The section `rate_limit`: *burst* requests at once, then one every *interval_seconds*."""

    interval_seconds: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The whole file. `http2` is accepted and has no effect: this server speaks HTTP/1.1, which all clients do.

    `explicit` has the keys of EXPLICIT that are in the file with a value, be it an empty mapping.
    """

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit | None = None
    explicit: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def verifies_clients(self) -> bool:
        """Whether no client connects without a certificate of the authority that the file names."""
        return self.tls is not None and self.tls.client_auth_type == CLIENT_AUTH[-1]


def read(path: Path) -> WebConfig:
    """Read the file.

    Raises:
        SettingsError: Something in the file is wrong. The error has all of it.
    """
    document = load(path)
    users = document.get("basic_auth_users") if isinstance(document, dict) else None
    problems: list[Problem] = []
    hashes = dict.fromkeys(users if isinstance(users, dict) else (), _hash)
    given = _fields(f"{path}: ", document, {**_SECTIONS, "basic_auth_users": hashes}, problems)
    tls, limit = given.get("tls_server_config", {}), given.get("rate_limit", {})
    if not problems:
        problems += starmap(Problem, _contradictions(f"{path}: ", tls, limit))
    if problems:
        raise SettingsError(*problems)
    return WebConfig(
        tls=_tls(path, tls) if tls else None,
        headers=given.get("http_server_config", {}).get("headers", {}),
        users=given.get("basic_auth_users", {}),
        rate_limit=RateLimit(limit["interval"], limit["burst"]) if limit.get("interval") else None,
        explicit=frozenset(({"basic_auth_users"} if isinstance(users, dict) else set()) | tls.keys()) & EXPLICIT,
    )


def _fields(prefix: str, node: object, fields: "_Fields", problems: list[Problem]) -> "_Values":
    """Return the converted values of one mapping; append to *problems* those that cannot be converted.

    An empty value is the default, except a user's hash: to skip the last user would turn passwords off.
    """
    given: _Values = {}
    if node is None or node in _UNSET:
        return given
    if not isinstance(node, dict):
        problems.append(Problem(prefix.rstrip(":. "), None, _A_MAPPING))
        return given
    for key, value in node.items():
        convert = fields.get(key)
        if convert is None:
            problems.append(Problem(f"{prefix}{key}", None, f"is not a known key; known are {', '.join(fields)}"))
        elif isinstance(convert, Mapping):
            given[key] = _fields(f"{prefix}{key}.", value, convert, problems)
        elif value not in _UNSET or convert is _hash:
            try:
                given[key] = convert(value)
            except ValueError as error:
                shown = value if isinstance(value, str) and key not in _UNQUOTED and convert is not _hash else None
                problems.append(Problem(f"{prefix}{key}", shown, str(error)))
    return given


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004  # the caller collects ValueErrors
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _flag(value: object) -> bool:
    flag = _FLAGS.get(_text(value).lower())
    if flag is None:
        raise ValueError("must be true or false")
    return flag


def _one_of(*allowed: str) -> "_Convert":
    def convert(value: object) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return convert


def _some_of(*allowed: str) -> "_Convert":
    def convert(value: object) -> tuple[str, ...]:
        if unknown := [item for item in _texts(value) if item not in allowed]:
            raise ValueError(f"{', '.join(unknown)} is not supported; supported are {', '.join(allowed)}")
        return _texts(value)

    return convert


def _client_auth(value: object) -> object:
    if value in ("RequireAnyClientCert", "RequireClientCert"):
        raise ValueError(
            "is not supported: Python's ssl cannot accept unverified client certificates; "
            "use RequireAndVerifyClientCert"
        )
    return _one_of(*CLIENT_AUTH)(value)


def _header(*allowed: str) -> "_Convert":
    def convert(value: object) -> object:
        if not re.fullmatch(r"[\x20-\x7e]*", _text(value)):
            raise ValueError("must be printable ASCII on one line")
        return _one_of(*allowed)(value) if allowed else value

    return convert


def _hash(value: object) -> bytes:
    if not _BCRYPT.fullmatch(_text(value)):
        raise ValueError("must be a bcrypt hash, such as `htpasswd -nBC 10 ''` prints")
    return _text(value).encode()


def _duration(value: object) -> float:
    """Return a duration of Go, such as 1m30s, in seconds."""
    text = _text(value)
    if text == "0":
        return 0.0
    if not re.fullmatch(f"({_DURATION.pattern})+", text):
        raise ValueError("must be a duration such as 1s, 500ms or 1m30s, or 0 for no limit")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def _count(value: object) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", _text(value)):
        raise ValueError("must be a whole number from 1")
    return int(_text(value))


_Convert = Callable[[object], object]
_Values = dict[str, Any]
"""The converted values of a section, by key; each key has a type of its own."""
_Fields = Mapping[str, "_Convert | _Fields"]

_SECTIONS: Final[_Fields] = {
    "tls_server_config": {
        **dict.fromkeys(("cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file"), _text),
        "client_auth_type": _client_auth,
        "client_allowed_sans": _texts,
        "min_version": _one_of(*VERSIONS),
        "max_version": _one_of(*VERSIONS),
        "cipher_suites": _some_of(*CIPHERS_1_3, *CIPHERS_1_2),
        "prefer_server_cipher_suites": _flag,
        "curve_preferences": _some_of(*CURVES),
    },
    "http_server_config": {
        "http2": _flag,
        "headers": {name: _header(*allowed) for name, allowed in HEADERS.items()},
    },
    "basic_auth_users": {},
    "rate_limit": {"interval": _duration, "burst": _count},
}


def _contradictions(prefix: str, tls: "_Values", limit: "_Values") -> Iterator[tuple[str, str | None, str]]:
    """Yield each combination of valid values that is wrong: the key, its value, and why."""
    if limit.get("interval") and "burst" not in limit:
        yield f"{prefix}rate_limit.burst", None, "is missing: without it no request is answered"
    if not tls:
        return
    prefix = f"{prefix}tls_server_config."
    for name in ("cert", "key", "client_ca"):
        if name in tls and f"{name}_file" in tls:
            yield f"{prefix}{name}", None, f"cannot be given together with {name}_file"
    for name in ("cert", "key"):
        if name not in tls and f"{name}_file" not in tls:
            yield f"{prefix}{name}_file", None, f"is missing: TLS needs one of {name}_file and {name}"
    policy = tls.get("client_auth_type", CLIENT_AUTH[0])
    if policy == "NoClientCert" and ("client_ca" in tls or "client_ca_file" in tls):
        yield (
            f"{prefix}client_auth_type",
            policy,
            "requests no client certificate, but there is a client CA to verify it",
        )
    if "client_allowed_sans" in tls and policy != "RequireAndVerifyClientCert":
        yield f"{prefix}client_allowed_sans", None, "needs the client_auth_type RequireAndVerifyClientCert"
    lowest, highest = tls.get("min_version", "TLS12"), tls.get("max_version", "TLS13")
    if VERSIONS.index(lowest) > VERSIONS.index(highest):
        yield f"{prefix}min_version", lowest, f"is above the max_version {highest}"


def _tls(path: Path, given: "_Values") -> TlsConfig:
    files = {name: path.parent / value for name, value in given.items() if name.endswith("_file")}
    return TlsConfig(section=f"{path}: tls_server_config", **{**given, **files})
