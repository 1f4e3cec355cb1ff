"""Fixtures that every kind of test shares, and what the run says at its end."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buildkit import Daemon
from tests.support.disks import Disks, MakeDirectory
from tests.support.files import remove_tree, scratch_directory
from tests.support.oracle import Original, build_buildkit, build_oracle
from tests.support.tally import TALLY


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes minutes; runs with -m slow or TARCAST_SLOW=1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("TARCAST_SLOW") == "1" or "slow" in config.getoption("markexpr", ""):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with -m slow or TARCAST_SLOW=1"))


MAY_SKIP = ("Skipped: slow:", "Skipped: not applicable:")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With TARCAST_NO_SKIPS=1 a test that was skipped for want of something fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("TARCAST_NO_SKIPS") != "1" or reporter is None:
        return
    reasons = {str(r.longrepr[2]) for r in reporter.stats.get("skipped", []) if isinstance(r.longrepr, tuple)}
    missing = sorted(reason for reason in reasons if not reason.startswith(MAY_SKIP))
    if missing:
        reporter.write_line(f"skipped though nothing may be: {'; '.join(missing)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY.examples:
        terminalreporter.write_line(str(TALLY))


@pytest.fixture(scope="module", autouse=True)
def young_heap() -> None:
    """Collections look at what the module made alone.

    After thousands of tests there are millions of objects, and to go through all of them takes a third of a
    second, which many tests do several times.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def needs_root() -> None:
    """Skips where making owners, devices and trusted attributes is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes devices, owners and trusted attributes")


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for the session's trees, on a disk file system where there is one."""
    directory = scratch_directory()
    yield directory
    remove_tree(directory)


@pytest.fixture
def place(scratch: Path) -> Iterator[Path]:
    """An empty directory on the file system of `scratch`: attributes and times of its trees must fit."""
    directory = Path(tempfile.mkdtemp(prefix="place-", dir=scratch))
    yield directory
    remove_tree(directory)


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disks]:
    """File systems of any kind; for tests, by way of `disks`."""
    disks = Disks(tmp_path_factory.mktemp("disks"))
    yield disks
    disks.close()


@pytest.fixture
def disks(mounts: Disks) -> Iterator[MakeDirectory]:
    """disks("xfs") is an empty directory on a file system of that kind; gone after the test."""
    made: list[Path] = []

    def make(kind: str) -> Path:
        made.append(mounts.directory(kind))
        return made[-1]

    yield make
    for directory in made:
        remove_tree(directory)


@pytest.fixture(scope="session")
def original() -> Iterator[Original]:
    """The original writer, ready for jobs."""
    server = Original(build_oracle("writetar"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def buildkitd(scratch: Path) -> Iterator[Daemon]:
    """A real buildkitd."""
    with Daemon(build_buildkit, scratch) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def remapped_buildkitd(scratch: Path) -> Iterator[Daemon]:
    """A real buildkitd whose build steps run in a user namespace; its id map has two ranges of users."""
    users, groups = [(200000, 30000), (500000, 35536)], [(300000, 65536)]
    with Daemon(build_buildkit, scratch, subuid=users, subgid=groups) as daemon:
        yield daemon
