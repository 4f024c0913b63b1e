"""The compiled modules of the hot path, where this installation has them, and whether they are used.

A wheel that was built where a C compiler was has, in a folder of this one, an extension module for each of `MODULES`:
Cython has compiled it from the same source, with the C types of the .pxd file beside it. Each package with such modules
looks there first. With POOL_EXPORTER_PURE=1, on another interpreter than that of the wheel, and in an editable
installation, Python runs the source. Either all modules are compiled or none. Nothing here may know what they do.

Compiled modules rely on each other's C types. So those of one build are in one folder, which has the id of their
sources as its name, and they are used only where the installed sources have the same id.
"""

import logging
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from pool_exporter.compiled.source_id import source_id
from pool_exporter.environment import is_pure

MODULES: Final = (
    "hooks.callers.native",
    "hooks.callers.place",
    "hooks.callers.waiting",
    "hooks.checkout_patches",
    "hooks.pool_binding",
    "state.connection",
    "state.pool_slots",
    "state.pool_state",
)
"""The modules that are compiled."""

_FOLDER: Final = Path(__file__).parent
_log = logging.getLogger("pool_exporter")


def _is_there(module: str, folder: Path) -> bool:
    path = folder.joinpath(*module.split("."))
    return any(path.with_name(f"{path.name}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def are_there(folder: Path) -> bool:
    """Return whether *folder* has all modules compiled for this interpreter."""
    return all(_is_there(module, folder) for module in MODULES)


def fitting_build(folder: Path = _FOLDER) -> Path | None:
    """Return the folder of the compiled modules that fit the sources; None if there is none.

    One WARNING is logged where there are modules for this interpreter, and none of them fit.

    Args:
        folder: Has a folder for each build, and is in the one of the sources.
    """
    builds = sorted(filter(are_there, folder.iterdir())) if folder.is_dir() else []
    if not builds:
        return None
    try:
        installed = source_id(folder.parent, [f"{module.replace('.', '/')}.py" for module in MODULES])
    except OSError:  # An installation without sources has nothing to compare them with.
        return builds[0] if len(builds) == 1 else None
    for build in builds:
        if build.name.partition("_")[0] == installed:
            return build
    _log.warning(
        "the compiled modules of pool_exporter in %s were built from other sources than %s has now; Python runs the "
        "sources instead, which costs more at each checkout. Install pool_exporter again, with "
        "`pip install --force-reinstall --no-cache-dir`; POOL_EXPORTER_PURE=1 runs the sources without this warning",
        builds[0],
        folder.parent,
    )
    return None


_build: Final = None if is_pure() else fitting_build()

is_compiled: Final[bool] = _build is not None
"""Whether the hot path runs compiled."""


def paths(package: str) -> list[str]:
    """Return where *package*, as "hooks.callers", looks for modules before it looks into its own folder."""
    return [] if _build is None else [str(_build.joinpath(*package.split(".")))]
