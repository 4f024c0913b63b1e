"""Finds the path under which Starlette or FastAPI has mounted the application that answers, as the mounts declare it.

The scope has that path with the values that the client sent. The template is put together from the mounts' own path
formats alone: the path only decides which mounts they are, and what cannot be found is UNKNOWN. So no part of a path is
ever returned.

Nothing here may import a framework, and a scope may hold anything.
"""

from collections.abc import Iterable, Iterator, Mapping
from re import Pattern
from typing import Final

UNKNOWN: Final = "/{...}"
"""What is returned instead of mounts that cannot be found."""

REST: Final = "/{path}"
"""The end of a mount's path format, which is the path below the mount."""

_WRAPPERS_MAX: Final = 100
"""At most this many middlewares around an application are followed: one could lead back to itself."""


def mount_template(scope: Mapping[str, object]) -> str:
    """Return the path of all mounts that led to the route, such as `/tenants/{tenant}`; "" without a mount.

    The path under which the server or a proxy has the whole application is no part of it.

    Args:
        scope: A scope of ASGI as Starlette or FastAPI have left it.
    """
    above, root, path = scope.get("app_root_path"), scope.get("root_path"), scope.get("path")
    if above is None:  # Starlette sets it in the first mount.
        return ""
    if not (isinstance(above, str) and isinstance(root, str) and isinstance(path, str)):
        return UNKNOWN
    if not (root.startswith(above) and path.startswith(root)):  # As where FastAPI(root_path=...) is mounted.
        return UNKNOWN
    ways = [*_ways(_routes_of(scope.get("router")), path[len(above) :], root[len(above) :])]
    # Starlette takes the first mount that fits; only of several hosts, another way may be the right one.
    route = scope.get("route")
    exact = (template for template, routes in ways if routes is None or any(each is route for each in routes))
    return next(exact, ways[0][0] if ways else UNKNOWN)


def _ways(routes: Iterable[object], path: str, mounted: str) -> Iterator[tuple[str, list[object] | None]]:
    """Yield the template of each sequence of mounts that takes *mounted* off *path*, and the routes where it ends.

    The routes are None for an application that does not show them.
    """
    for route in _opened(routes):
        taken = _taken(route, path)
        if taken is None or not mounted.startswith(taken):
            continue
        template = str(getattr(route, "path_format", "")).removesuffix(REST)
        below, rest = [*_opened(_routes_of(route))], mounted[len(taken) :]
        if not rest:
            yield template, [route, *below] if below else None
        elif not below:
            yield template + UNKNOWN, None
        for further, found in _ways(below, path[len(taken) :], rest):
            yield template + further, found


def _taken(route: object, path: str) -> str | None:
    """Return the beginning of *path* that a mount takes; None if *route* is no mount or does not match."""
    regex = getattr(route, "path_regex", None)
    is_mount = hasattr(route, "routes") and str(getattr(route, "path_format", "")).endswith(REST)
    if not (is_mount and isinstance(regex, Pattern) and "path" in regex.groupindex):
        return None
    found = regex.match(path)
    return None if found is None else path[: found.start("path") - 1]


def _routes_of(app: object) -> Iterable[object]:
    """Return the routes of an application, router or mount, also behind middleware."""
    for _ in range(_WRAPPERS_MAX):
        routes = getattr(app, "routes", None)
        if isinstance(routes, list | tuple) and routes:
            return routes
        app = getattr(app, "app", None)
    return ()


def _opened(routes: Iterable[object]) -> Iterator[object]:
    """Yield the routes, with those of a host and of FastAPI's included routers in place of these."""
    for route in routes:
        # What a request has gone through is there already; FastAPI's method for it takes a lock.
        included = getattr(route, "_effective_candidates", None)
        if isinstance(included, list):
            yield from _opened([getattr(each, "starlette_route", None) or _original(each) for each in included])
        elif hasattr(route, "host_regex"):
            yield from _opened(_routes_of(route))
        else:
            yield route


def _original(candidate: object) -> object:
    """Return the route that FastAPI has put into a context; a router in a router is in none."""
    return getattr(candidate, "original_route", candidate)
