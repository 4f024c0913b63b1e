"""Compiles the hot path for a wheel, by Cython, where that is possible; else the wheel is pure, and the log says why.

Each module of the package that has a .pxd file beside it is compiled from a copy of its source. All of them go into the
wheel, in a folder with the id of these sources as its name, or none. An editable installation is always pure. Hatchling
calls this; `python hatch_build.py DIRECTORY` only compiles.
"""

import os
import runpy
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
"""The folder of the package in which the folders of builds are: `pool_exporter.compiled` finds them there."""
source_id = runpy.run_path(str(ROOT / PACKAGE / FOLDER / "source_id.py"))["source_id"]

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # The .pxd files have the types; `str` shall not refuse a subclass.
    # No index is outside (tests/compiled/test_indices.py has the reason for each) but that of a wrong token, which this
    # refuses. It costs two instructions at each access.
    "boundscheck": True,
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
        reason = why_pure() or compiled(self._output) or changed(self._output)
        if reason:
            self.app.display_warning(f"pool_exporter: a pure wheel, the hot path is not compiled: {reason}")
            return
        self.app.display_info("pool_exporter: the hot path is compiled")
        for path in self._output.rglob("*"):
            if path.is_file():
                build, _, *rest = path.relative_to(self._output).parts
                build_data["force_include"][str(path)] = "/".join([PACKAGE, FOLDER, build, *rest])
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, *_: object) -> None:
        """Remove what was compiled."""
        shutil.rmtree(self._output, ignore_errors=True)


def modules(root: Path = ROOT) -> list[Path]:
    """Return the sources to compile."""
    sources = (path.with_suffix(".py") for path in (root / PACKAGE).rglob("*.pxd"))
    return sorted(path for path in sources if path.exists())


def build_id(root: Path = ROOT) -> str:
    """Return the name of the folder of a build: the id of the modules' sources, and that of the .pxd files."""
    package = root / PACKAGE
    parts = (modules(root), package.rglob("*.pxd"))
    return "_".join(source_id(package, [path.relative_to(package).as_posix() for path in each]) for each in parts)


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


def changed(output: Path) -> str:
    """Return why the modules in *output* do not fit the sources that the wheel is to have; "" if they do."""
    is_same = [build_id()] == [path.name for path in output.iterdir()]
    return "" if is_same else "the sources have changed while they were compiled; build again"


def main(output: Path) -> None:
    """Compile all modules into *output*, in a folder with the id of the build as its name."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    options = ["/O2"] if sys.platform == "win32" else ["-O2", "-g0"]
    link = ["-Wl,-s"] if sys.platform == "linux" else []  # Without symbols.
    with tempfile.TemporaryDirectory(prefix="pool_exporter_c_") as temporary:
        copy = Path(temporary, "sources")
        shutil.copytree(ROOT / PACKAGE, copy / PACKAGE)  # The sources may change before the last one is compiled.
        os.chdir(copy)
        sources = [path.relative_to(copy) for path in modules(copy)]
        extensions = [
            Extension(
                ".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=options, extra_link_args=link
            )
            for path in sources
        ]
        extensions = cythonize(extensions, build_dir=temporary, compiler_directives=DIRECTIVES, force=True, quiet=True)
        build = Distribution({"name": PACKAGE, "ext_modules": extensions}).get_command_obj("build_ext")
        build.build_lib, build.build_temp, build.parallel = str(output / build_id(copy)), temporary, True
        build.ensure_finalized()
        build.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
