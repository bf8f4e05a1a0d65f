"""mutmut, with three kinds of mutants more and one less; a script, so that no test is imported before mutmut has put its copy in the way.

``python tests/mutants/engine.py JOBS PATH ...`` mutates these modules, or those of ``[tool.mutmut]``, so many mutants at a time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import libcst as cst
from mutmut.__main__ import cli
from mutmut.configuration import config
from mutmut.mutation.mutators import mutation_operators, operator_string


def step_left_out(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """A call whose value nobody uses, or a raise, is not made."""
    is_docstring = isinstance(node, cst.Expr) and isinstance(node.value, (cst.SimpleString, cst.ConcatenatedString))
    if isinstance(node, cst.Raise) or not (is_docstring or _left_alone(node)):
        yield cst.Pass()


def operand_left_out(node: cst.BooleanOperation) -> Iterator[cst.BaseExpression]:
    """``a and b`` is ``a``, or ``b``."""
    for operand in (node.left, node.right):
        yield operand.with_changes(lpar=[*operand.lpar, *node.lpar], rpar=[*operand.rpar, *node.rpar])


def returns_nothing(node: cst.Return) -> Iterator[cst.Return]:
    """A function forgets to return its value."""
    if node.value is not None and not (isinstance(node.value, cst.Name) and node.value.value == "None"):
        yield node.with_changes(value=None)


def _left_alone(node: cst.CSTNode) -> bool:
    """Whether `[tool.mutmut]` takes this code out, as what only logs."""
    code = cst.Module([]).code_for_node(node)
    return any(re.search(pattern, code) for pattern in config().do_not_mutate_patterns)


def name_changed(node: cst.SimpleString) -> Iterator[cst.BaseString]:
    """Another string, unless it is a text for people."""
    if " " not in node.value:
        yield from operator_string(node)


def main() -> None:
    mutation_operators.remove((cst.BaseString, operator_string))
    mutation_operators.extend([
        (cst.SimpleString, name_changed),
        (cst.Expr, step_left_out),
        (cst.Raise, step_left_out),
        (cst.BooleanOperation, operand_left_out),
        (cst.Return, returns_nothing),
    ])
    _, jobs, *paths = sys.argv
    if paths:
        config().only_mutate = paths
    cli(["run", "--max-children", jobs])


if __name__ == "__main__":
    main()
