"""A conversation about one picture, rendered with the chat template in the model's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from edged.core.errors import ModelFolderError
from edged.core.types import Exchange

VISION_END = "<|vision_end|>"


class Chat:
    """Turns a conversation into text and tokens. The prefix before the question is the same for every question."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def prefix(self) -> str:
        """The text up to the end of the picture. Raises ModelFolderError if the template does not insert one."""
        return self._rendered([], "")[0] + VISION_END

    def tail(self, history: Sequence[Exchange], prompt: str) -> list[int]:
        """The tokens after the picture."""
        text = self._rendered(history, prompt)[1]
        tokens: list[int] = self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    def _rendered(self, history: Sequence[Exchange], prompt: str) -> tuple[str, str]:
        """The text before and after the end of the picture."""
        turns = [*((exchange.prompt, exchange.reply) for exchange in history), (prompt, None)]
        messages: list[dict[str, Any]] = []
        for number, (user, assistant) in enumerate(turns):
            picture = [{"type": "image"}] if number == 0 else []
            messages.append({"role": "user", "content": [*picture, {"type": "text", "text": user}]})
            if assistant is not None:
                # a reply may contain the text of a special token, which must not be tokenized as one
                reply = assistant.replace("<|", "< |")
                messages.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
        try:
            text = str(self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise ModelFolderError(f"model: the chat template cannot be rendered: {error}") from None
        before, end, after = text.partition(VISION_END)
        if not end:
            raise ModelFolderError(f"model: the chat template inserts no picture ({VISION_END} is missing)")
        return before, after
