"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of images, published models and descriptor networks beside the checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: real images and published weights are not part of the project")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state; PyTorch takes seconds to import, and not every file needs it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted graphs and weights go where nobody keeps theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTURENETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patch distance by fewer patches: tests need no close estimate."""
    from texturenets.evaluation import patches

    monkeypatch.setattr(patches.descriptors, "__defaults__", (1000,))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that drive a browser come first: their tests take longest, and whoever began one last would keep all
    others waiting."""
    items.sort(key=lambda item: not hasattr(getattr(item, "module", None), "visit"))


def pytest_collection_finish() -> None:
    """What is imported stays: looking through it for garbage again and again takes a tenth of the tests' time."""
    gc.collect()
    gc.freeze()
