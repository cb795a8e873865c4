"""
Find what no test would see: python -m tests.mutation [MODULE...] [--sample N --seed S].

Each module is changed in one place at a time, and the tests that reach the
place run. A change that none of them finds has survived, unless argued.toml
says why it means the same. All modules take an hour or two of a processor.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401 - loaded before forking
import msgspec  # noqa: F401 - loaded before forking
import sqlalchemy  # noqa: F401 - loaded before forking

from tests.mutation.changes import Change, changes
from tests.mutation.forks import in_fork
from tests.mutation.rooms import TESTS, argued, source_of
from tests.mutation.trying import Attempt, Seen, Trying, collect, try_anew

_SECONDS_MAX = 10.0
"""Of tests for one change: those that would take longer in all are left out, the slowest first."""


class Run:
    """One run over some modules."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Choose what is tried."""
        self.modules: list[str] = options.modules or list(TESTS)
        self._journal: Path | None = options.journal
        self._argued = argued()
        self._known = self._found_before()
        self._sampled = self._sample(options.sample, options.seed)
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def _found_before(self) -> set[tuple[str, str]]:
        if self._journal is None or not self._journal.exists():
            return set()
        lines = map(json.loads, self._journal.read_text(encoding="utf-8").splitlines())
        return {(one["module"], one["change"]) for one in lines if one["found"]}

    def _sample(self, count: int | None, seed: int) -> set[tuple[str, str]] | None:
        if count is None:
            return None
        every = [(one, change.key) for one in self.modules for change in _changes(one)]
        return set(random.Random(seed).sample(every, min(count, len(every))))  # noqa: S311

    def groups(self) -> Iterator[tuple[list[str], list[str]]]:
        """Give modules that the same tests know, with those tests."""
        grouped: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for module in self.modules:
            grouped[tuple(TESTS[module])].append(module)
        for tests, modules in grouped.items():
            yield modules, list(tests)

    def attempts(self, module: str, seen: Seen) -> Iterator[Attempt]:
        """Give the changes of a module, each with the tests that reach it."""
        reaches, loading = seen.reaches[module], seen.loading[module]
        for change in _changes(module):
            if self._is_left_out(module, change):
                continue
            if not change.within or change.line in loading:
                names = sorted(seen.seconds)
            else:
                names = sorted({*reaches.get(change.line, ()), *reaches.get(change.first_line, ())})
            yield _attempt(module, change, names, seen.seconds)

    def _is_left_out(self, module: str, change: Change) -> bool:
        at = module, change.key
        if self._sampled is not None and at not in self._sampled:
            return True
        if at in self._known:
            self.counts[module]["found"] += 1
            return True
        return False

    def tried(self, attempt: Attempt, found: str | None) -> None:
        """Count a change, and print it where it survived."""
        module, change = attempt.module, attempt.change
        is_argued = change.key in self._argued.get(module, {})
        word = "found" if found is not None else "argued" if is_argued else "survived"
        self.counts[module][word] += 1
        if word == "survived":
            _say(f"  survived {module}:{change.line} {change.key} [{len(attempt.tests)} tests]")
        if word == "found" and is_argued:
            _say(f"  argued, and yet found by {found}: {module}:{change.line} {change.key}")
        if self._journal is not None:
            line = {"module": module, "change": change.key, "found": found}
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")

    def table(self) -> Iterator[str]:
        """Give one line for each module, and one for all."""
        words = ("found", "argued", "survived")
        total = Counter[str]()
        heads = "".join(f"{head:>9}" for head in ("changes", *words))
        yield f"{'module':36}{heads}{'found of all':>14}"
        for name in [*self.modules, "all"]:
            counts = total if name == "all" else self.counts[name]
            total.update({} if name == "all" else counts)
            share = counts["found"] / max(counts.total(), 1)
            numbers = "".join(f"{counts[word]:9}" for word in words)
            yield f"{name:36}{counts.total():9}{numbers}{share:14.1%}"

    def outdated(self) -> Iterator[str]:
        """Give what is argued about changes that no longer are."""
        for module, reasons in self._argued.items():
            if module in self.modules:
                there = {change.key for change in _changes(module)}
                yield from (f"{module} {key}" for key in reasons if key not in there)


def _changes(module: str) -> Iterator[Change]:
    return changes(source_of(module).read_text(encoding="utf-8"))


def _attempt(
    module: str, change: Change, names: list[str], seconds: Mapping[str, float]
) -> Attempt:
    chosen: list[str] = []
    total = 0.0
    for name in sorted(names, key=lambda name: seconds[name]):
        total += seconds[name]
        if total > _SECONDS_MAX and chosen:
            break
        chosen.append(name)
    return Attempt(module=module, change=change, tests=chosen, each=seconds)


def _say(line: str) -> None:
    os.write(_OUT, f"{line}\n".encode())


_Later = tuple[str, str, list[str], dict[str, float]]
"""Module, change, tests and their seconds."""


def _in_functions(run: Run, modules: list[str], tests: list[str]) -> object:
    """Try the changes within functions; give the counts, and what is left to be tried."""
    later: list[_Later] = []

    def put_off(one: Attempt) -> None:
        again = _attempt(one.module, one.change, list(one.each), one.each)
        each = {name: one.each[name] for name in again.tests}
        later.append((one.module, one.change.key, again.tests, each))

    def attempts(seen: Seen) -> Iterator[Attempt]:
        for name in seen.failed:
            _say(f"  fails with the code as it is, and finds nothing: {name}")
        for module in modules:
            yield from run.attempts(module, seen)

    collect(Trying(modules, attempts, run.tried, later=put_off), tests)
    return dict(run.counts), later


def _while_loading(run: Run, later: list[_Later]) -> None:
    """Try the changes of what runs while a module is loaded."""
    known: dict[str, dict[str, Change]] = {}
    for module, key, tests, each in later:
        if module not in known:
            known = {module: {change.key: change for change in _changes(module)}}
        attempt = Attempt(module=module, change=known[module][key], tests=tests, each=each)
        run.tried(attempt, try_anew(attempt) if tests else None)


def main() -> int:
    """Try the changes; end with 1 where one survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
    )
    parser.add_argument("--sample", type=int, help="try so many changes, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="of the choice")
    parser.add_argument("--journal", type=Path, help="keeps what was found: not tried again")
    options = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, max(10, os.getpriority(os.PRIO_PROCESS, 0)))
    run = Run(options)
    if options.sample is not None:
        _say(f"a sample of {options.sample}, seed {options.seed}")
    for modules, tests in run.groups():
        answer = in_fork(lambda modules=modules, tests=tests: _in_functions(run, modules, tests))  # type: ignore[misc]
        counts, later = cast("tuple[dict[str, Counter[str]], list[_Later]]", answer)
        run.counts.update(counts)
        _while_loading(run, later)
    outdated = list(run.outdated())
    _say("\n".join([*run.table(), *(f"argued about nothing: {one}" for one in outdated)]))
    survived = sum(counts["survived"] for counts in run.counts.values())
    return 1 if survived or outdated else 0


_OUT = os.dup(1)

if __name__ == "__main__":
    sys.exit(main())
