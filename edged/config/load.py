"""The config file -> specs, with every problem at once, each with its line.

A model folder, picture or secret that is missing on this machine is a warning, so that a config can be checked on a
laptop. A mistake in the file itself is a problem. No message contains the value of a secret.
"""

from __future__ import annotations

import re
import socket
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edged.config.credentials import Credentials
from edged.config.document import Document, Problem, read
from edged.config.form import CameraForm, ConfigForm, FramesForm, HistoryForm, HomeAssistantForm
from edged.config.names import check_names
from edged.config.phrases import shown
from edged.config.places import KeyPath
from edged.config.problems import Report
from edged.config.question_form import QuestionForm
from edged.config.questions import GrammarProblem, QuestionBuilder, generation, no_grammar_problem
from edged.config.sentences import report_errors
from edged.config.sources import Surroundings, file_type
from edged.config.trees import copied, leave_out, size, with_shared_questions
from edged.core.answer_types import Language
from edged.core.errors import EXIT_CONFIG, EdgedError
from edged.core.intervals import shortest_window_s
from edged.core.specs import (
    DEFAULT_DISCOVERY_PREFIX,
    DEFAULT_EVERY_S,
    DEFAULT_FRAMES_BYTES,
    DEFAULT_HISTORY_BYTES,
    DEFAULT_KEEP_S,
    DEFAULT_MAX_AGE_S,
    DEFAULT_WARM_UP_S,
    CameraSpec,
    Config,
    Cron,
    Every,
    FramesSpec,
    Generation,
    HistorySpec,
    HomeAssistantSpec,
    QuestionSpec,
    RegionSpec,
    revision,
)

DEFAULT_PATH = Path("/etc/edged/edged.yaml")
MAX_FILLED = 50_000  # values, with the shared questions filled in at each camera that asks them
SHORT_HOURS = "hours has a window shorter than every, which may pass without a look; cron can name exact times"
ROUNDS = 6  # of checking a config without the values that have mistakes


class ConfigError(EdgedError):
    """The config cannot be used. `problems` are whole sentences, each with file and line."""

    code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path, grammar_problem: GrammarProblem = no_grammar_problem) -> Config:
    """The config of this file. Raises ConfigError with everything that is wrong with it.

    `grammar_problem` returns why the grammar of an answer cannot be compiled, or None.
    """
    document = read(path)
    report = Report(path, document)
    if not document.problems and not isinstance(document.tree, dict):
        document.problems.append(Problem(0, _not_a_mapping(document.tree)))
    parsed = _parsed(report) if isinstance(document.tree, dict) else None
    config = _config(parsed, report, grammar_problem) if parsed else None
    if document.problems or config is None:
        raise ConfigError(report.problems())
    return config


def one_question(
    values: dict[str, Any],
    language: Language = "en",
    defaults: Generation | None = None,
    region: RegionSpec | None = None,
) -> QuestionSpec:
    """A question that is not in a file, by the same rules. Raises ConfigError."""
    report = Report(Path("question"), Document())
    try:
        parsed = QuestionForm.model_validate(values)
    except ValidationError as error:
        report_errors(error, report)
        raise ConfigError(report.problems()) from None
    return QuestionBuilder(report, language, defaults or Generation()).question("question", parsed, (), region)


def _parsed(report: Report) -> ConfigForm | None:
    """The form. A mistake is reported and left out, so that the rest can be checked too."""
    for path in report.document.unreadable:
        leave_out(report.document.tree, path)
    shared_tree = with_shared_questions(report.document.tree, report)
    if size(shared_tree) > MAX_FILLED:
        report.problem(
            (), f"has more than {MAX_FILLED} values, after each shared question is copied to the cameras that ask it"
        )
        return None
    tree = copied(shared_tree)
    check_names(tree, report)
    for _ in range(ROUNDS):
        try:
            return ConfigForm.model_validate(tree)
        except ValidationError as error:
            for path in report_errors(error, report):
                leave_out(tree, path)
    return None


def _config(parsed: ConfigForm, report: Report, grammar_problem: GrammarProblem) -> Config | None:
    """None if there are problems."""
    around = Surroundings(report, Credentials(report.path))
    defaults = generation(parsed.model, Generation())
    builder = QuestionBuilder(report, parsed.language, defaults, parsed.questions, grammar_problem)
    cameras = tuple(_camera(name, camera, builder, around) for name, camera in parsed.cameras.items())
    node = parsed.node or _host_name()
    broker, model = around.broker(parsed.mqtt, node), around.model(parsed.model)
    page = None if parsed.page is None else around.page(parsed.page)
    _check_presence(parsed, report)
    if page and parsed.metrics and page.listen.overlaps(parsed.metrics):
        report.about(("metrics",), f"and page cannot both use port {parsed.metrics.port}; change one of them")
    if report.document.problems:
        return None
    return Config(
        node=node,
        model=model,
        mqtt=broker,
        cameras=cameras,
        timezone=parsed.timezone,
        rev=revision(report.document.text),
        path=report.path,
        language=parsed.language,
        generation=defaults,
        history=_history(parsed.history),
        frames=_frames(parsed.frames),
        metrics=parsed.metrics,
        page=page,
        homeassistant=_homeassistant(parsed.homeassistant),
        warnings=report.warnings(),
    )


def _history(parsed: HistoryForm | None) -> HistorySpec | None:
    if parsed is None:
        return None
    return HistorySpec(parsed.keep or DEFAULT_KEEP_S, parsed.max or DEFAULT_HISTORY_BYTES)


def _frames(parsed: FramesForm | None) -> FramesSpec | None:
    if parsed is None:
        return None
    return FramesSpec(parsed.unsure, parsed.changed, parsed.sample, parsed.max or DEFAULT_FRAMES_BYTES)


def _homeassistant(parsed: HomeAssistantForm | None) -> HomeAssistantSpec | None:
    return None if parsed is None else HomeAssistantSpec(parsed.prefix or DEFAULT_DISCOVERY_PREFIX)


def _host_name() -> str:
    return re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()) or "edged"


def _check_presence(parsed: ConfigForm, report: Report) -> None:
    if not parsed.cameras:
        report.warn("no_cameras", (), "no cameras are configured")
    for name, question in parsed.questions.items():
        if question.prompt is None:
            report.about(("questions", name, "prompt"), "is missing")


def _camera(name: str, parsed: CameraForm, builder: QuestionBuilder, around: Surroundings) -> CameraSpec:
    path: KeyPath = ("cameras", name)
    if not parsed.ask:
        builder.report.warn("no_questions", path, "has no questions, so it is never looked at")
    if not parsed.cron and shortest_window_s(parsed.hours) < (parsed.every or DEFAULT_EVERY_S):
        builder.report.warn("short_hours", (*path, "hours"), SHORT_HOURS)
    regions = {
        region: RegionSpec(region, shape.bounds(), tuple(shape.polygon or ()))
        for region, shape in parsed.regions.items()
    }
    source = around.source(parsed.source, (*path, "source"))
    if parsed.new_only and (source.kind != "path" or file_type(Path(source.address.reveal())) == stat.S_IFREG):
        builder.report.about((*path, "new_only"), f"is for folders only, but the source is {source.shown}")
    return CameraSpec(
        name=name,
        title=parsed.title,
        source=source,
        new_only=parsed.new_only,
        schedule=Cron(parsed.cron) if parsed.cron else Every(parsed.every or DEFAULT_EVERY_S),
        hours=parsed.hours,
        max_age_s=parsed.max_age or DEFAULT_MAX_AGE_S,
        frozen_after_s=None if parsed.frozen_after is False else parsed.frozen_after,
        rotate=parsed.rotate,
        mask=tuple(mask.points() for mask in parsed.mask),
        regions=tuple(regions.values()),
        at_least_every_s=parsed.when_changed.at_least_every if parsed.when_changed else None,
        image=None if parsed.image == "never" else parsed.image,
        size=parsed.size,
        fps=parsed.fps,
        warm_up_s=DEFAULT_WARM_UP_S if parsed.warm_up is None else parsed.warm_up,
        questions=tuple(
            builder.question(key, question, (*path, "ask", key), regions.get(question.region or ""))
            for key, question in parsed.ask.items()
        ),
    )


def _not_a_mapping(tree: Any) -> str:
    if tree is None:
        return "is empty; it needs at least model:"
    return f"is {shown(tree)}; it must be a mapping with at least model:"
