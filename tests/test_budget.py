"""Amounts of memory: as words, as they are, and what is left."""

from __future__ import annotations

import pytest

from texturenets.errors import UserError
from texturenets.memory import budget
from texturenets.memory.budget import Budget


def test_words() -> None:
    for text, wanted in (
        ("2G", 2 << 30), ("1.5GB", 3 << 29), ("900M", 900 << 20), ("64 MiB", 64 << 20), ("2gib", 2 << 30),
        ("1000000", 10**6),
    ):  # fmt: skip
        assert budget.parse(text) == wanted
    for text in ("", "lots", "-1G", "0", "2X", "G"):
        with pytest.raises(UserError, match="no amount of memory: give it as 2G or 900M"):
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
    for mib, wanted in (
        (5, "400M"),
        (81, "500M"),
        (205, "600M"),
        (1000, "1400M"),
    ):  # beside 360 that are taken
        assert Budget.of().needed(mib << 20) == f"`memory` {wanted}"
        assert Budget.of(budget.parse(wanted)).left() > mib << 20
