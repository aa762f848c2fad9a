"""The config file -> specs, with every problem at once, each with its line.

What this machine lacks (a model folder, a picture, a secret) is a warning, so that a config can be checked on a
laptop; what the file itself gets wrong is a problem. Values of secrets are in no message.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import ValidationError

from edged.config import form
from edged.config.document import Document, FileRefused, KeyPath, Problem, read, read_bytes, suggestion
from edged.core.answer_types import YES_NO_WORDS, AnswerType, Choices, Json, Language, Number, Text, YesNo
from edged.core.errors import EXIT_CONFIG, EdgedError
from edged.core.secret import Secret
from edged.core.specs import (
    ANY,
    DEFAULT_EVERY_S,
    DEFAULT_MAX_AGE_S,
    AlertSpec,
    BrokerSpec,
    CameraSpec,
    Config,
    Cron,
    Every,
    Generation,
    ModelSpec,
    QuestionSpec,
    SourceSpec,
    revision,
)
from edged.core.text import shorten

DEFAULT_PATH = Path("/etc/edged/edged.yaml")
HIDDEN_KEYS = {"source", "password", "username", "url"}
MAX_FILLED = 50_000  # values, with the shared questions filled in at each camera that asks them
MAX_PROBLEMS = 200
CONTROL = re.compile("[\\x00-\\x1f\\x7f]")
MAX_SECRET = 4096  # characters
ROUNDS = 6  # of judging what is left of a config without its mistakes
STAND_INS: dict[str | int, Any] = {"model": {"path": "."}, "path": ".", "source": ".", "prompt": "?", "username": "?"}
WHOLE = {"words", "alert", "when_changed"}  # small mappings of which one key says nothing without the others
OF_THE_ANSWER = ("answer", "range", "words", "min_confidence", "alert")
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


class ConfigError(EdgedError):
    """The config cannot be used. `problems` are whole sentences, each with file and line."""

    code = EXIT_CONFIG

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: Path) -> Config:
    """The whole config. Raises ConfigError with everything that is wrong with it."""
    document = read(path)
    draft = _Draft(path, document)
    if not document.problems and not isinstance(document.tree, dict):
        document.problems.append(Problem(0, _not_a_mapping(document.tree)))
    parsed = draft.judge() if isinstance(document.tree, dict) else None
    config = draft.build(parsed) if parsed else None
    if document.problems or config is None:
        raise ConfigError(draft.sentences(document.problems))
    return config


def one_question(values: dict[str, Any], language: Language = "en", defaults: Generation | None = None) -> QuestionSpec:
    """A question written outside of a file, by the same rules. Raises ConfigError."""
    draft = _Draft(Path("question"), Document())
    try:
        parsed = form.QuestionForm.model_validate(values)
    except ValidationError as error:
        draft.say(error)
        raise ConfigError(draft.sentences(draft.document.problems)) from None
    return draft.question("question", parsed, _Common(language, defaults or Generation()), ())


@dataclass(frozen=True, slots=True)
class _Common:
    """What a question takes from the config around it."""

    language: Language
    generation: Generation
    shared: Mapping[str, form.QuestionForm] = field(default_factory=dict)


@dataclass(slots=True)
class _Draft:
    """One reading of the file: its values with the shared questions filled in, and what was found wrong so far."""

    path: Path
    document: Document
    origins: dict[KeyPath, KeyPath] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    def sentences(self, problems: list[Problem]) -> list[str]:
        name = self.path.name or str(self.path)
        each = sorted(set(problems))
        more = [f"{name}: more problems, which are not shown"] if len(each) > MAX_PROBLEMS else []
        return [f"{name}:{p.line}: {p.text}" if p.line else f"{name}: {p.text}" for p in each[:MAX_PROBLEMS]] + more

    def problem(self, path: KeyPath, text: str) -> None:
        self.document.problems.append(self._placed(path, text))

    def _about(self, path: KeyPath, text: str) -> None:
        """The problem that what stands at this path, by its name, `text`: a sentence without its subject."""
        path = self._origin(path)
        self.document.problems.append(Problem(self.document.line(path), f"{_subject(path)} {text}"))

    def warn(self, path: KeyPath, text: str) -> None:
        self.warnings.append(self._placed(path, text))

    def _placed(self, path: KeyPath, text: str) -> Problem:
        path = self._origin(path)
        return Problem(self.document.line(path), _where(path) + text)

    def _origin(self, path: KeyPath) -> KeyPath:
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]] + path[length:]
        return path

    # judging the form

    def judge(self) -> form.ConfigForm | None:
        """The parsed form. What is wrong is reported, and then left out, so that the rest can be judged too."""
        for path in self.document.unreadable:
            _leave_out(self.document.tree, path)
        tree = self._with_shared_questions()
        if _size(tree, {}) > MAX_FILLED:
            self.problem((), f"has more than {MAX_FILLED} values, shared questions counted at each camera")
            return None
        tree = _copied(tree)
        self._judge_names(tree)
        for _ in range(ROUNDS):
            try:
                return form.ConfigForm.model_validate(tree)
            except ValidationError as error:
                for path in self.say(error):
                    _leave_out(tree, path)
        return None

    def say(self, error: ValidationError) -> list[KeyPath]:
        """Report what pydantic found, in our words; where each of it is."""
        paths: list[KeyPath] = []
        for detail in error.errors(include_url=False)[: MAX_PROBLEMS + 1]:
            path, context = tuple(detail["loc"]), detail.get("ctx", {})
            self._say(detail["type"], path, detail.get("input"), context)
            paths.append((*path, *context.get("below", ())))
        return paths

    def _with_shared_questions(self) -> dict[str, Any]:
        tree = dict(self.document.tree)
        shared = _mapping(tree.get("questions"))
        cameras = tree.get("cameras")
        if isinstance(cameras, dict):
            tree["cameras"] = {name: self._filled(name, camera, shared) for name, camera in cameras.items()}
        return tree

    def _filled(self, name: str, camera: Any, shared: dict[str, Any]) -> Any:
        if not isinstance(camera, dict) or not isinstance(camera.get("ask"), dict):
            return camera
        asked = {}
        for question, own in camera["ask"].items():
            common, path = _shared(shared, question), ("cameras", name, "ask", question)
            mine = {} if own is None else own
            asked[question] = {**common, **mine} if isinstance(mine, dict) else mine
            for key in common.keys() - _mapping(mine).keys():
                self.origins[(*path, key)] = ("questions", question, key)
        return {**camera, "ask": asked}

    def _judge_names(self, tree: dict[str, Any]) -> None:
        for name in _mapping(tree.get("questions")):
            self._judge_name(("questions", name), form.RESERVED_QUESTIONS, "question")
        for name, camera in _mapping(tree.get("cameras")).items():
            self._judge_name(("cameras", name), form.RESERVED_CAMERAS, "camera")
            seen: dict[str, KeyPath] = {}
            for path in _question_paths(_mapping(camera).get("ask"), ("cameras", name, "ask")):
                self._judge_name(path, form.RESERVED_QUESTIONS, "question")
                question = str(path[-1])
                if question in seen:
                    first = self.document.line(self._origin(seen[question]))
                    self.problem(path[:-1], f"duplicate question name {form.said(question)} (first in line {first})")
                seen.setdefault(question, path)

    def _judge_name(self, path: KeyPath, reserved: tuple[str, ...], what: str) -> None:
        if text := form.name_problem(str(path[-1]), reserved, what):
            place = self._origin(path)
            self.document.problems.append(Problem(self.document.line(place), text))

    def _say(self, kind: str, path: KeyPath, value: Any, context: Mapping[str, Any]) -> None:
        key = str(path[-1]) if path else ""
        if kind == "edged" and context["below"]:
            self.problem((*path, *context["below"]), context["sentence"])
        elif kind == "edged":
            self._about(path, context["sentence"])
        elif kind == "extra_forbidden":
            self.problem(path, f"unknown key {form.said(key)}.{self._hint(key, self._known_keys(path[:-1]))}")
        elif kind == "missing" and isinstance(path[-1], int):
            self._about(path[:-1], "has too few entries")
        elif kind == "missing":
            self._about(path, "is missing")
        elif kind in EXPECTED and value is None:
            self._about(path, f"has no value; it must be {EXPECTED[kind]}")
        elif kind in EXPECTED:
            shown = "" if key in HIDDEN_KEYS else f", not {form.said(value)}"
            self._about(path, f"must be {EXPECTED[kind]}{shown}")
        else:
            unit = "characters" if isinstance(value, str) else "entries"
            self._about(path, _bound(kind, context, unit))

    def _hint(self, word: str, known: Iterable[str]) -> str:
        return "" if len(self.document.problems) > MAX_PROBLEMS else suggestion(word, known)

    def _known_keys(self, path: KeyPath) -> list[str]:
        model: Any = form.ConfigForm
        for key in path:
            model = _below(model, key)
        return [info.alias or name for name, info in model.model_fields.items()] if model else []

    # building the specs

    def build(self, parsed: form.ConfigForm) -> Config | None:
        secrets = _Secrets(self.path)
        common = _Common(parsed.language, generation(parsed.model, Generation()), parsed.questions)
        cameras = tuple(self._camera(name, camera, common, secrets) for name, camera in parsed.cameras.items())
        if not cameras:
            self.warn((), "there are no cameras")
        node = parsed.node or re.sub(r"[^a-z0-9_-]", "-", socket.gethostname().lower()) or "edged"
        broker = self._broker(parsed.mqtt, node, secrets)
        model = self._model(parsed.model)
        self._judge_shared(parsed)
        if self.document.problems:
            return None
        return Config(
            node=node,
            model=model,
            mqtt=broker,
            cameras=cameras,
            timezone=parsed.timezone,
            rev=revision(self.document.text),
            path=self.path,
            language=common.language,
            generation=common.generation,
            warnings=tuple(self.sentences(self.warnings)),
        )

    def _model(self, parsed: form.ModelForm) -> ModelSpec:
        folder = self._beside(parsed.path)
        if _kind(folder) != stat.S_IFDIR:
            self.warn(("model", "path"), f"there is no folder {folder} on this machine")
        return ModelSpec(
            path=folder,
            cores=tuple(parsed.cores.words().items()),
            fit=parsed.fit,
            workers=tuple(tuple(worker.words().items()) for worker in parsed.workers),
        )

    def _broker(self, parsed: form.MqttForm, node: str, secrets: _Secrets) -> BrokerSpec:
        parts = form.address(parsed.url)
        tls = parts is not None and parts.scheme == "mqtts"
        password, problem = self._password(parsed.password, secrets)
        if parsed.password is not None and parsed.username is None:
            self.problem(("mqtt", "password"), "password without a username")
        ca = self._beside(parsed.ca) if parsed.ca else None
        if ca and _kind(ca) != stat.S_IFREG:
            self.warn(("mqtt", "ca"), f"there is no file {ca} on this machine")
        return BrokerSpec(
            host=parts.host.strip("[]").lower() if parts else "",
            port=(parts and parts.port) or (8883 if tls else 1883),
            tls=tls,
            ca=ca,
            username=parsed.username,
            password=None if password is None else Secret(password),
            prefix=parsed.prefix,
            client_id=parsed.client_id or f"edged-{node}",
            problem=problem,
        )

    def _password(self, written: Any, secrets: _Secrets) -> tuple[str | None, str | None]:
        """The broker's password, or why there is none."""
        path: KeyPath = ("mqtt", "password")
        if not isinstance(written, dict):
            if written is not None:
                self._in_the_clear(path)
            return written, None
        try:
            return secrets.read(written["secret"]), None
        except _MissingSecret as missing:
            self.warn(path, str(missing))
            return None, str(missing)

    def _camera(self, name: str, parsed: form.CameraForm, common: _Common, secrets: _Secrets) -> CameraSpec:
        path: KeyPath = ("cameras", name)
        if not parsed.ask:
            self.warn(path, "has no questions, so it is never looked at")
        return CameraSpec(
            name=name,
            title=parsed.title,
            source=self._source(parsed.source, (*path, "source"), secrets),
            schedule=Cron(parsed.cron) if parsed.cron else Every(parsed.every or DEFAULT_EVERY_S),
            hours=parsed.hours,
            max_age_s=parsed.max_age or DEFAULT_MAX_AGE_S,
            mask=tuple(mask.points() for mask in parsed.mask),
            at_least_every_s=parsed.when_changed.at_least_every if parsed.when_changed else None,
            image=parsed.image,
            questions=tuple(
                self.question(key, question, common, (*path, "ask", key)) for key, question in parsed.ask.items()
            ),
        )

    def question(self, name: str, parsed: form.PromptForm, common: _Common, path: KeyPath) -> QuestionSpec:
        language: Language = parsed.language or common.language
        answer = answer_type(parsed, language)
        instruction = answer.instruction(language) if parsed.instruction is None else parsed.instruction.strip()
        if parsed.prompt is None and name not in common.shared:
            hint = self._hint(name, common.shared)
            self.problem(path, f"has no prompt, and there is no shared question of that name.{hint}")
        alert = parsed.alert
        if alert is not None:
            self._judge_value((*path, "alert", "when"), alert.when, answer)
        return QuestionSpec(
            name=name,
            title=parsed.title,
            prompt=f"{(parsed.prompt or '').strip()} {instruction}".strip(),
            answer=answer,
            generation=generation(parsed, common.generation),
            every_s=parsed.every if isinstance(parsed, form.QuestionForm) else None,
            min_confidence=parsed.min_confidence or 0.0,
            alert=AlertSpec(alert.when, alert.after) if alert else None,
            when=self._condition(parsed, path),
            then=tuple(
                self._follow_up(key, below, answer, common, (*path, "then", key)) for key, below in parsed.then.items()
            ),
        )

    def _follow_up(
        self, name: str, parsed: form.FollowUpForm, before: AnswerType, common: _Common, path: KeyPath
    ) -> QuestionSpec:
        if "when" in parsed.model_fields_set:
            self._judge_value((*path, "when"), parsed.when, before)
        return self.question(name, parsed, common, path)

    def _condition(self, parsed: form.PromptForm, path: KeyPath) -> Any:
        return parsed.when if isinstance(parsed, form.FollowUpForm) and "when" in parsed.model_fields_set else ANY

    def _judge_value(self, path: KeyPath, value: Any, answer: AnswerType) -> None:
        if possible := _impossible(value, answer):
            self._about(path, f"{form.said(value)} is not a possible answer ({possible})")

    def _judge_shared(self, whole: form.ConfigForm) -> None:
        for name, question in whole.questions.items():
            if question.prompt is None:
                self._about(("questions", name, "prompt"), "is missing")

    def _source(self, text: str, path: KeyPath, secrets: _Secrets) -> SourceSpec:
        if address := form.address(text):
            return self._network_source(address, path, secrets)
        if text.startswith("usb:"):
            device = text.removeprefix("usb:")
            node = Path(f"/dev/video{device}" if device.isdigit() else device)
            if not _kind(node):
                self.warn(path, f"there is no {node} on this machine")
            return SourceSpec("usb", Secret(device), text)
        place = self._beside(text)
        if not _kind(place):
            self.warn(path, f"there is no {place} on this machine")
        return SourceSpec("path", Secret(str(place)), str(place))

    def _network_source(self, parts: form.Address, path: KeyPath, secrets: _Secrets) -> SourceSpec:
        missing: list[str] = []

        def secret(match: re.Match[str]) -> str:
            try:
                return quote(secrets.read(match[1]), safe="")
            except _MissingSecret as error:
                missing.append(str(error))
                return ""

        def filled(text: str) -> str:
            return form.SECRET_IN_TEXT.sub(secret, text)

        login = "" if parts.login is None else f"{filled(parts.login)}@"
        rest = filled(parts.path + ("" if parts.query is None else f"?{parts.query}"))
        for why in dict.fromkeys(missing):
            self.warn(path, why)
        if form.SECRET_IN_TEXT.sub("", (parts.login or "").partition(":")[2]):
            self._in_the_clear(path)
        # Never a login with an empty password: a camera may lock its account for a few of those.
        address = f"{parts.scheme}://" + (parts.place if missing else f"{login}{parts.place}{rest}")
        kind: Literal["rtsp", "http"] = "rtsp" if parts.scheme.startswith("rtsp") else "http"
        return SourceSpec(kind, Secret(address), parts.shown, missing[0] if missing else None)

    def _beside(self, text: str) -> Path:
        # Path.resolve raises RuntimeError for a symlink to itself.
        return Path(os.path.realpath(self.path.parent / text))

    def _in_the_clear(self, path: KeyPath) -> None:
        try:
            readable = self.path.stat().st_mode & 0o044
        except OSError:
            return  # it was there when it was read
        if readable:
            hint = "write {secret: NAME} or {secret:NAME}, or chmod 600 the file"
            self.warn(path, f"a password in the clear, in a file that others can read; {hint}")


class _MissingSecret(Exception):
    """There is no such secret, or it cannot be used; the text is a whole sentence."""


@dataclass(frozen=True, slots=True)
class _Secrets:
    """Secrets by name: $CREDENTIALS_DIRECTORY first, else credentials/ beside the config."""

    config: Path

    def read(self, name: str) -> str:
        """What the secret holds, without a newline at its end; never empty. Raises _MissingSecret."""
        places = self._places(name)
        for place in places:
            try:
                text = read_bytes(place).decode("utf-8").rstrip("\r\n")
            except FileNotFoundError:
                continue
            except UnicodeDecodeError:
                raise _unusable(name, f"{place} is not UTF-8 text") from None
            except FileRefused as error:
                raise _unusable(name, f"{place} {error.strerror}") from None
            except OSError as error:
                raise _unusable(name, f"{place} cannot be read: {error.strerror}") from None
            if why := _secret_problem(text):
                raise _unusable(name, f"{place} {why}")
            return text
        nowhere = " and ".join(f"no file {place}" for place in places)
        raise _MissingSecret(f'the secret "{shorten(name)}" is missing ({nowhere})')

    def _places(self, name: str) -> list[Path]:
        beside = self.config.absolute().parent / "credentials" / name
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        return [Path(directory) / name, beside] if directory else [beside]


def _unusable(name: str, why: str) -> _MissingSecret:
    return _MissingSecret(f'the secret "{shorten(name)}" cannot be used ({why})')


def _secret_problem(text: str) -> str | None:
    """Why this is no secret: a second line would end the header of a login."""
    if not text:
        return "is empty"
    if len(text) > MAX_SECRET:
        return f"has more than {MAX_SECRET} characters"
    return "has a line break or a control character" if CONTROL.search(text) else None


def answer_type(parsed: form.PromptForm, language: Language) -> AnswerType:
    """The type that `answer:`, `range:` and `words:` describe together."""
    answer = parsed.answer
    if isinstance(answer, dict):
        if "json" in answer:
            return Json(json.dumps(answer["json"], ensure_ascii=False))
        return Choices(tuple(answer["choices"].items()))
    if answer == "yes_no":
        words = (parsed.words.true_, parsed.words.false_) if parsed.words else YES_NO_WORDS[language]
        return YesNo(*words)
    if answer in ("integer", "number"):
        low, high = parsed.range or (None, None)
        if answer == "integer":
            low, high = (None if low is None else int(low)), (None if high is None else int(high))
        return Number(answer == "integer", low, high)
    return Text()


def generation(own: form.GenerationForm, default: Generation) -> Generation:
    """The question's own settings, else those given as default."""

    def chosen(value: Any, otherwise: Any) -> Any:
        return otherwise if value is None else value

    return Generation(
        max_new_tokens=chosen(own.max_new_tokens, default.max_new_tokens),
        temperature=chosen(own.temperature, default.temperature) or None,
        top_p=chosen(own.top_p, default.top_p),
        top_k=chosen(own.top_k, default.top_k),
        repetition_penalty=chosen(own.repetition_penalty, default.repetition_penalty),
        deadline_s=chosen(own.deadline, default.deadline_s),
    )


def _impossible(value: Any, answer: AnswerType) -> str | None:
    """Which values there are, if this is none of them."""
    match answer:
        case YesNo():
            return None if isinstance(value, bool) else "true, false"
        case Number(whole, low, high):
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            inside = number and (low is None or low <= value) and (high is None or value <= high)
            bounds = "" if low is None else f" from {low} to {high}"
            return None if inside else f"{'whole numbers' if whole else 'numbers'}{bounds}"
        case Choices(options):
            values = [option for _, option in options]
            possible = any(_equal(value, option) for option in values)
            return None if possible else ", ".join(form.said(option) for option in values)
        case _:
            return None


def _equal(one: Any, other: Any) -> bool:
    """As JSON: 1 is 1.0, and neither is true."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _where(path: KeyPath) -> str:
    """`camera "dock": question "gate": ` for the mappings that hold this key."""
    names, keys = _taken_apart(path)
    return "".join(f"{name}: " for name in names) if names or len(keys) < 2 else f"{keys[0]}: "


def _subject(path: KeyPath) -> str:
    """What stands there: `camera "dock"`, `camera "dock": mask[1].polygon[0]`, `model: path`."""
    names, keys = _taken_apart(path)
    if not names and len(keys) > 1:
        names, keys = [str(keys[0])], keys[1:]
    dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return ": ".join([*names, dotted] if dotted else names)


def _taken_apart(path: KeyPath) -> tuple[list[str], list[str | int]]:
    """The cameras, questions and follow-ups on the way, and the keys below the last of them."""
    words = {"cameras": "camera", "ask": "question", "questions": "question", "then": "follow-up"}
    names: list[str] = []
    keys: list[str | int] = []
    rest = iter(path)
    for key in rest:
        name = next(rest, None) if key in words else None
        if name is None:
            keys.append(key)
        else:
            names.append(f"{words[str(key)]} {form.said(name)}")
            keys = []
    return names, keys


def _bound(kind: str, context: Mapping[str, Any], unit: str) -> str:
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "less_than":
            return f"must be less than {context['lt']:g}"
        case "literal_error":
            return f"must be {context['expected'].replace(chr(39), '')}"
        case "string_too_short":
            return "is empty"
        case "string_too_long" | "too_long":
            return f"has more than {context['max_length']} {unit}"
        case "too_short":
            return f"has fewer than {context['min_length']} {unit}"
        case _:
            return "is not valid"


def _below(model: Any, key: str | int) -> Any:
    """The form that stands under this key of a form, if it is one."""
    if isinstance(key, int) or model is None:
        return model
    if isinstance(model, _Table):
        return model.rows
    tables = {"cameras": form.CameraForm, "ask": form.QuestionForm, "questions": form.QuestionForm}
    if key in tables:
        return _Table(tables[key])
    if key == "then":
        return _Table(form.FollowUpForm)
    return {
        "model": form.ModelForm,
        "cores": form.CoresForm,
        "workers": form.CoresForm,
        "mqtt": form.MqttForm,
        "alert": form.AlertForm,
        "words": form.WordsForm,
        "mask": form.MaskForm,
        "when_changed": form.ChangeForm,
    }.get(key)


@dataclass(frozen=True, slots=True)
class _Table:
    """A mapping of names to forms."""

    rows: Any
    model_fields: Mapping[str, Any] = field(default_factory=dict)


def _kind(place: Path) -> int | None:
    """What stands at this place, as in stat.S_IFMT; None if nothing does, or it cannot be looked at."""
    try:
        return stat.S_IFMT(place.stat().st_mode)
    except OSError:
        return None


def _not_a_mapping(tree: Any) -> str:
    if tree is None:
        return "is empty; it needs at least model:"
    return f"is {form.said(tree)}; it must be a mapping with at least model:"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _shared(questions: dict[str, Any], name: str) -> dict[str, Any]:
    """The shared question of that name; one that is no question has a problem of its own."""
    return _mapping(questions[name]) or {"prompt": STAND_INS["prompt"]} if name in questions else {}


def _size(value: Any, sizes: dict[int, int]) -> int:
    """How many values this is when each is written out wherever it is used."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in sizes:
        below: Iterable[Any] = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_size(part, sizes) for part in below)
    return sizes[id(value)]


def _copied(value: Any) -> Any:
    """The same values, none of them shared."""
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _leave_out(tree: dict[str, Any], path: KeyPath) -> None:
    """Take what stands at this path, and what means nothing without it, out of the tree."""
    node: Any = tree
    entry: tuple[dict[str, Any], Any, bool] | None = None
    model: Any = form.ConfigForm
    for key in path:
        if not isinstance(node, dict):
            break
        is_name = isinstance(model, _Table)
        entry = (node, key, is_name)
        if key in WHOLE and not is_name:
            break
        node, model = node.get(str(key)), _below(model, key)
    if entry is None:
        return
    mapping, key, is_name = entry
    mapping.pop(key, None)
    if not is_name and key in STAND_INS:
        mapping[key] = _copied(STAND_INS[key])
    if not is_name and key == "answer":
        _leave_out_answer(mapping)


def _leave_out_answer(question: dict[str, Any]) -> None:
    for key in OF_THE_ANSWER:
        question.pop(key, None)
    for follow_up in _mapping(question.get("then")).values():
        _mapping(follow_up).pop("when", None)


def _question_paths(asked: Any, path: KeyPath) -> Iterator[KeyPath]:
    for name, question in _mapping(asked).items():
        yield (*path, name)
        yield from _question_paths(_mapping(question).get("then"), (*path, name, "then"))
