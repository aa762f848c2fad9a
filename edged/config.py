"""The config file -> specs, with every problem at once, each with its line.

What this machine lacks (a model folder, a picture, a secret) is a warning, so that a config can be checked on a
laptop; what the file itself gets wrong is a problem. Values of secrets are in no message.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from edged import form
from edged.answers import YES_NO_WORDS, AnswerType, Choices, Json, Language, Number, Text, YesNo
from edged.core import EXIT_CONFIG, EdgedError, Secret
from edged.document import Document, KeyPath, Problem, read, suggestion
from edged.specs import (
    ANY,
    DEFAULT_DEADLINE_S,
    DEFAULT_EVERY_S,
    DEFAULT_MAX_AGE_S,
    DEFAULT_MAX_NEW_TOKENS,
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

DEFAULT_PATH = Path("/etc/edged/edged.yaml")
SOURCES = "rtsp://…, rtsps://…, http(s)://…, usb:0, usb:/dev/…, or the path of a picture, a folder or a clip"
HIDDEN_KEYS = {"source", "password", "username", "url"}
SECRET_IN_TEXT = re.compile(r"\{secret:\s*([^}]*)\}")
PASSWORD_IN_PATH = re.compile(r"(?i)(?<![a-z])(pass(?:word)?|pwd|token|key|auth|user)=[^&/_;]*")
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


def one_question(values: dict[str, Any]) -> QuestionSpec:
    """A question written outside of a file, by the same rules. Raises ConfigError."""
    draft = _Draft(Path("question"), Document())
    try:
        parsed = form.QuestionForm.model_validate(values)
    except ValidationError as error:
        draft.say(error)
        raise ConfigError(draft.sentences(draft.document.problems)) from None
    return draft.question("question", parsed, form.ConfigForm(model=form.ModelForm(path=".")), ())


@dataclass(slots=True)
class _Draft:
    """One reading of the file: its values with the shared questions filled in, and what was found wrong so far."""

    path: Path
    document: Document
    origins: dict[KeyPath, KeyPath] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    def sentences(self, problems: list[Problem]) -> list[str]:
        name = self.path.name
        return [f"{name}:{p.line}: {p.text}" if p.line else f"{name}: {p.text}" for p in sorted(set(problems))]

    def problem(self, path: KeyPath, text: str) -> None:
        self.document.problems.append(self._placed(path, text))

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
        tree = self._with_shared_questions()
        self._judge_names(tree)
        try:
            return form.ConfigForm.model_validate(tree)
        except ValidationError as error:
            self.say(error)
            return None

    def say(self, error: ValidationError) -> None:
        """Each thing that pydantic found, in our words."""
        for found in error.errors():
            self._say(found["type"], tuple(found["loc"]), found.get("input"), found.get("ctx", {}))

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
            common, path = _mapping(shared.get(question)), ("cameras", name, "ask", question)
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
                    self.problem(
                        path[:-1], f'"{question}" is the name of two questions of this camera (first in line {first})'
                    )
                seen.setdefault(question, path)

    def _judge_name(self, path: KeyPath, reserved: tuple[str, ...], what: str) -> None:
        if text := form.name_problem(str(path[-1]), reserved, what):
            place = self._origin(path)
            self.document.problems.append(Problem(self.document.line(place), text))

    def _say(self, kind: str, path: KeyPath, value: Any, context: Mapping[str, Any]) -> None:
        key = str(path[-1]) if path else ""
        if kind == "edged":
            below = tuple(context["below"])
            self.problem(path + below, context["sentence"] if below else f"{key} {context['sentence']}")
        elif kind == "extra_forbidden":
            self.problem(path, f'unknown key "{key}".{suggestion(key, self._known_keys(path[:-1]))}')
        elif kind == "missing":
            self.problem(path[:-1], f"{key} is missing")
        elif kind in EXPECTED:
            shown = "" if key in HIDDEN_KEYS else f", not {form.said(value)}"
            self.problem(path, f"{_counted(path)} must be {EXPECTED[kind]}{shown}")
        else:
            self.problem(path, f"{_counted(path)} {_bound(kind, context)}")

    def _known_keys(self, path: KeyPath) -> list[str]:
        model: Any = form.ConfigForm
        for key in path:
            model = _below(model, key)
        return [info.alias or name for name, info in model.model_fields.items()] if model else []

    # building the specs

    def build(self, parsed: form.ConfigForm) -> Config | None:
        secrets = _Secrets(self)
        cameras = tuple(self._camera(name, camera, parsed, secrets) for name, camera in parsed.cameras.items())
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
            rev=revision(self.path.read_text(encoding="utf-8")),
            path=self.path,
            warnings=tuple(self.sentences(self.warnings)),
        )

    def _model(self, parsed: form.ModelForm) -> ModelSpec:
        folder = (self.path.parent / parsed.path).resolve()
        if not folder.is_dir():
            self.warn(("model", "path"), f"there is no folder {folder} on this machine")
        return ModelSpec(
            path=folder,
            cores=tuple(parsed.cores.words().items()),
            fit=parsed.fit,
            workers=tuple(tuple(worker.words().items()) for worker in parsed.workers),
        )

    def _broker(self, parsed: form.MqttForm, node: str, secrets: _Secrets) -> BrokerSpec:
        parts = urlsplit(parsed.url)
        tls = parts.scheme == "mqtts"
        if isinstance(parsed.password, dict):
            password = secrets.read(parsed.password["secret"], ("mqtt", "password"))
        else:
            password = parsed.password
            if password is not None:
                secrets.in_the_clear(("mqtt", "password"))
        if password is not None and parsed.username is None:
            self.problem(("mqtt", "password"), "password without a username")
        ca = (self.path.parent / parsed.ca).resolve() if parsed.ca else None
        if ca and not ca.is_file():
            self.warn(("mqtt", "ca"), f"there is no file {ca} on this machine")
        return BrokerSpec(
            host=parts.hostname or "localhost",
            port=parts.port or (8883 if tls else 1883),
            tls=tls,
            ca=ca,
            username=parsed.username,
            password=None if password is None else Secret(password),
            prefix=parsed.prefix,
            client_id=parsed.client_id or f"edged-{node}",
        )

    def _camera(self, name: str, parsed: form.CameraForm, whole: form.ConfigForm, secrets: _Secrets) -> CameraSpec:
        path: KeyPath = ("cameras", name)
        if not parsed.ask:
            self.warn(path, "asks nothing, so it is never looked at")
        return CameraSpec(
            name=name,
            title=parsed.title,
            source=self._source(parsed.source, (*path, "source"), secrets),
            schedule=Cron(parsed.cron) if parsed.cron else Every(parsed.every or DEFAULT_EVERY_S),
            hours=parsed.hours,
            max_age_s=parsed.max_age or DEFAULT_MAX_AGE_S,
            mask=tuple(tuple(mask.polygon) for mask in parsed.mask),
            at_least_every_s=parsed.when_changed.at_least_every if parsed.when_changed else None,
            image=parsed.image,
            questions=tuple(
                self.question(key, question, whole, (*path, "ask", key)) for key, question in parsed.ask.items()
            ),
        )

    def question(self, name: str, parsed: form.PromptForm, whole: form.ConfigForm, path: KeyPath) -> QuestionSpec:
        language: Language = parsed.language or whole.language
        answer = answer_type(parsed, language)
        instruction = answer.instruction(language) if parsed.instruction is None else parsed.instruction.strip()
        if parsed.prompt is None:
            hint = suggestion(name, whole.questions)
            self.problem(path, f"has no prompt, and there is no shared question of that name.{hint}")
        alert = parsed.alert
        if alert is not None:
            self._judge_value((*path, "alert", "when"), alert.when, answer)
        return QuestionSpec(
            name=name,
            title=parsed.title,
            prompt=f"{(parsed.prompt or '').strip()} {instruction}".strip(),
            answer=answer,
            generation=generation(parsed, whole.model),
            every_s=parsed.every if isinstance(parsed, form.QuestionForm) else None,
            min_confidence=parsed.min_confidence or 0.0,
            alert=AlertSpec(alert.when, alert.after) if alert else None,
            when=self._condition(parsed, path),
            then=tuple(
                self._follow_up(key, below, answer, whole, (*path, "then", key)) for key, below in parsed.then.items()
            ),
        )

    def _follow_up(
        self, name: str, parsed: form.FollowUpForm, before: AnswerType, whole: form.ConfigForm, path: KeyPath
    ) -> QuestionSpec:
        if "when" in parsed.model_fields_set:
            self._judge_value((*path, "when"), parsed.when, before)
        return self.question(name, parsed, whole, path)

    def _condition(self, parsed: form.PromptForm, path: KeyPath) -> Any:
        return parsed.when if isinstance(parsed, form.FollowUpForm) and "when" in parsed.model_fields_set else ANY

    def _judge_value(self, path: KeyPath, value: Any, answer: AnswerType) -> None:
        if possible := _impossible(value, answer):
            self.problem(path, f"when {form.said(value)} is no answer of this question ({possible})")

    def _judge_shared(self, whole: form.ConfigForm) -> None:
        for name, question in whole.questions.items():
            if question.prompt is None:
                self.problem(("questions", name), "prompt is missing")

    def _source(self, text: str, path: KeyPath, secrets: _Secrets) -> SourceSpec:
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        if scheme in ("rtsp", "rtsps", "http", "https"):
            return self._network_source(text, scheme, path, secrets)
        if text.startswith("usb:"):
            device = text.removeprefix("usb:")
            if not device.isdigit() and not device.startswith("/dev/"):
                self.problem(path, f"source {form.said(text)} is not a camera: usb: wants a number or a path in /dev")
            elif not (node := Path(f"/dev/video{device}" if device.isdigit() else device)).exists():
                self.warn(path, f"there is no {node} on this machine")
            return SourceSpec("usb", Secret(device), text)
        if scheme or not text:
            self.problem(path, f"source {scheme or 'nothing'}: is not one of {SOURCES}")
        place = (self.path.parent / text).resolve()
        if not scheme and not place.exists():
            self.warn(path, f"there is no {place} on this machine")
        return SourceSpec("path", Secret(str(place)), str(place))

    def _network_source(self, text: str, scheme: str, path: KeyPath, secrets: _Secrets) -> SourceSpec:
        kind = "rtsp" if scheme.startswith("rtsp") else "http"
        missing: list[str] = []

        def filled(match: re.Match[str]) -> str:
            found = secrets.read(match[1].strip(), path)
            if found is None:
                missing.append(match[1].strip())
            return quote(found or "", safe="")

        address, shown = SECRET_IN_TEXT.sub(filled, text), _redacted(text)
        try:
            host, port = urlsplit(address).hostname, urlsplit(address).port
        except ValueError:
            host, port = None, None
        if not host or (port is not None and port < 1):
            self.problem(path, f"source is not an address such as {scheme}://10.0.0.9/stream1")
        elif urlsplit(SECRET_IN_TEXT.sub("", text)).password:
            secrets.in_the_clear(path)
        problem = f'the secret "{missing[0]}" is not there' if missing else None
        return SourceSpec("rtsp" if kind == "rtsp" else "http", Secret(address), shown, problem)


@dataclass(slots=True)
class _Secrets:
    """Secrets by name: $CREDENTIALS_DIRECTORY first, else credentials/ beside the config."""

    draft: _Draft

    def read(self, name: str, path: KeyPath) -> str | None:
        """What the secret holds, without a newline at its end; None, and a warning, if it is not there."""
        if not re.fullmatch(form.SECRET_NAME, name):
            self.draft.problem(path, "a secret's name is a file's name without a folder")
            return None
        places = [self.draft.path.parent / "credentials" / name]
        if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
            places.insert(0, Path(directory) / name)
        for place in places:
            try:
                return place.read_text(encoding="utf-8").rstrip("\r\n")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                self.draft.warn(path, f'the secret "{name}" cannot be read: {why}')
                return None
        self.draft.warn(
            path, f'the secret "{name}" is not there (looked for {places[-1]} and $CREDENTIALS_DIRECTORY/{name})'
        )
        return None

    def in_the_clear(self, path: KeyPath) -> None:
        if self.draft.path.stat().st_mode & 0o044:
            hint = "write {secret: NAME} or {secret:NAME}, or chmod 600 the file"
            self.draft.warn(path, f"a password stands here in the clear and others can read this file; {hint}")


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


def generation(parsed: form.GenerationForm, default: form.GenerationForm) -> Generation:
    """The question's own settings, else the model's, else edged's."""

    def chosen(key: str, last: Any = None) -> Any:
        own = getattr(parsed, key)
        common = getattr(default, key)
        return own if own is not None else common if common is not None else last

    return Generation(
        max_new_tokens=chosen("max_new_tokens", DEFAULT_MAX_NEW_TOKENS),
        temperature=chosen("temperature") or None,
        top_p=chosen("top_p"),
        top_k=chosen("top_k"),
        repetition_penalty=chosen("repetition_penalty"),
        deadline_s=chosen("deadline", DEFAULT_DEADLINE_S),
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
            return None if value in values else ", ".join(form.said(option) for option in values)
        case _:
            return None


def _redacted(text: str) -> str:
    """The address without user, password, query and anything that looks like a password in its path."""
    head, _, rest = text.partition("://")
    place, slash, path = SECRET_IN_TEXT.sub("***", rest).partition("/")
    path, mark, _ = path.partition("?")
    clean = PASSWORD_IN_PATH.sub(r"\1=***", path)
    return f"{head}://{place.rpartition('@')[2]}{slash}{clean}{'?…' if mark else ''}"


def _where(path: KeyPath) -> str:
    """`camera "dock": question "gate": ` for the mappings that hold this key."""
    words = {"cameras": "camera", "ask": "question", "questions": "question", "then": "follow-up"}
    parts = [f'{words[str(a)]} "{b}": ' for a, b in pairwise(path) if a in words and isinstance(b, str)]
    return "".join(parts) if parts or len(path) < 2 else f"{path[0]}: "


def _counted(path: KeyPath) -> str:
    """The key, or for an item of a list the key of the list: `hours`, `mask[1].polygon[0]`."""
    cut = max((i for i, key in enumerate(path) if isinstance(key, str)), default=0)
    while cut and isinstance(path[cut - 1], int):
        cut = max(i for i, key in enumerate(path[: cut - 1]) if isinstance(key, str))
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path[cut:]).lstrip(".")


def _bound(kind: str, context: Mapping[str, Any]) -> str:
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
        case "too_short":
            return f"needs at least {context['min_length']} entries"
        case _:
            return "is not what is wanted here"


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


def _not_a_mapping(tree: Any) -> str:
    if tree is None:
        return "is empty; it needs at least model: and cameras:"
    return f"is {form.said(tree)}; it has to be a mapping with at least model: and cameras:"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _question_paths(asked: Any, path: KeyPath) -> Iterator[KeyPath]:
    for name, question in _mapping(asked).items():
        yield (*path, name)
        yield from _question_paths(_mapping(question).get("then"), (*path, name, "then"))
