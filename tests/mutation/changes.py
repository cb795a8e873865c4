"""
The changes that are tried: one operator, one number, one bound, one step left out.

Annotations, decorators, assertions, texts and what is raised stay as they are;
numbers in a `Meta(...)` are changed too, for the decoder obeys them.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_LEFT_ALONE = {"returns", "decorator_list", "type_params", "bases", "annotation"}

_Functions = ast.FunctionDef | ast.AsyncFunctionDef
_Path = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Change:
    """What is changed where in a module."""

    module: ast.Module
    """As it is."""
    path: _Path
    replaced: ast.AST
    line: int
    first_line: int
    """Of the statement."""
    within: str
    """The function, with its class; nothing for what a module does when it is loaded."""
    key: str
    """What names the change as long as its line is not written anew."""

    def program(self) -> ast.Module:
        """Return the changed module."""
        tree = copy.deepcopy(self.module)
        _put(tree, self.path, self.replaced)
        return ast.fix_missing_locations(tree)


@dataclass(frozen=True)
class _Place:
    path: _Path
    node: ast.AST
    within: str
    is_called: bool
    """It is in the body of a function."""
    first_line: int


def changes(source: str) -> Iterator[Change]:
    """Give each change of a module once, from its first line to its last."""
    tree, lines = ast.parse(source), source.split("\n")
    seen = Counter[str]()
    for place in _walk(_Place((), tree, "", is_called=False, first_line=0)):
        for replaced, what in _changed(place.node):
            at = place.node.target if isinstance(place.node, ast.comprehension) else place.node
            line: int = at.lineno  # type: ignore[attr-defined]
            key = f"{place.within or 'module'}: {lines[line - 1].strip()} -- {what}"
            seen[key] += 1
            yield Change(
                tree,
                place.path,
                replaced,
                line,
                place.first_line,
                place.within if place.is_called else "",
                key if seen[key] == 1 else f"{key} ({seen[key]})",
            )


def _walk(place: _Place) -> Iterator[_Place]:
    yield place
    for name, value in ast.iter_fields(place.node):
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _below(place, name, at, child)


def _below(place: _Place, name: str, at: int | None, child: ast.AST) -> Iterator[_Place]:
    node, path = place.node, (*place.path, (name, at))
    if name == "annotation":
        # Only what the decoder obeys: Meta(ge=0).
        for inner, found in _limits(child, path):
            yield _Place(inner, found, place.within, place.is_called, place.first_line)
        return
    if name in _LEFT_ALONE or (isinstance(node, ast.ClassDef) and name == "keywords"):
        return
    if isinstance(node, ast.Raise) or isinstance(child, ast.Assert | ast.Import | ast.ImportFrom):
        return
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return  # a docstring
    within, is_called = place.within, place.is_called
    if isinstance(child, _Functions | ast.ClassDef):
        within = f"{within}.{child.name}".removeprefix(".")
    if isinstance(node, _Functions) and name == "body":
        is_called = True
    first = child.lineno if isinstance(child, ast.stmt) else place.first_line
    yield from _walk(_Place(path, child, within, is_called, first))


def _limits(node: ast.AST, path: _Path) -> Iterator[tuple[_Path, ast.AST]]:
    if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant | ast.BinOp):
        yield (*path, ("value", None)), node.value
        return
    for name, value in ast.iter_fields(node):
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _limits(child, (*path, (name, at)))


def _put(tree: ast.AST, path: _Path, replaced: ast.AST) -> None:
    *above, (name, at) = path
    node = tree
    for step, position in above:
        value = getattr(node, step)
        node = value if position is None else value[position]
    if at is None:
        setattr(node, name, replaced)
    else:
        getattr(node, name)[at] = replaced


def _changed(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    yield from _operators(node)
    yield from _values(node)
    yield from _conditions(node)
    yield from _steps(node)


def _operators(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                for instead in _COMPARISONS[type(op)]:
                    compared = copy.deepcopy(node)
                    compared.ops[at] = instead()
                    yield compared, f"{type(op).__name__} to {instead.__name__}"
        case ast.BoolOp():
            joined = copy.deepcopy(node)
            joined.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield joined, f"{type(node.op).__name__} to {type(joined.op).__name__}"
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OPERATORS:
            worked = copy.deepcopy(node)
            worked.op = _OPERATORS[type(node.op)]()
            yield worked, f"{type(node.op).__name__} to {type(worked.op).__name__}"


def _values(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value), f"{value} to {not value}"
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1), f"{value} to {value + 1}"
        case ast.Constant(value=bytes() as value):
            yield ast.Constant(b"X" + value), f"{value!r} changed"
        case ast.Slice():
            for bound in ("lower", "upper"):
                if getattr(node, bound) is not None:
                    cut = copy.deepcopy(node)
                    setattr(cut, bound, None)
                    yield cut, f"{bound} bound left out"


def _conditions(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    match node:
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand, "not left out"
        case ast.If() | ast.While() | ast.IfExp() if not _is_turned(node.test):
            turned = copy.deepcopy(node)
            turned.test = ast.UnaryOp(ast.Not(), turned.test)
            yield turned, "condition turned round"
        case ast.comprehension():
            for at, test in enumerate(node.ifs):
                sifted = copy.deepcopy(node)
                sifted.ifs[at] = ast.Constant(value=True)
                yield sifted, f"{ast.unparse(test)} left out"


def _is_turned(test: ast.expr) -> bool:
    """Say whether another change turns a condition round."""
    if isinstance(test, ast.Compare):
        return len(test.ops) == 1
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _steps(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    match node:
        case ast.Return() if node.value is not None and not _is_none(node.value):
            yield ast.Return(ast.Constant(None)), "None returned"
        case ast.Raise() | ast.Expr():
            yield ast.Pass(), f"{'raise' if isinstance(node, ast.Raise) else 'step'} left out"
        case ast.Continue():
            yield ast.Break(), "continue to break"
        case ast.Break():
            yield ast.Continue(), "break to continue"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
