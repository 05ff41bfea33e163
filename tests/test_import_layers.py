"""The packages of ARCHITECTURE.md: imports point downward, and nothing imports in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import texturenets

PACKAGE = Path(texturenets.__file__).parent
LAYERS = (
    ("errors", "_version"),
    ("locks", "arguments", "arrays", "overlap", "field_docs"),
    ("files",),
    ("noise", "memory", "fetch"),
    ("hub",),
    ("image",),
    ("graph",),
    ("modelfiles",),
    ("engines",),
    ("tiled",),
    ("textures",),
    ("stylize",),
    ("texture_blending",),
    ("materials",),
    ("video",),
    ("readers",),
    ("networks",),
    ("loading",),
    ("export",),
    ("perceptual",),
    ("losses",),
    ("train",),
    ("converters", "optimization"),
    ("resynthesis",),
    ("evaluation",),
    ("cluster",),
    ("server",),
    ("cli",),
    ("__main__",),
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}


def modules() -> dict[str, Path]:
    """All modules of the package by their names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(("texturenets", *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path, *, at_once: bool) -> Iterator[str]:
    """The package's modules that a file imports; `at_once`: only those that it imports when it is imported itself."""
    tree = ast.parse(path.read_text())
    statements = tree.body if at_once else ast.walk(tree)
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names if alias.name in MODULES)
        elif isinstance(statement, ast.ImportFrom) and statement.module in MODULES:
            for alias in statement.names:
                inner = f"{statement.module}.{alias.name}"
                yield inner if inner in MODULES else str(statement.module)


def package(module: str) -> str:
    return module.split(".")[1]


def test_every_package_has_a_layer() -> None:
    assert {package(name) for name in MODULES if name != "texturenets"} == set(LAYER)


def test_imports_point_downward() -> None:
    """Those inside functions, too."""
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        if name != "texturenets"
        for other in imported(path, at_once=False)
        if other == "texturenets"
        or (package(name) != package(other) and LAYER[package(other)] >= LAYER[package(name)])
    ]
    assert not upward


def test_no_module_imports_itself_in_a_circle() -> None:
    """A package's `__init__` stands for what it gathers: its own modules do not come back to it."""
    graph = {name: set(imported(path, at_once=True)) - {name} for name, path in MODULES.items()}
    done: set[str] = set()
    on_the_way: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        assert name not in on_the_way, " -> ".join([*on_the_way[on_the_way.index(name) :], name])
        on_the_way.append(name)
        for other in sorted(graph[name]):
            visit(other)
        done.add(on_the_way.pop())

    for name in sorted(graph):
        visit(name)


def test_the_document_names_every_package() -> None:
    text = (PACKAGE.parents[1] / "ARCHITECTURE.md").read_text()
    missing = [
        name
        for name in LAYER
        if name not in ("_version", "__main__") and not (f"`{name}/`" in text or f"`{name}.py`" in text)
    ]
    assert set(missing) <= {"overlap", "field_docs"}


def test_the_document_lists_packages_from_the_top_layer_down() -> None:
    text = (PACKAGE.parents[1] / "ARCHITECTURE.md").read_text()
    table = text.split("## The packages")[1].split("## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    rows = [[LAYER[name.rstrip("/").removesuffix(".py")] for name in cell.split("`")[1::2]] for cell in cells]
    assert len(rows) > 10
    assert all(min(above) >= max(below) for above, below in pairwise(rows))


def test_the_document_names_files_that_are_there() -> None:
    text = (PACKAGE.parents[1] / "ARCHITECTURE.md").read_text()
    named = {word for word in text.split("`")[1::2] if word.endswith(".py") and "/" in word}
    root = PACKAGE.parents[1]
    assert named
    assert not [name for name in named if not ((PACKAGE / name).is_file() or (root / name).is_file())]
