"""The compiled modules of the hot path, where this installation has them, and whether they are used.

A wheel that was built where a C compiler was has, in this folder, an extension module for each of `MODULES`: Cython has
compiled it from the same source, with the C types of the .pxd file beside it. Each package with such modules looks here
first. With POOL_EXPORTER_PURE=1, on another interpreter than that of the wheel, and in an editable installation, Python
runs the source. Either all of them are compiled or none. Nothing here may know what the modules do.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

from pool_exporter.environment import is_pure

MODULES: Final = (
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


def _is_there(module: str, folder: Path) -> bool:
    path = folder.joinpath(*module.split("."))
    return any(path.with_name(f"{path.name}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def are_there(folder: Path = _FOLDER) -> bool:
    """Return whether *folder* has all modules compiled for this interpreter."""
    return all(_is_there(module, folder) for module in MODULES)


is_compiled: Final[bool] = not is_pure() and are_there()
"""Whether the hot path runs compiled."""


def paths(package: str) -> list[str]:
    """Return where *package*, as "hooks.callers", looks for modules before it looks into its own folder."""
    return [str(_FOLDER.joinpath(*package.split(".")))] if is_compiled else []
