"""Amounts of memory: as words, as they are, and what is left."""

from __future__ import annotations

import pytest

from texturenets.errors import UserError
from texturenets.memory import budget
from texturenets.memory.budget import Budget


def test_what_is_resident_is_what_psutil_says() -> None:
    psutil = pytest.importorskip("psutil")
    assert abs(budget.resident() - psutil.Process().memory_info().rss) < 16 << 20


def test_words() -> None:
    for text, wanted in (
        ("2G", 2 << 30), ("1.5GB", 3 << 29), ("900M", 900 << 20), ("64 MiB", 64 << 20), ("2gib", 2 << 30),
        ("1000000", 10**6),
    ):  # fmt: skip
        assert budget.parse(text) == wanted
    for text in ("", "lots", "-1G", "0", "2X", "G"):
        with pytest.raises(UserError, match="not an amount of memory: give it as 2G or 900M"):
            budget.parse(text)


def test_what_is_left_is_what_was_given_without_what_is_taken() -> None:
    taken = budget.resident()
    assert 10**7 < taken < 10**11
    left = Budget.of(taken + budget.RESERVE + 10**9).left()
    assert abs(left - 10**9) < 10**8
    assert Budget.of(1000).left() == 0
    assert 0 < Budget.of().left() < budget.free() + taken


def test_a_containers_limit_counts_where_it_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, less in ((1000, True), (1 << 59, False)):
        monkeypatch.setattr(budget, "_group_limit", lambda limit=limit: limit)
        assert (budget.free() == limit) == less


def test_the_amount_to_ask_for_is_the_least_round_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "resident", lambda: 200 << 20)
    monkeypatch.setattr(budget, "_has_run", False)
    for mib, wanted in (
        (5, "400M"),
        (81, "480M"),
        (205, "600M"),
        (1000, "1400M"),
    ):  # beside 360 that are taken
        assert Budget.of().needed(mib << 20) == f"`memory` {wanted}"
        assert Budget.of(budget.parse(wanted)).left() > mib << 20


@pytest.mark.parametrize("taken", [60, 113, 255, 700, 1500, 3100, 9000, 20_000])
@pytest.mark.parametrize("size", [0, 11, 23, 90, 1400, 7000])
def test_the_amount_to_ask_for_is_little_more_than_suffices(
    taken: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "resident", lambda: taken << 20)
    monkeypatch.setattr(budget, "_has_run", False)
    least = (taken + size << 20) + budget.RESERVE
    advised = budget.parse(Budget.of(1).needed(size << 20).removeprefix("`memory` "))
    assert Budget(least).left() == size << 20
    assert least + budget.SPARE <= advised < 1.2 * least
    assert advised < 1.15 * least or taken + size < 100


def test_what_libraries_keep_is_not_set_aside_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `--memory` that the first photo of several fits in, so do the others."""
    monkeypatch.setattr(budget, "resident", lambda: 100 << 20)
    monkeypatch.setattr(budget, "_has_run", False)
    before = Budget.of(1 << 30).left()
    budget.note_run()
    monkeypatch.setattr(budget, "resident", lambda: (100 << 20) + budget.KEPT)
    assert Budget.of(1 << 30).left() == before
