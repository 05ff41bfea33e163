"""The strings under the fields of a dataclass: read from the source, for help on the command line and in Python."""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import sys
import textwrap
from pathlib import Path
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass and its base classes: {field: text}."""
    docs: dict[str, str] = {}
    for base in cls.__bases__:
        if dataclasses.is_dataclass(base):
            docs |= field_docs(base)
    body = _classes(str(sys.modules[cls.__module__].__file__))[cls.__name__].body
    for statement, after in itertools.pairwise(body):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            docs[statement.target.id] = " ".join(str(after.value.value).split())
    return docs


@functools.cache
def _classes(file: str) -> dict[str, ast.ClassDef]:
    """The classes of a source file by their names."""
    return {
        node.name: node
        for node in ast.parse(Path(file).read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    }


class _FieldsInDoc:
    """A class's `__doc__` with its fields listed, built when it is read."""

    def __init__(self, doc: str) -> None:
        self.doc = doc

    def __get__(self, _: object, cls: Any) -> str:
        try:
            docs = field_docs(cls)
        except (OSError, ValueError):  # the source file is not available
            return self.doc
        lines = [self.doc, "", "Attributes", "----------"]
        for field in dataclasses.fields(cls):
            lines.append(f"{field.name} : {field.type}, default {field.default!r}")
            lines += textwrap.wrap(
                docs.get(field.name, ""), 100, initial_indent="    ", subsequent_indent="    "
            )
        return "\n".join(lines)


def with_attributes(cls: C) -> C:
    """The dataclass `cls` with its fields listed in its docstring, because `help` does not show the string under a
    field."""
    cls.__doc__ = _FieldsInDoc(cls.__doc__ or "")  # type: ignore[assignment]
    return cls
