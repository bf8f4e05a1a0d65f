"""SQL expressions on their way from a caller to the process that has the table.

An expression over mapped classes holds on to those classes, which no pickle carries. `plain` makes of it one over bare
names; `bound` makes of that one over the columns of a table at hand. SQLAlchemy quotes the names, here and there.
"""

from __future__ import annotations

import sys
from typing import Any, cast


def is_expression(value: object) -> bool:
    """Whether something is an expression of SQLAlchemy. Does not import it: without it, nothing is."""
    sql: Any = sys.modules.get("sqlalchemy")
    return sql is not None and (isinstance(value, sql.sql.expression.ClauseElement) or hasattr(value, "__clause_element__"))


def plain(expression: Any) -> Any:
    """The same condition over bare table and column names; it can be pickled."""
    import sqlalchemy as sa
    from sqlalchemy.sql import visitors

    tables: dict[str, Any] = {}

    def bare_table(table: Any) -> Any:
        return tables.setdefault(table.key, sa.table(table.name, schema=table.schema))

    def bare_column(given: Any) -> Any:
        column: Any = sa.column(given.name, given.type)
        owner: Any = given.table
        if hasattr(owner, "fullname"):  # a Table, not a subquery
            column.table = bare_table(owner)
        return column

    def replaced(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.Table):
            return bare_table(element)
        if isinstance(element, sa.Column):
            return bare_column(element)
        return None

    element: Any = expression.__clause_element__() if hasattr(expression, "__clause_element__") else expression
    walk: Any = visitors
    copy: Any = walk.replacement_traverse(element, {}, replaced)
    for part in walk.iterate(copy):
        loose: Any = part
        if getattr(loose, "_propagate_attrs", None):  # what the ORM noted: the mapper, above all
            loose._propagate_attrs = {}
    return copy


def bound(expression: Any, table: Any) -> Any:
    """A plain condition, over the columns of this table where it names them. Raises `ValueError` for a column that it has not."""
    import sqlalchemy as sa
    from sqlalchemy.sql import visitors

    def is_ours(other: Any) -> bool:
        return other is not None and getattr(other, "name", None) == table.name and getattr(other, "schema", None) in (None, table.schema)

    def replaced(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.sql.expression.TableClause) and is_ours(element):
            return table
        if isinstance(element, sa.sql.expression.ColumnClause) and is_ours(cast("Any", element.table)):
            name: str = element.name
            if name not in table.c:
                raise ValueError(f"table {table.name!r} has no column {name!r}; it has {', '.join(table.c.keys())}")
            return table.c[name]
        return None

    walk: Any = visitors
    return walk.replacement_traverse(expression, {}, replaced)
