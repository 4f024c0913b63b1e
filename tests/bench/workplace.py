"""The directory in which a Python runs benchmarks: the repository, or one with the wheel that this Python has.

`python -m` looks into its directory first: in the repository it would take the package of that, and never the wheel.
"""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parent.parent.parent
_WHERE: Final = "import sysconfig; print(sysconfig.get_path('platlib'))"


def program(python: str) -> str:
    """Return the absolute path of a Python, without following links, which would lead out of its environment."""
    return str(Path(shutil.which(python) or python).absolute())


@cache
def workplace(python: str) -> Path:
    """Return the directory for a Python; the same one each time.

    Args:
        python: Its program. Its environment has the package as an editable installation, or as a wheel.
    """
    answer = subprocess.run([python, "-c", _WHERE], capture_output=True, text=True, check=True)
    installed = Path(answer.stdout.strip(), "pool_exporter")
    # An editable installation has the data that wheels include there, and no module.
    return _beside(installed) if (installed / "__init__.py").is_file() else _ROOT


def _beside(installed: Path) -> Path:
    """Return a new directory with these tests and that package, for as long as this process runs."""
    directory = tempfile.TemporaryDirectory(prefix="pool_exporter_bench_")
    _KEPT.append(directory)
    path = Path(directory.name)
    (path / "tests").symlink_to(_ROOT / "tests")
    (path / "pool_exporter").symlink_to(installed)
    return path


_KEPT: Final[list[tempfile.TemporaryDirectory[str]]] = []
"""They are removed at exit."""
