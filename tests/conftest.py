"""What every test shares: quiet libraries, a tiny model folder made once, and specs in one line."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterator

from edged.cameras.environment import OPENCV

os.environ.update(
    {**OPENCV, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that spin for each other slow a small model down

from pathlib import Path  # the variables count only before cv2 and transformers are imported

import hypothesis
import pytest
from support import tiny_model
from support.broker import mosquitto, subscriber  # noqa: F401  # fixtures
from support.browser import browser  # noqa: F401  # a fixture
from support.config import open_folder  # noqa: F401  # a fixture
from support.service_box import service_files  # noqa: F401  # a fixture


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes (bash tests/run --long)")
    parser.addoption("--alone", choices=["no", "only"], help="leave the tests marked alone out, or run only these")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "long: takes minutes, or needs what only bash tests/run --long installs; only with --long"
    )
    _choose_examples(long=config.getoption("--long"))


def _choose_examples(long: bool) -> None:
    """Hypothesis tries the same examples in each run; with --long it tries more, and others each time.

    How long an example takes says nothing on a machine that is busy, so there are no deadlines.
    """
    suite = hypothesis.settings(
        derandomize=True,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.register_profile("suite", suite, max_examples=100)
    hypothesis.settings.register_profile("long", suite, max_examples=5000, derandomize=False)
    hypothesis.settings.load_profile("long" if long else "suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --long, tests marked `long` are deselected, and pytest's summary counts them as such; see --alone too."""
    deselected = [item for item in items if _left_out(item, config)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if not _left_out(item, config)]
    if "PYTEST_XDIST_WORKER" in os.environ:
        _slow_files_first(items)


def _slow_files_first(items: list[pytest.Item]) -> None:
    """A process that gets a slow file last keeps the others waiting."""
    weights: Counter[Path] = Counter()
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("long"):
            limit = item.get_closest_marker("timeout")  # of its own: it takes longer than most
            weights[item.path] += limit.args[0] // 60 if limit else 1
    items.sort(key=lambda item: -weights[item.path])


def _left_out(item: pytest.Item, config: pytest.Config) -> bool:
    if item.get_closest_marker("long") and not config.getoption("--long"):
        return True
    alone = item.get_closest_marker("alone") is not None
    return {"no": alone, "only": not alone}.get(config.getoption("--alone"), False)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def compiled_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as `edged prepare` leaves it, for the simulated NPU."""
    from support.npu import compiled

    folder = tmp_path_factory.mktemp("compiled")
    return compiled.with_processor(compiled.compile_folder(tiny_folder, folder / "tiny"), tiny_folder)


@pytest.fixture(scope="session")
def _states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders for the state of edged, one for each test, created by edged."""
    folder = tmp_path_factory.mktemp("state")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _state_of_its_own(_states: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins without the store of another, and without that of the user."""
    for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(next(_states)))


@pytest.fixture(autouse=True)
def _log_levels_as_before() -> Iterator[None]:
    """A command that ran inside of a test has set the level of its log."""
    log = logging.getLogger("edged")
    level = log.level
    yield
    log.setLevel(level)
