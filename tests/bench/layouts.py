"""Counts in several layouts of the memory, each of which is the same for all modes.

CPython keeps attributes of types in a cache of 4,096 places. A type's version and an attribute's address choose the
place, and two that share one are looked up anew each time: another layout is another count of the same work. So this
process forks a child for each mode and layout: the children of a layout have the same addresses, and in each layout the
types have other versions. Nothing here may know what is counted.
"""

import gc
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

_HEAP_TYPE: Final = 1 << 9
"""The flag of types that can be changed."""


def count_in_children(work: Callable[[str], None], layouts: Mapping[str, int]) -> None:
    """Print for each layout and mode the mode, and the id of the process that has done the work, or why it failed.

    Args:
        work: Does the work of a mode.
        layouts: The modes, in their order in each layout, and in how many layouts each is counted.
    """
    types = list(all_types())
    gc.collect()
    gc.disable()  # A collection may fall into one count and not into another.
    for layout in range(max(layouts.values())):
        for mode, last in layouts.items():
            if layout < last:
                _in_child(work, mode, types, layout)


def _in_child(work: Callable[[str], None], mode: str, types: list[type], layout: int) -> None:
    pid = os.fork()
    if not pid:
        answer = str(os.getpid())
        try:
            move(types, layout)
            work(mode)
        except BaseException as error:  # noqa: BLE001  # the process ends here
            answer = f"{type(error).__name__}: {error}".partition("\n")[0]
        _print(mode, answer)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        _print(mode, f"its process ended with status {status}")


def _print(mode: str, answer: str) -> None:
    os.write(1, f"{mode} {answer}\n".encode())


def all_types() -> Iterator[type]:
    """Yield each type that can be changed, in the same order each time."""
    seen: dict[type, None] = {object: None}
    todo = [object]
    while todo:
        for each in type.__subclasses__(todo.pop()):
            if each not in seen:
                seen[each] = None
                todo.append(each)
    return (each for each in seen if each.__flags__ & _HEAP_TYPE)


def move(types: list[type], seed: int) -> None:
    """Give the types other versions, in an order that *seed* chooses."""
    ordered = random.Random(seed).sample(types, len(types))
    for each in ordered:
        if "__module__" in vars(each):
            with suppress(TypeError):
                type.__setattr__(each, "__module__", vars(each)["__module__"])
    for each in ordered:  # A type has its version from the first look-up after a change on.
        with suppress(AttributeError):
            type.__getattribute__(each, "no_such_attribute")
