"""Each compiled module has a .pxd file that agrees with it, and the package knows which modules these are."""

from pathlib import Path

import pytest

from pool_exporter import compiled
from tests.compiled.declarations import differences, of_module, of_pxd

ROOT = Path(__file__).parent.parent.parent
PXDS = {
    ".".join(path.relative_to(ROOT / "pool_exporter").with_suffix("").parts): path
    for path in sorted((ROOT / "pool_exporter").rglob("*.pxd"))
    if path.with_suffix(".py").exists()
}

MODULE = """
from a import one
two = 2
class A:
    def __init__(self, x, y=1):
        self.x = self.y = x
    def method(self, z=None):
        at = z
def function(x):
    return x
"""
PXD = """
cdef int one, two

cdef class A(B):
    cdef object __weakref__
    cdef public long long x
    cdef readonly long long[::1] y

    @cython.locals(
        at=int,
    )
    cpdef object method(self, object z=*)

cdef FrameType function(FrameType x)
"""


@pytest.mark.pure("a wheel has no .pxd files")
def test_compiled_modules_are_those_with_types() -> None:
    """What the package takes for compiled is what the build compiles."""
    assert sorted(PXDS) == sorted(compiled.MODULES)


@pytest.mark.parametrize("name", PXDS)
def test_types_and_module_agree(name: str) -> None:
    """Every attribute has a type, and every name that has one exists in the module."""
    assert [] == differences(PXDS[name])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("two = 2", "", ["no variable two"]),
        ("import one", "import other", ["no variable one"]),
        ("self.x = self.y = x", "self.x = x", ["A has no attribute y"]),
        ("self.x = self.y = x", "self.x = self.y = self.z = x", ["A.z is not declared"]),
        ("at = z", "be = z", ["A.method has no local at"]),
        ("z=None", "z", ["A.method has other parameters: (('self', False), ('z', False))"]),
        ("def function(x)", "def function(x=1)", ["function has other parameters: (('x', True),)"]),
    ],
)
def test_differences_are_found(tmp_path: Path, before: str, after: str, expected: list[str]) -> None:
    """A name that is gone, new, or of another signature is a difference."""
    (tmp_path / "m.pxd").write_text(PXD)
    module = tmp_path / "m.py"
    module.write_text(MODULE)

    assert [] == differences(tmp_path / "m.pxd")

    module.write_text(MODULE.replace(before, after))

    assert expected == differences(tmp_path / "m.pxd")


@pytest.mark.pure("a wheel has no .pxd files")
def test_declarations_are_read() -> None:
    """The two readers find what the comparison needs, in the real files too."""
    slots = of_pxd(PXDS["state.pool_slots"].read_text())
    module = of_module(PXDS["state.pool_slots"].with_suffix(".py").read_text())

    assert slots.attributes["PoolSlots"] >= {"view", "used", "_free_pending_slots"}
    assert module.attributes["PoolSlots"] >= {"view", "used", "_free_pending_slots"}
