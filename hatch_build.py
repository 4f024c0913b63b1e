"""Compiles the hot path for a wheel, by Cython, where that is possible; else the wheel is pure, and the log says why.

Each module of the package that has a .pxd file beside it is compiled from its own source. All of them go into the wheel
or none. An editable installation is always pure. Hatchling calls this; `python hatch_build.py DIRECTORY` only compiles.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
PACKAGE = "pool_exporter"
FOLDER = "compiled"
"""The folder of the package in which the extension modules are: `pool_exporter.compiled` finds them there."""

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # The .pxd files have the types; `str` shall not refuse a subclass.
    "boundscheck": True,  # It costs two instructions. No index is outside: this keeps a bug from the memory.
    "nonecheck": True,
    "wraparound": False,
    "initializedcheck": False,
}


class CompiledHotPath(BuildHookInterface):  # type: ignore[type-arg]  # of any configuration
    """Adds the extension modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the modules and the tag of this interpreter in the wheel; or say why not."""
        self._output = Path(tempfile.mkdtemp(prefix="pool_exporter_build_"))
        if version == "editable":
            return
        reason = why_pure() or compiled(self._output)
        if reason:
            self.app.display_warning(f"pool_exporter: a pure wheel, the hot path is not compiled: {reason}")
            return
        self.app.display_info("pool_exporter: the hot path is compiled")
        for path in (self._output / PACKAGE).rglob("*"):
            if path.is_file():
                target = Path(PACKAGE, FOLDER, path.relative_to(self._output / PACKAGE))
                build_data["force_include"][str(path)] = target.as_posix()
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, *_: object) -> None:
        """Remove what was compiled."""
        shutil.rmtree(self._output, ignore_errors=True)


def modules() -> list[Path]:
    """Return the sources to compile."""
    sources = (path.with_suffix(".py") for path in (ROOT / PACKAGE).rglob("*.pxd"))
    return sorted(path for path in sources if path.exists())


def why_pure() -> str:
    """Return why nothing shall be compiled; "" if it shall be."""
    if os.environ.get("POOL_EXPORTER_PURE", "").strip() == "1":
        return "POOL_EXPORTER_PURE=1"
    if sys.implementation.name != "cpython":
        return f"this is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python has no GIL"
    return ""


def compiled(output: Path) -> str:
    """Compile into *output*, in a process of its own, whose messages would be more than the one line.

    Returns:
        Why that failed; "" if it has not.
    """
    command = [sys.executable, __file__, str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  # this file
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if "error" in line.lower()]
    return (lines or ["the compiler has failed"])[-1] if done.returncode else ""


def main(output: Path) -> None:
    """Compile all modules into *output*."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    options = ["/O2"] if sys.platform == "win32" else ["-O2", "-g0"]
    link = ["-Wl,-s"] if sys.platform == "linux" else []  # Without symbols.
    with tempfile.TemporaryDirectory(prefix="pool_exporter_c_") as temporary:
        sources = [path.relative_to(ROOT) for path in modules()]
        extensions = [
            Extension(
                ".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=options, extra_link_args=link
            )
            for path in sources
        ]
        extensions = cythonize(extensions, build_dir=temporary, compiler_directives=DIRECTIVES, force=True, quiet=True)
        build = Distribution({"name": PACKAGE, "ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib, build.build_temp, build.parallel = str(output), temporary, True
        build.ensure_finalized()
        build.run()


if __name__ == "__main__":
    os.chdir(ROOT)
    main(Path(sys.argv[1]))
