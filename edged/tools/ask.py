"""`edged ask`: one question about one picture, judged as the daemon judges it. No camera and no node are involved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Event as StopSignal
from typing import Any

from edged.cameras.source import fetch_picture
from edged.config.load import ConfigError, one_question
from edged.core.answer_types import CONTROL, TextStream
from edged.core.errors import EXIT_OK, EXIT_WRONG, ModelError, ModelLost, UsageError
from edged.core.interfaces import VisionModel
from edged.core.payloads import answer_payload
from edged.core.specs import Config, ModelSpec, QuestionSpec
from edged.core.text import printable
from edged.core.types import Frame, Reply
from edged.service import clock
from edged.service.judging import Provenance, Verdict, answer, judge
from edged.tools.load_model import load_in_foreground
from edged.tools.streams import report, write, write_line
from edged.tools.yaml_option import yaml_option

YAML_OPTIONS = ("answer", "range")


@dataclass(frozen=True, slots=True)
class AskOptions:
    """The question, its picture, and the form of the answer. `config_rev` is None if no config was read."""

    question: QuestionSpec
    image: str
    as_json: bool
    config_rev: str | None

    @property
    def streams(self) -> bool:
        """True if the reply is printed while it is generated."""
        return self.question.answer.kind == "text" and not self.as_json


def question(prompt: str, options: Mapping[str, str | int | None], config: Config | None) -> QuestionSpec:
    """The question that the command line describes, by the rules of the config. Raises UsageError.

    `options` has the keys of a question; None leaves the config's setting, or the default. `answer` and `range` are
    still YAML.
    """
    values = {key: value for key, value in options.items() if value is not None}
    yaml: dict[str, Any] = {key: yaml_option(f"--{key}", str(values[key])) for key in YAML_OPTIONS if key in values}
    form = {**values, **yaml, "prompt": prompt}
    try:
        return one_question(form, config.language, config.generation) if config else one_question(form)
    except ConfigError as error:
        raise UsageError("\n".join(sentence.removeprefix("question: ") for sentence in error.problems)) from None


def ask(spec: ModelSpec, options: AskOptions, stop: StopSignal) -> int:
    """Fetch the picture, load the model, print the answer; the exit code, 1 if there is no value."""
    frame = fetch_picture(options.image, stop)
    model = load_in_foreground(spec, stop)
    try:
        model.check([options.question])
        return print_answer(model, frame, options, stop)
    finally:
        model.dispose()


def print_answer(model: VisionModel, frame: Frame, options: AskOptions, stop: StopSignal) -> int:
    """Ask about this frame and print the answer; the exit code, 1 without a value. Raises ModelLost, Stopped."""
    stream = TextStream(write)
    # An answer names a camera; the payload says that there was none.
    of = Provenance("", "request", "", clock.synced(), frame, frame.age_s(), None, model)
    reply: Reply | None = None
    try:
        of = replace(of, encode_ms=model.encode(frame))
        reply = model.ask([], options.question, stop, stream if options.streams else None)
        verdict = judge(options.question, reply)
    except ModelLost:
        raise
    except ModelError as error:
        verdict = Verdict("model_down", reason=str(error))
    _print(options, verdict, of, reply, stream)
    if verdict.status == "ok":
        return EXIT_OK
    report(printable(f"edged: {verdict.status}: {verdict.reason}"))
    return EXIT_WRONG


def _print(options: AskOptions, verdict: Verdict, of: Provenance, reply: Reply | None, stream: TextStream) -> None:
    if options.as_json:
        write_line(_as_json(options, verdict, of, reply))
    elif options.streams:
        if reply:
            stream.complete(reply.text)
        write("\n" if stream.begun else "")
    elif verdict.status == "ok":
        write_line(_shown(verdict.value))


def _as_json(options: AskOptions, verdict: Verdict, of: Provenance, reply: Reply | None) -> str:
    """The payload with all its keys. `node` and `camera` are null, and `config_rev` if no config was read."""
    payload = answer_payload(answer(options.question, verdict, of, 0.0, reply), node="", late=False)
    payload |= {"node": None, "camera": None, "config_rev": options.config_rev}
    return _shown(payload)


def _shown(value: object) -> str:
    """As JSON without characters that a terminal could take for a command."""
    return CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
