"""The strings under the fields of a dataclass: read from the source, for help on the command line and in Python."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from typing import TypeVar

C = TypeVar("C", bound=type)


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and its base classes: {field: text}."""
    docs: dict[str, str] = {}
    for base in cls.__bases__:
        if dataclasses.is_dataclass(base):
            docs |= field_docs(base)
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            docs[statement.target.id] = " ".join(str(after.value.value).split())
    return docs


def with_attributes(cls: C) -> C:
    """The dataclass `cls` with its fields listed in its docstring: `help` shows no string under a field."""
    try:
        docs = field_docs(cls)
    except OSError:  # the source file is not available
        return cls
    lines = [cls.__doc__ or "", "", "Attributes", "----------"]
    for field in dataclasses.fields(cls):
        lines.append(f"{field.name} : {field.type}, default {field.default!r}")
        lines += textwrap.wrap(docs.get(field.name, ""), 100, initial_indent="    ", subsequent_indent="    ")
    cls.__doc__ = "\n".join(lines)
    return cls
