"""Frames as values: their texts, and those of the application among them."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FunctionType
from weakref import ref

import pytest

from pool_exporter.diagnosis import frames
from pool_exporter.diagnosis.frames import Frame, is_application, shown_frames, text_of, text_of_code

HERE = "diagnosis/test_frames.py"


def current() -> Frame:
    """Return the frame of the caller."""
    frame = sys._getframe(1)
    return frame.f_code, frame.f_lasti


def code_in(file: str, name: str = "work") -> CodeType:
    """Return the code of a function in *file*."""
    return (lambda: None).__code__.replace(co_filename=file, co_name=name)


def test_text_of_a_frame() -> None:
    """The text has the last two parts of the path, the line of the instruction, and the function."""
    first = test_text_of_a_frame.__code__.co_firstlineno

    assert f"{HERE}:{first + 4} in test_text_of_a_frame" == text_of(current())
    assert f"{HERE}:{first + 6} in test_text_of_a_frame" == text_of(
        current()  # The line of the call.
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code has no qualified name yet")
def test_name_of_an_inner_function() -> None:
    """A method has its class's name before it, an inner function that of the outer one; `<locals>` is left out."""

    class Service:
        def call(self) -> Frame:
            return current()

    assert text_of(Service().call()).endswith(" in test_name_of_an_inner_function.Service.call")
    assert text_of_code(Service.call.__code__).endswith(" in test_name_of_an_inner_function.Service.call")


def test_text_of_code() -> None:
    """A function is shown with its first line."""
    line = test_text_of_code.__code__.co_firstlineno

    assert f"{HERE}:{line} in test_text_of_code" == text_of_code(test_text_of_code.__code__)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/srv/shop/orders/api.py", "orders/api.py"),
        ("api.py", "api.py"),
        ("C:\\shop\\orders\\api.py", "orders/api.py"),
        ("<stdin>", "<stdin>"),
    ],
)
def test_file(file: str, expected: str) -> None:
    """The last two parts of the path tell namesakes apart."""
    assert text_of_code(code_in(file)).startswith(f"{expected}:")


def caught(function: Callable[[], object]) -> None:
    """Have instructions of no line, as Python makes them for the end of an `except`."""
    try:
        function()
    except ValueError as error:
        raise RuntimeError(error) from error


def test_instruction_of_no_line() -> None:
    """An instruction that Python has added to the end of a statement is at the function's first line."""
    code = caught.__code__
    instruction = next(start for start, _, line in code.co_lines() if line is None)

    assert text_of_code(code) == text_of((code, instruction))


def test_instruction_outside_of_the_code() -> None:
    """Before its first instruction, and after its last, a function is at its first line."""
    code = code_in("/srv/api.py")

    assert text_of_code(code) == text_of((code, -1)) == text_of((code, 10_000))


def made() -> FunctionType:
    """Return a new function, whose code has no other reference."""
    namespace: dict[str, FunctionType] = {}
    exec(compile("def work(): pass", "/srv/made.py", "exec"), namespace)  # noqa: S102  # to have code that is collected
    return namespace.pop("work")


def test_code_is_not_kept() -> None:
    """A text that is kept does not keep the code."""
    function = made()
    found = ref(function.__code__)
    text_of((function.__code__, 0))
    del function
    gc.collect()

    assert None is found()


def test_kept_text_is_of_this_code() -> None:
    """Code that lies where other code lay before has a text of its own."""
    code, other = code_in("/srv/one.py"), code_in("/srv/two.py")
    frames._texts[id(code), 0] = (ref(other), "srv/two.py:1 in work")

    assert text_of((code, 0)).startswith("srv/one.py:")


def test_kept_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that are made again and again do not fill the memory."""
    monkeypatch.setattr(frames, "_TEXTS_MAX", 3)
    codes = [code_in(f"/srv/{number}.py") for number in range(10)]
    for code in codes:
        text_of((code, 0))

    assert len(frames._texts) <= 3


def stack(*files: str) -> tuple[Frame, ...]:
    """Return one frame of each file, innermost first."""
    return tuple((code_in(file, Path(file).stem), 0) for file in files)


LIBRARY = "/venv/site-packages/httpx/client.py"


@pytest.mark.parametrize(
    ("files", "start", "expected"),
    [
        (["/srv/a.py", LIBRARY, "/srv/b.py"], 0, ["a", "b"]),
        (["/srv/a.py", LIBRARY, "/srv/b.py"], 1, ["b"]),
        ([f"/srv/{name}.py" for name in "abcdef"], 0, ["a", "b", "c", "d"]),
        ([LIBRARY, "<string>"], 0, ["client"]),
        (["/srv/a.py", LIBRARY], 1, ["client"]),
        (["<string>"], 0, []),
        ([], 0, []),
    ],
)
def test_shown_frames(files: list[str], start: int, expected: list[str]) -> None:
    """Up to four frames of the application are shown; those of libraries where it has none."""
    assert expected == [code.co_name for code, _ in shown_frames(stack(*files), start)]


@pytest.mark.parametrize(("file", "expected"), [("/srv/a.py", True), (LIBRARY, False), ("<string>", False)])
def test_is_application(file: str, expected: bool) -> None:
    """A library and generated code are not the application's."""
    assert expected is is_application(code_in(file))
