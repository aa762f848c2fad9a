"""Prompts of requests: from what arrived to questions, by the rules of the config file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edged.config.load import ConfigError, one_question
from edged.config.phrases import shown, suggestion
from edged.core.errors import EdgedError
from edged.core.requests import AdHoc
from edged.core.specs import CameraSpec, Config, QuestionSpec, RegionSpec

NAME = "ad-hoc prompt"  # no question of a config can have it


def question(config: Config, camera: CameraSpec, ad_hoc: AdHoc) -> QuestionSpec:
    """The question that a request asks about this camera, with the config's model settings and language.

    Its grammar is not compiled: see `VisionModel.check`. Raises EdgedError with everything that is wrong with it, also
    if the config does not allow such requests.
    """
    if not config.mqtt.allow_prompts:
        raise EdgedError("prompts in requests are not allowed (mqtt: allow_prompts in the config)")
    region = _region(camera, ad_hoc.region)
    try:
        return replace(one_question(given(ad_hoc), config.language, config.generation, region), name=NAME)
    except ConfigError as error:
        raise EdgedError("; ".join(sentence.removeprefix("question: ") for sentence in error.problems)) from None


def given(ad_hoc: AdHoc) -> dict[str, Any]:
    """The keys of a question in the config file, as far as they have a value."""
    keys = {
        "prompt": ad_hoc.prompt,
        "answer": ad_hoc.answer,
        "range": ad_hoc.range,
        "region": ad_hoc.region,
        "max_new_tokens": ad_hoc.max_new_tokens,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _region(camera: CameraSpec, name: str | None) -> RegionSpec | None:
    """None for the whole picture."""
    region = camera.region(name)
    if name is not None and region is None:
        known = [region.name for region in camera.regions]
        hint = suggestion(name, known) if known else ", which has none"
        raise EdgedError(f"region {shown(name)} is not a region of camera {shown(camera.name)}{hint}")
    return region
