"""Decides which requests may see holders: places in the code, units of work, owners and what they do.

The default is no. A request may see them where only an operator can send it:

- through a listening socket of this package that is bound to a loopback address or is a unix socket;
- with a password or a client certificate that was verified;
- where the application or the operator has allowed it.

The address of the client has no part in the decision: that of a proxy on this machine is a loopback address, too. No
header grants access; a `Host` that is not this machine, or a header of a proxy, takes it away. A page of another site
can make a browser send requests to 127.0.0.1 under that site's own name (DNS rebinding), and then read the answers.

Nothing here may read a request of a certain framework, or decide what is shown instead.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

PROXY_HEADERS: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers that proxies add. A request with one of them has not come from this machine, or not directly."""

STATE_KEY: Final = "pool_exporter.access"
"""Where a server of this package puts an `Access` in the state of an ASGI scope. No request can write there."""

HOW_TO_SEE: Final = (
    "Holders, places, units and findings of check are not shown here: others than an operator may read this page. "
    "They are shown on a loopback address or a unix socket, behind passwords or client certificates, and where they "
    "are allowed: make_asgi_app(diagnosis=True), make_wsgi_app(diagnosis=True), or pool-exporter serve "
    "--web.enable-diagnosis. Where the sidecar runs, pool-exporter diagnose shows them; in Kubernetes: "
    "kubectl exec POD -c pool-exporter -- pool-exporter diagnose."
)
"""The line that is shown instead of holders."""

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[0-9a-z.-]+))(?::\d{1,5})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Access:
    """What a server of this package knows of the way of a request. The default is that of any other server.

    Attributes:
        is_local: Whether the listening socket is bound to a loopback address or is a unix socket.
        is_protected: Whether a password or a client certificate has been verified.
    """

    is_local: bool = False
    is_protected: bool = False


NO_ACCESS: Final = Access()
"""What any other server knows: nothing."""


def may_show_holders(access: Access, header: Callable[[str], str], *, is_allowed: bool = False) -> bool:
    """Return whether a request may see holders.

    Args:
        access: What the server knows of the request's way.
        header: Returns the value of a header by its name in lower case, the values of repeated ones joined by commas,
            and "" for one that is missing.
        is_allowed: Whether the application or the operator has allowed it for everyone.
    """
    if is_allowed or access.is_protected:
        return True
    return access.is_local and is_local_host(header("host")) and not any(map(header, PROXY_HEADERS))


def is_local_host(host: str) -> bool:
    """Return whether a `Host` header is `localhost` or a loopback address, with or without a port."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    return host.partition(":")[0].lower() == "localhost" or _is_loopback(found["v6"] or found["name"])


def is_local_listener(listening: socket.socket) -> bool:
    """Return whether only processes of this machine can connect to a listening socket."""
    if listening.family == socket.AF_UNIX:
        return True
    is_internet = listening.family in (socket.AF_INET, socket.AF_INET6)
    return is_internet and _is_loopback(listening.getsockname()[0])


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
