"""
Trying changes: the tests are collected once, and each change is tried in a fork.

A first run over the code as it is notes which test reaches which line, and how
long it takes. A change within a function is put into the functions that are
loaded; what a module does while it is loaded is loaded anew, changed. The tests
that reach the line run, the fastest first, until one fails.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import BuiltinMethodType, CodeType, FunctionType, ModuleType

import coverage
import hypothesis
import pytest

from tests.mutation.changes import Change
from tests.mutation.forks import Died, in_fork
from tests.mutation.rooms import ROOT, source_of

_OPTIONS = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-W", "default"]

_SECONDS_MAX = 8.0
"""Of the processor, for a test that is run at all."""


@dataclass(kw_only=True)
class Seen:
    """What the first run noted."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Of the processor, for each test that passes."""
    failed: list[str] = field(default_factory=list)
    reaches: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """The tests that reach each line, by module."""
    loading: dict[str, set[int]] = field(default_factory=dict)
    """The lines that run while a module is loaded."""


@dataclass(kw_only=True)
class Attempt:
    """A change, and the tests that may find it, the likeliest first."""

    module: str
    change: Change
    tests: list[str]
    each: Mapping[str, float]
    """Seconds of the processor that each of them takes."""


class Trying:
    """A plugin that tries changes within functions where pytest would run tests."""

    def __init__(
        self,
        modules: Sequence[str],
        attempts: Callable[[Seen], Iterator[Attempt]],
        tried: Callable[[Attempt, str], None],
        *,
        later: Callable[[Attempt], None],
    ) -> None:
        """
        Load the modules and note which of their lines that runs.

        Args:
            modules: That are changed.
            attempts: Gives what is to be tried.
            tried: Told each change that was found, and by which test.
            later: Told each that was not: once more, where all is loaded anew.
        """
        self._modules = modules
        self._attempts = attempts
        self._tried = tried
        self._later = later
        self._reports: list[pytest.TestReport] = []
        self._functions: dict[str, list[FunctionType]] = {}
        measured = _measured(modules)
        with measured.collect():
            for module in modules:
                importlib.import_module(module)
        data = measured.get_data()
        self._loading = {one: set(data.lines(str(source_of(one))) or ()) for one in modules}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep how a test ends."""
        self._reports.append(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once as they are, then try each change."""
        items = {item.nodeid: item for item in session.items}
        self._functions = _functions(self._modules)
        gc.collect()
        gc.freeze()  # a fork shares what is not touched
        seen = in_fork(lambda: self._first_run(list(items.values())))
        assert isinstance(seen, Seen), "the tests run with the code as it is"
        killers: dict[str, str] = {}
        for attempt in self._attempts(seen):
            where = f"{attempt.module}.{attempt.change.within}"
            # What found the last change of a function finds the next one too, mostly.
            names = sorted(attempt.tests, key=lambda name: name != killers.get(where))
            found = self._try(attempt, [items[name] for name in names])
            if found is not None:
                killers[where] = found
            if found is None:
                self._later(attempt)  # classes, and what was worked out from it, are as they were
            else:
                self._tried(attempt, found)
        return True

    def _first_run(self, items: Sequence[pytest.Item]) -> Seen:
        seen = Seen(loading=self._loading)
        measured = _measured(self._modules)
        measured.start()
        signal.signal(signal.SIGPROF, _leave_out)
        for item in items:
            measured.switch_context(item.nodeid)
            signal.setitimer(signal.ITIMER_PROF, _SECONDS_MAX)
            before = sum(os.times()[:4])
            failed = self._fails(item, None)
            if failed is None:
                seen.seconds[item.nodeid] = sum(os.times()[:4]) - before
            elif failed:
                seen.failed.append(item.nodeid)
        signal.setitimer(signal.ITIMER_PROF, 0)
        measured.stop()
        data = measured.get_data()
        for one in self._modules:
            lines = data.contexts_by_lineno(str(source_of(one)))
            seen.reaches[one] = {
                line: [name for name in names if name in seen.seconds]
                for line, names in lines.items()
            }
        return seen

    def _fails(self, item: pytest.Item, following: pytest.Item | None) -> bool | None:
        """Say whether a test fails; False when it is skipped, None when it passes."""
        self._reports.clear()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if any(report.failed for report in self._reports):
            return True
        return False if any(report.skipped for report in self._reports) else None

    def _try(self, attempt: Attempt, items: Sequence[pytest.Item]) -> str | None:
        def run() -> str | None:
            if not _put_into_place(attempt, self._functions[attempt.module]):
                return "it cannot be"
            for item, following in zip(items, [*items[1:], None], strict=True):
                _allow(attempt.each[item.nodeid])
                if self._fails(item, following):
                    return item.nodeid
            return None

        try:
            found = in_fork(run, seconds=_seconds(attempt))
        except Died as died:
            return str(died)
        assert found is None or isinstance(found, str), "a test's name, or none"
        return found


def collect(plugin: Trying, tests: Sequence[str]) -> None:
    """Let pytest collect the tests and the plugin try its changes."""
    _few_examples()
    pytest.main([*_OPTIONS, "-s", *(str(ROOT / one) for one in tests)], plugins=[plugin])


def try_anew(attempt: Attempt) -> str | None:
    """Load a changed module in a process that has loaded nothing of ours; tell how it is found."""
    code = compile(attempt.change.program(), str(source_of(attempt.module)), "exec")

    def run() -> int:
        sys.meta_path.insert(0, _Changed(attempt.module, code))
        _few_examples()
        files = dict.fromkeys(str(ROOT / name.partition("::")[0]) for name in attempt.tests)
        return int(pytest.main([*_OPTIONS, "-x", *files], plugins=[_Chosen(attempt)]))

    try:
        ended = in_fork(run, seconds=_seconds(attempt) + 20)
    except Died as died:
        return str(died)
    assert ended != pytest.ExitCode.NO_TESTS_COLLECTED, "the tests are there"
    return None if ended == pytest.ExitCode.OK else "a test"


def _few_examples() -> None:
    few = {"max_examples": 60, "derandomize": True, "deadline": None, "database": None}
    hypothesis.settings.register_profile("few", **few)  # type: ignore[arg-type]
    hypothesis.settings.load_profile("few")


def _seconds(attempt: Attempt) -> float:
    """Allow a change several times what its tests take in all."""
    return 5 + 6 * sum(attempt.each[name] for name in attempt.tests)


def _leave_out(number: int, frame: object) -> None:
    """Leave a test out that takes too long to be run for each of many changes."""
    del number, frame
    raise pytest.skip.Exception


def _allow(seconds: float) -> None:
    """End this process when a test takes many times as long as it did: it may be endless."""
    signal.setitimer(signal.ITIMER_PROF, 2 + 8 * seconds)


def _measured(modules: Sequence[str]) -> coverage.Coverage:
    files = [str(source_of(one)) for one in modules]
    return coverage.Coverage(data_file=None, config_file=False, include=files)


def _put_into_place(attempt: Attempt, functions: Sequence[FunctionType]) -> bool:
    """Give the loaded functions of a module their changed code, and its names their values."""
    file = str(source_of(attempt.module))
    code = compile(attempt.change.program(), file, "exec")
    try:
        _put_values(attempt.module, code)
        _put_codes(functions, dict(_codes(code)))
    except Exception:  # noqa: BLE001 - whatever it is, the first test would meet it
        return False
    return True


def _functions(modules: Sequence[str]) -> dict[str, list[FunctionType]]:
    """Give the functions that are loaded from each module, methods too."""
    found: dict[str, list[FunctionType]] = {str(source_of(one)): [] for one in modules}
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename in found:
            found[one.__code__.co_filename].append(one)
    return {one: found[str(source_of(one))] for one in modules}


def _put_codes(functions: Sequence[FunctionType], codes: dict[tuple[str, int], CodeType]) -> None:
    for function in functions:
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            function.__code__ = code


def _put_values(module: str, code: CodeType) -> None:
    """Run the changed module beside the loaded one, and take over what is no function or class."""
    before = vars(sys.modules[module])
    after = {"__name__": module, "__file__": before["__file__"]}
    exec(code, after)  # noqa: S102 - it is our own module, changed
    for name, value in after.items():
        known = before.get(name)
        if name.startswith("__") or not _is_plain(value) or value == known:
            continue
        for other in [one for one in sys.modules.values() if isinstance(one, ModuleType)]:
            if vars(other).get(name) is known:
                setattr(other, name, value)


def _is_plain(value: object) -> bool:
    """Say whether a value is the same whichever copy of the module made it."""
    if isinstance(value, BuiltinMethodType):
        value = value.__self__  # of a pattern: its match or findall
    return isinstance(value, int | str | bytes | tuple | frozenset | set | list | dict | re.Pattern)


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield (one.co_qualname, one.co_firstlineno), one
            yield from _codes(one)


class _Chosen:
    """A plugin that lets only some tests run, in the order given."""

    def __init__(self, attempt: Attempt) -> None:
        self._places = {name: at for at, name in enumerate(attempt.tests)}
        self._each = attempt.each

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Bound the test that begins."""
        _allow(self._each.get(nodeid, 1.0))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose; a change that renames all the tests is tried by all of them."""
        chosen = [item for item in items if item.nodeid in self._places]
        items[:] = sorted(chosen, key=lambda item: self._places[item.nodeid]) or items


class _Changed(MetaPathFinder, Loader):
    """Loads one module from a changed tree."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Know the one module."""
        del path, target
        if name != self._name:
            return None
        return spec_from_loader(name, self, origin=str(source_of(name)))

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        module.__file__ = str(source_of(self._name))
        exec(self._code, module.__dict__)  # noqa: S102 - it is our own module, changed
