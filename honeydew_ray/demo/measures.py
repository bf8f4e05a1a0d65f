"""The measures of one source file."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef)
_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.comprehension, ast.match_case)


@dataclass(frozen=True, slots=True)
class Measures:
    """What was counted in a file. A file that is not valid Python has lines and nothing else."""

    file: str
    lines: int
    parsed: bool = False
    functions: int = 0
    classes: int = 0
    complexity: int = 0  # ways through all its functions, after McCabe
    hardest: str = ""  # the function with the most ways through it
    hardest_complexity: int = 0
    process: int = 0  # id of the process that measured it

    @property
    def package(self) -> str:
        """The top-level package, or the module if it stands alone."""
        return self.file.split("/", 1)[0].removesuffix(".py")


def measure(file: str, source: bytes, process: int = 0) -> Measures:
    """Count lines, functions, classes and complexity. Raises ``SyntaxError`` if it is not valid Python."""
    tree = _parse(file, source)
    nodes = list(ast.walk(tree))
    functions = [(complexity(node), node.name) for node in nodes if isinstance(node, _FUNCTIONS)]
    most, hardest = max(functions, default=(0, ""))
    return Measures(
        file=file,
        lines=count_lines(source),
        parsed=True,
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        complexity=sum(ways for ways, _ in functions),
        hardest=hardest,
        hardest_complexity=most,
        process=process,
    )


def count_lines(source: bytes) -> int:
    """The number of lines, the last one with or without its line feed."""
    return len(source.splitlines())


def complexity(function: ast.AST) -> int:
    """McCabe's number: 1, plus 1 for each place where the way forks; inner functions count for themselves."""
    return 1 + sum(_forks(node) for node in _own_nodes(function))


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if not isinstance(node, _SCOPES):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def _forks(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, _BRANCHES))


def _parse(file: str, source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes and the like in other people's code
        try:
            return ast.parse(source, file)
        except ValueError as error:  # a null byte, in Python 3.11 and earlier
            raise SyntaxError(f"{file}: {error}") from error
