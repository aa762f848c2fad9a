"""The keys of the config file: their types, bounds and descriptions, and the JSON schema for editors.

The descriptions are also the README's table of keys (`python -m edged.config.reference`). A description of an optional
key ends with its default.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema

from edged.config import addresses
from edged.config.keys import FalseForNone, Form, WithoutNull, key, needed
from edged.config.phrases import flow, shown
from edged.config.problems import wrong
from edged.config.question_form import GenerationForm, QuestionForm
from edged.config.shapes import ShapeForm, area
from edged.config.values import (
    NAME_LENGTH,
    Bytes,
    CoresText,
    CronText,
    Duration,
    FilePath,
    FrozenAfter,
    Image,
    Keep,
    Node,
    PictureSize,
    Prefix,
    Share,
    Title,
    WarmUp,
    Windows,
    Zone,
)
from edged.core import npu_cores
from edged.core.intervals import why_never
from edged.core.specs import DEFAULT_FROZEN_AFTER_S, DEFAULT_PAGE, DEFAULT_SAMPLE, Cron, ListenAddress, Point

PATH_LENGTH = 4096
LEAST_MASK = 1e-6  # of the picture's area: about a pixel
NO_AREA = "the polygon has no area, or its sides cross into halves that cancel; write its corners in their order around"
LEAST_SIDE = 0.01  # of a region, as a fraction of the picture: 19 of 1920 pixels

_SECRET_OR_TEXT = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "secret": {
                    "description": "A file name: $CREDENTIALS_DIRECTORY/NAME, else credentials/NAME beside the config.",
                    "pattern": f"^{addresses.SECRET_NAME}$",
                    "type": "string",
                }
            },
        },
    ]
}
Source = Annotated[str, BeforeValidator(addresses.source), Field(max_length=PATH_LENGTH)]
BrokerUrl = Annotated[str, BeforeValidator(addresses.broker_url)]
Password = Annotated[Any, BeforeValidator(addresses.password), WithJsonSchema(_SECRET_OR_TEXT)]
_LISTEN_SCHEMA = WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
MetricsListen = Annotated[
    ListenAddress, BeforeValidator(lambda value: addresses.listen(value, "127.0.0.1:9817")), _LISTEN_SCHEMA
]
PageListen = Annotated[
    ListenAddress, BeforeValidator(lambda value: addresses.listen(value, "127.0.0.1:8311")), _LISTEN_SCHEMA
]
KeyFile = Annotated[Any, BeforeValidator(addresses.key_file), WithJsonSchema(_SECRET_OR_TEXT)]
HostName = Annotated[str, BeforeValidator(addresses.host_name), Field(max_length=253)]
PathText = Annotated[FilePath, Field(min_length=1, max_length=PATH_LENGTH)]
Part = Annotated[CoresText, Field(max_length=NAME_LENGTH)]


class MaskForm(ShapeForm):
    @model_validator(mode="after")
    def _covers_something(self) -> Self:
        if self.polygon and abs(area(self.polygon)) < LEAST_MASK:
            raise wrong(f"{NO_AREA} what it masks", "polygon")
        return self

    def points(self) -> tuple[Point, ...]:
        """The corners, as fractions of width and height."""
        if self.box:
            left, top, right, bottom = self.box
            return ((left, top), (right, top), (right, bottom), (left, bottom))
        return tuple(self.polygon or ())


class RegionForm(ShapeForm):
    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        left, top, right, bottom = self.bounds()
        shape = "polygon" if self.polygon else "box"
        if round(min(right - left, bottom - top), 9) < LEAST_SIDE:  # 0.11 - 0.1 is less than 0.01
            least = f"{LEAST_SIDE * 100:g} % of the picture's width and of its height"
            raise wrong(f"the {shape} is too small; a region has at least {least}", shape)
        if self.polygon and abs(area(self.polygon)) < LEAST_SIDE**2:
            raise wrong(f"{NO_AREA} the region", shape)
        return self

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        if self.box:
            return self.box
        columns, rows = zip(*(self.polygon or []), strict=True)
        return (min(columns), min(rows), max(columns), max(rows))


class ChangeForm(Form):
    at_least_every: Duration = needed("Ask again after this time even if the picture has not changed.", sample="5m")


class CameraForm(Form):
    source: Source = needed(
        "`rtsp://…`, `rtsps://…`, `http(s)://…` (JPEG or MJPEG, detected by the content type), "
        "`usb:/dev/v4l/by-id/…`, `usb:0`, or the path of a picture, a clip, or a folder of pictures (one per look, in "
        "the order of their names, repeating). Write a password as `{secret:NAME}`.",
        sample="rtsp://viewer:{secret:dock}@10.0.0.9:554/stream1",
    )
    title: Title = key("Display name. Default: none.", "")
    every: Duration | None = key("Time from one look to the next. Default: 60s.", sample="30s")
    cron: CronText | None = key(
        "Instead of `every`: minute, hour, day, month and weekday, such as `*/5 6-22 * * mon-fri`, in quotes. Weekday "
        "0 is Sunday. Default: none.",
        sample="*/5 6-22 * * mon-fri",
    )
    hours: Windows = key(
        "When to look: a time window such as `mon-fri 06:00-22:00`, or a list of them. Default: always.",
        (),
        sample="mon-fri 06:00-22:00",
    )
    max_age: Duration | None = key(
        "Maximum age of a picture. If the newest picture is older, the status is `stale_frame`. Default: 5s.",
        sample="5s",
    )
    rotate: Literal[0, 90, 180, 270] = key(
        "Turn the picture clockwise by so many degrees. `mask` and `regions` refer to the turned picture. Default: 0.",
        0,
    )
    frozen_after: FrozenAfter = key(
        "If all pixels of a live camera have been identical for this long, it is frozen, and the status is "
        "`stale_frame`. Applies only after its pictures have shown noise, so not to a test card. `false`: never. "
        "Default: 30s.",
        DEFAULT_FROZEN_AFTER_S,
        sample="2m",
    )
    mask: list[MaskForm] = key(
        "Areas that are filled with black before the picture is used. Default: none.",
        [],
        sample=[{"box": [0, 0.6, 0.3, 1]}],
    )
    regions: dict[str, RegionForm] = key(
        "Parts of the picture by name. A question with `region: NAME` is asked about this part alone. Default: none.",
        {},
        sample={"gate": {"box": [0.1, 0.2, 0.6, 0.9]}},
    )
    when_changed: ChangeForm | None = key(
        "While the picture does not change, repeat the last answers (with `reuse_of`) instead of asking. "
        "Default: ask at each look.",
        sample={"at_least_every": "5m"},
    )
    new_only: bool = key(
        "For a folder to which another program adds pictures, such as a camera's uploads: each look takes the newest "
        "picture, subfolders included, and no picture twice. Its age counts from the last change of the file, so set "
        "`max_age`. Default: false.",
        False,
    )
    image: Image = key(
        "Publish the analysed picture as JPEG, masked, its longer side at most 1280 pixels: `never`, `each`, or "
        "`on_event`, which is only for looks that cause an event. `true` means `each`. Default: never.",
        "never",
        sample="on_event",
    )
    size: PictureSize | None = key(
        "USB cameras only: size of the picture. If the camera does not offer it, the next larger one is used. "
        "Default: 1280x720.",
        sample="1280x720",
    )
    fps: Annotated[int, Field(ge=1, le=240)] | None = key(
        "USB cameras only: pictures per second. Fewer need less USB bandwidth. Default: the camera's own, about 30.",
        sample=10,
    )
    warm_up: WarmUp | None = key(
        "USB cameras only: after the camera is opened, its pictures are not used until the exposure has settled, but "
        "for at most this time. `0s`: the first picture is used. Default: 1s.",
        sample="2s",
    )
    ask: dict[str, QuestionForm] = key(
        "Questions by name. They have the same keys as under `questions`. `{}` asks the shared question of that name "
        "unchanged. Default: none.",
        {},
        sample={"people": {"prompt": "How many people?", "answer": "integer"}},
    )

    @model_validator(mode="after")
    def _only_of_usb_cameras(self) -> Self:
        for name in ("size", "fps", "warm_up"):
            if getattr(self, name) is not None and not self.source.startswith("usb:"):
                raise wrong(f"{name} applies to USB cameras only (source: usb:…)", name)
        return self

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.every is not None and self.cron is not None:
            raise wrong("every and cron both say when to look; keep one of them", "cron")
        if self.cron and (why := why_never(Cron(self.cron), self.hours)):
            raise wrong(why, "cron")
        return self


class CoresForm(Form):
    text: Part | None = key(
        "Where the language model runs: `cluster:core`, `device:cluster:core`, `multi:0`, `global4:1` or `global8`. "
        "Default: as the model folder says.",
        sample="0:0",
    )
    vision: Part | None = key(
        "Where the vision encoder runs, in the same form. Default: as the model folder says.", sample="1:0"
    )

    def settings(self) -> dict[str, str]:
        return {part: cores for part, cores in (("text", self.text), ("vision", self.vision)) if cores}


class ModelForm(GenerationForm):
    path: PathText = needed(
        "Folder of the compiled model, or of an uncompiled Qwen2-VL, with the files of its processor.",
        sample="/var/lib/edged/models/qwen2-vl-2b",
    )
    cores: CoresForm = key(
        "The cores of the NPU for a compiled model. Default: as the model folder says.",
        CoresForm(),
        sample={"text": "0:0", "vision": "1:0"},
    )
    workers: list[CoresForm] = key(
        "Instead of `cores`: a list with the cores of each worker. Each worker loads the model, and a free worker "
        "takes the next look. "
        "Default: one worker.",
        [],
        sample=[{"text": "0:0", "vision": "0:1"}, {"text": "1:0", "vision": "1:1"}],
    )
    fit: Literal["stretch", "letterbox"] = key(
        "How a picture is resized for a model with a fixed picture size: `stretch`, or `letterbox` (with borders). "
        "Default: stretch.",
        "stretch",
    )

    @model_validator(mode="after")
    def _workers_apart(self) -> Self:
        if self.workers and self.cores.settings():
            raise wrong("cores and workers both say where the model runs; keep one of them", "workers")
        owners: dict[str, int] = {}
        for number, worker in enumerate(self.workers):
            settings = worker.settings()
            if len(settings) < 2:
                raise wrong("each worker needs cores for both text and vision", "workers", number)
            for core in sorted({core for cores in settings.values() for core in npu_cores.parsed(cores).occupied()}):
                owner = owners.setdefault(core, number)
                if owner != number:
                    shared = f"workers {owner + 1} and {number + 1} both use core {core}"
                    raise wrong(f"{shared}; a core can belong to one worker only", "workers", number)
        return self


class ClientCertificateForm(Form):
    certificate: PathText = needed("File with the certificate in PEM format.", sample="box.pem")
    key: KeyFile = needed(
        "File with its private key in PEM format, not encrypted; or `{secret: NAME}`: the file "
        "`$CREDENTIALS_DIRECTORY/NAME`, else `credentials/NAME` beside the config.",
        sample={"secret": "box-key"},
    )


class MqttForm(Form):
    url: BrokerUrl = key(
        "Address of the broker: `mqtt://host:1883`, or `mqtts://host:8883` for TLS. Default: mqtt://localhost:1883.",
        "mqtt://localhost:1883",
    )
    username: Annotated[str, Field(min_length=1)] | None = key("User name at the broker. Default: no login.")
    password: Password = key(
        "`{secret: NAME}`: read from `$CREDENTIALS_DIRECTORY/NAME`, else from `credentials/NAME` beside the config. "
        "Default: none.",
        sample={"secret": "mqtt-password"},
    )
    prefix: Prefix = key("First part of every topic. Default: edged.", "edged")
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = key(
        "Client id at the broker. Default: `edged-` and the node."
    )
    ca: PathText | None = key(
        "For `mqtts://`: file with the certificate of the CA that signed the broker's certificate. "
        "Default: the system's CAs.",
        sample="ca.pem",
    )
    allow_prompts: bool = key(
        "Answer requests whose prompt is not in the config, also those of the page. Whoever may publish to the broker, "
        "or open the page, can then ask anything about the cameras. Default: false.",
        False,
    )
    client_certificate: ClientCertificateForm | None = key(
        "For `mqtts://`: the certificate that edged shows to the broker (mutual TLS). Default: none.",
        sample={"certificate": "box.pem", "key": {"secret": "box-key"}},
    )
    insecure: bool = key(
        "For `mqtts://`: `true` does not verify the broker's certificate, so that anybody in between can read the "
        "password and the answers. Default: false.",
        False,
    )


class HistoryForm(Form):
    keep: Keep | None = key("How long answers and events are kept on the box. Default: 7d.", sample="30d")
    max: Bytes | None = key(
        "Largest size of the file, in kB, MB or GB (1 MB = 1,000,000 bytes). The oldest answers are deleted first. "
        "Default: 200MB.",
        sample="1GB",
    )


class FramesForm(Form):
    unsure: bool = key("Keep the frame if an answer is `unsure`. Default: true.", True)
    changed: bool = key(
        "Keep the frame if the value of an answer other than free text has changed. Default: true.", True
    )
    sample: Share = key("Keep this share of all frames, 0 to 1, chosen at random. Default: 0.02.", DEFAULT_SAMPLE)
    max: Bytes | None = key(
        "Largest size of all kept frames, in kB, MB or GB. The oldest are deleted first, those with a label last. "
        "Default: 2GB.",
        sample="2GB",
    )

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not (self.unsure or self.changed or self.sample):
            raise wrong("keeps no frame: unsure and changed are false, and sample is 0; write frames: false for none")
        return self


def _mapping_or_false(sample: str) -> BeforeValidator:
    """For a key that is a mapping, or `false` for None."""

    def checked(value: Any) -> Any:
        rule = f"must be a mapping such as {sample}, or false"
        if value is None:
            raise wrong(f"has no value; it {rule}")
        if value is not False and not isinstance(value, dict):
            raise wrong(f"{rule}, not {shown(value)}")
        return None if value is False else value

    return BeforeValidator(checked)


History = Annotated[HistoryForm | None, _mapping_or_false("{keep: 7d, max: 200MB}"), FalseForNone()]
Frames = Annotated[FramesForm | None, _mapping_or_false("{sample: 0.02, max: 2GB}"), FalseForNone()]


class HomeAssistantForm(Form):
    prefix: Prefix | None = key(
        "The discovery prefix that is set in Home Assistant's MQTT integration. Default: homeassistant.",
        sample="homeassistant",
    )


def _homeassistant(value: Any) -> Any:
    rule = "must be true, false, or a mapping such as {prefix: homeassistant}"
    if value is None:
        raise wrong(f"has no value; it {rule}")
    if not isinstance(value, bool | dict):
        raise wrong(f"{rule}, not {shown(value)}")
    return {} if value is True else None if value is False else value


_HOMEASSISTANT_SCHEMA = {
    "anyOf": [
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {
                "prefix": {
                    "description": "The discovery prefix that is set in Home Assistant's MQTT integration. "
                    "Default: homeassistant.",
                    "type": "string",
                }
            },
            "additionalProperties": False,
        },
    ]
}
HomeAssistant = Annotated[
    HomeAssistantForm | None, BeforeValidator(_homeassistant), WithJsonSchema(_HOMEASSISTANT_SCHEMA)
]


class PageForm(Form):
    listen: PageListen = key(
        "Address and port of the page. An address that other machines can reach needs `token:`. "
        "Default: 127.0.0.1:8311.",
        DEFAULT_PAGE,
        sample="127.0.0.1:8311",
    )
    token: Password = key(
        "What browsers and programs must know to open the page: `{secret: NAME}`, as `mqtt.password`. Default: none.",
        sample={"secret": "page-token"},
    )
    hosts: Annotated[list[HostName], Field(max_length=16)] = key(
        "Names or IP addresses, besides the host name of this machine, under which browsers may open the page, such as "
        "that of a reverse proxy. Default: none.",
        [],
        sample=["box.example.com"],
    )


class ConfigForm(Form):
    """The config of edged, edged.yaml."""

    version: Literal[1] = key("Version of this format. Default: 1.", 1)
    node: Annotated[Annotated[Node, Field(max_length=NAME_LENGTH)] | None, WithoutNull()] = key(
        "Name of this box on the broker (`a-z 0-9 _ -`): topics begin with `edged/<node>/`. Default: the host name.",
        sample="dock-box",
    )
    language: Literal["en", "ko"] = key(
        "Language of yes and no, and of the instructions added to prompts: `en` or `ko`. Default: en.", "en"
    )
    timezone: Annotated[Zone | None, WithoutNull()] = key(
        "Time zone of `cron` and `hours`. Default: the system's.", sample="Asia/Seoul"
    )
    model: ModelForm = needed("The model and how it generates replies.", sample={"path": "FOLDER"})
    mqtt: MqttForm = key(
        "The broker and the login. Default: mqtt://localhost:1883 without a login.",
        MqttForm(),
        sample={"url": "mqtt://localhost:1883"},
    )
    history: History = key(
        "Answers and events that are kept on the box for `edged history`. `false`: only what the broker has not "
        "acknowledged, and the newest answer of each question. Default: 7 days, at most 200 MB.",
        HistoryForm(),
        sample={"keep": "7d", "max": "200MB"},
    )
    frames: Frames = key(
        "Keep frames that are worth a label, for the evaluation: masked, in the folder `frames` beside `edged.db`. "
        "`false`: none; those without a label are deleted. Default: none.",
        sample={"unsure": True, "changed": True, "sample": 0.02, "max": "2GB"},
    )
    metrics: Annotated[MetricsListen | None, WithoutNull()] = key(
        "Serve metrics for Prometheus at this address and port, under `/metrics`. There is no login: use `127.0.0.1`, "
        "or an address that only the monitoring can reach. Default: none.",
        sample="127.0.0.1:9817",
    )
    page: Annotated[PageForm | None, WithoutNull()] = key(
        "Serve the web page of this box. Default: no page.", sample={"listen": "127.0.0.1:8311"}
    )
    homeassistant: HomeAssistant = key(
        "Show cameras and answers in Home Assistant by MQTT discovery. `false`: no; what was shown before is removed. "
        "Default: true.",
        HomeAssistantForm(),
        sample={"prefix": "homeassistant"},
    )
    questions: dict[str, QuestionForm] = key(
        "Questions that several cameras ask, by name. A camera may override any of their keys. Default: none.",
        {},
        sample={"people": {"prompt": "How many people?", "answer": "integer"}},
    )
    cameras: dict[str, CameraForm] = key(
        "Cameras by name (`a-z 0-9 _ -`). Default: none.", {}, sample={"dock": {"source": "usb:0"}}
    )

    @field_validator("node", "timezone", "metrics", "page", mode="before")
    @classmethod
    def _has_value(cls, value: Any, info: ValidationInfo) -> Any:
        """A key with nothing after it was meant to switch something on, or is not finished."""
        if value is None:
            sample = cls.model_fields[str(info.field_name)].examples or [""]
            raise wrong(f"has no value; write one such as {flow(sample[0])}, or remove the key")
        return value


class _Untitled(GenerateJsonSchema):
    """Without titles: pydantic derives them from the names, and editors would show both."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """The JSON schema of edged.yaml, with which an editor completes and checks it."""
    schema = ConfigForm.model_json_schema(schema_generator=_Untitled)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
