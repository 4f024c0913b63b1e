"""What a .pxd file declares, and what the module beside it has, as far as the two have to agree.

Cython reports some differences when it compiles; others make it ignore a type, or a module of the package fail when it
is imported. Here both files are only read, so that a difference fails where no compiler is.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_CLASS = re.compile(r"^cdef class (\w+)")
_INLINE = re.compile(r"^    cdef inline .*\n(?:        .*\n)+", re.MULTILINE)
"""A function that only the .pxd file has; its class declares it."""
_FUNCTION = re.compile(r"^\s*c(?:p)?def (?:[\w.]+ )*?(\w+)\((.*)\)")
_ATTRIBUTE = re.compile(r"^    cdef (?:public |readonly )?(?:[\w.]+(?:\[::1\])? )+?(\w+)$")
_VARIABLES = re.compile(r"^cdef (?:[\w.]+ )+?(\w+(?:, \w+)*)$")
_LOCALS = re.compile(r"@cython\.locals\((.*?)\)", re.DOTALL)

Parameters = tuple[tuple[str, bool], ...]
"""The name of each parameter, and whether it has a default."""


@dataclass
class Declared:
    """The names of one module that have C types, or those of the module that could have.

    Attributes:
        variables: Module variables.
        attributes: Attributes by class.
        functions: Parameters by function, or class and method.
        local: Local variables by function, or class and method.
    """

    variables: set[str] = field(default_factory=set)
    attributes: dict[str, set[str]] = field(default_factory=dict)
    functions: dict[str, Parameters] = field(default_factory=dict)
    local: dict[str, set[str]] = field(default_factory=dict)


def of_pxd(text: str) -> Declared:
    """Return what a .pxd file declares."""
    found, inside, names = Declared(), "", set[str]()
    text = _INLINE.sub("", text)
    text = _LOCALS.sub(lambda match: f"@cython.locals({' '.join(match[1].split())})", text)
    for line in text.splitlines():
        if line and not line.startswith(" "):
            inside = ""
        if match := _CLASS.match(line):
            inside = match[1]
            found.attributes[inside] = set()
        elif match := _LOCALS.search(line):
            names = set(re.findall(r"(\w+)=", match[1]))
        elif match := _FUNCTION.match(line):
            name = f"{inside}.{match[1]}" if inside else match[1]
            found.functions[name], found.local[name], names = _parameters(match[2]), names, set()
        elif inside and (match := _ATTRIBUTE.match(line)):
            found.attributes[inside].add(match[1])
        elif match := _VARIABLES.match(line):
            found.variables.update(match[1].split(", "))
    return found


def _parameters(text: str) -> Parameters:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple((part.removesuffix("=*").split()[-1], part.endswith("=*")) for part in parts)


def of_module(text: str) -> Declared:
    """Return what a module has."""
    tree, found = ast.parse(text), Declared()
    found.variables = set(_bound(tree))
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        found.functions[function.name], found.local[function.name] = _arguments(function), _locals(function)
    for cls in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        found.attributes[cls.name] = set()
        for function in (node for node in cls.body if isinstance(node, ast.FunctionDef)):
            name = f"{cls.name}.{function.name}"
            found.functions[name], found.local[name] = _arguments(function), _locals(function)
            found.attributes[cls.name].update(_stored(function))
    return found


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _arguments(function: ast.FunctionDef) -> Parameters:
    named, plain = function.args.args, len(function.args.args) - len(function.args.defaults)
    return tuple((each.arg, at >= plain) for at, each in enumerate(named))


def _locals(function: ast.FunctionDef) -> set[str]:
    """Return the names that the function assigns to, and its parameters."""
    stored = {each.id for each in ast.walk(function) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return stored | {each.arg for each in function.args.args}


def _stored(function: ast.FunctionDef) -> Iterator[str]:
    """Yield each attribute of `self` that the function assigns to."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Store):
            continue
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


def _inherited(pxd: Path, name: str) -> set[str]:
    """Return the attributes that the base of a class declares, in the file from which its name comes."""
    match = re.search(rf"^cdef class {name}\((\w+)\)", pxd.read_text(), re.MULTILINE)
    source = re.search(rf"^from (\S+) cimport .*\b{match[1]}\b", pxd.read_text(), re.MULTILINE) if match else None
    if match is None or source is None:
        return set()
    return of_pxd((_ROOT / f"{source[1].replace('.', '/')}.pxd").read_text()).attributes[match[1]]


def differences(pxd: Path) -> list[str]:
    """Return in what a .pxd file and its module differ."""
    declared, there = of_pxd(pxd.read_text()), of_module(pxd.with_suffix(".py").read_text())
    found = [f"no variable {name}" for name in declared.variables - there.variables]
    for name, parameters in declared.functions.items():
        if there.functions.get(name) != parameters:
            found.append(f"{name} has other parameters: {there.functions.get(name)}")
        found += [f"{name} has no local {each}" for each in declared.local[name] - there.local.get(name, set())]
    for name, attributes in declared.attributes.items():
        stored = there.attributes.get(name, set())
        found += [f"{name} has no attribute {each}" for each in attributes - stored - {"__weakref__"}]
        found += [f"{name}.{each} is not declared" for each in stored - attributes - _inherited(pxd, name)]
    return sorted(found)
