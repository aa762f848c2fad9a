"""A conversation about one picture, as the chat template of the model's folder renders it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from edged.core.errors import ModelFolderError
from edged.core.types import Exchange

VISION_END = "<|vision_end|>"


class Chat:
    """Turns conversations into text and tokens. What stands before the question is the same for each question."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def prefix(self) -> str:
        """Everything up to the end of the picture. Raises ModelFolderError if the template has no picture."""
        return self._rendered([], "")[0] + VISION_END

    def tail(self, history: Sequence[Exchange], prompt: str) -> list[int]:
        """The tokens after the picture."""
        after = self._rendered(history, prompt)[1]
        ids: list[int] = self._processor.tokenizer(after, add_special_tokens=False)["input_ids"]
        return ids

    def _rendered(self, history: Sequence[Exchange], prompt: str) -> tuple[str, str]:
        """The text before and after the end of the picture."""
        turns = [*((turn.prompt, turn.reply) for turn in history), (prompt, None)]
        messages: list[dict[str, Any]] = []
        for number, (asked, replied) in enumerate(turns):
            picture = [{"type": "image"}] if number == 0 else []
            messages.append({"role": "user", "content": [*picture, {"type": "text", "text": asked}]})
            if replied is not None:
                # a reply may hold the letters of a special token; they must not become one
                reply = replied.replace("<|", "< |")
                messages.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
        try:
            text = str(self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise ModelFolderError(f"model: the folder's chat template cannot be used: {error}") from None
        before, end, after = text.partition(VISION_END)
        if not end:
            raise ModelFolderError("model: the folder's chat template has no place for a picture")
        return before, after
