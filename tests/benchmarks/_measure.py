"""Seconds of several things that do the same work, in turn, so that what else the machine does falls on all of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from fink_broker.commands.bench import Figure
from fink_broker.infra.processes import tree_usage

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Run:
    """One run: seconds on the clock, and CPU seconds of this process with all that it started (JVM, Python workers)."""

    seconds: float
    cpu_s: float


def once(work: Callable[[], object]) -> Run:
    """Run it and measure."""
    cpu_s, began = tree_usage(os.getpid()).cpu_s, time.perf_counter()
    work()
    return Run(time.perf_counter() - began, tree_usage(os.getpid()).cpu_s - cpu_s)


def in_turn(works: Mapping[Name, Callable[[], object]], rounds: int, say: Callable[[str], None]) -> dict[Name, list[Run]]:
    """Run all of them, A B C, A B C, as many rounds as asked for."""
    runs: dict[Name, list[Run]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            say(f"round {number + 1} of {rounds}: {name}")
            runs[name].append(once(work))
    return runs


def typical(runs: list[Run]) -> Run:
    """The medians."""
    return Run(median(run.seconds for run in runs), median(run.cpu_s for run in runs))


def less(large: list[Run], small: list[Run]) -> list[Run]:
    """What the larger of two runs took beyond the smaller, round by round."""
    return [Run(a.seconds - b.seconds, a.cpu_s - b.cpu_s) for a, b in zip(large, small, strict=True)]


def times_faster(slow: list[Run], fast: list[Run]) -> Run:
    """How many times faster, on the clock and in CPU seconds: the medians over the rounds, each compared within itself."""
    pairs = list(zip(slow, fast, strict=True))
    return Run(median(s.seconds / f.seconds for s, f in pairs), median(s.cpu_s / f.cpu_s for s, f in pairs))


def lines(figures: Sequence[Figure]) -> list[str]:
    """The figures, each with its goal."""
    lines = []
    for figure in figures:
        verdict = "" if figure.ok is None else f"goal {figure.goal:g}: {'reached' if figure.ok else 'MISSED'}"
        lines.append(f"{figure.name:<56}{figure.value:>10g} {figure.unit:<24}{verdict}")
    return lines
