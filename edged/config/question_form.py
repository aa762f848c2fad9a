"""The keys of a question and of its follow-ups."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from edged.config.answers import Answer
from edged.config.keys import Form, key, needed
from edged.config.phrases import flow
from edged.config.problems import wrong
from edged.config.values import CountOrDuration, Duration, Instruction, Prompt, Reply, Share, Title, Windows
from edged.core.answer_types import DECIMALS


class GenerationForm(Form):
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] | None = key(
        "Maximum length of a reply, in tokens. Default: 128.",
    )
    temperature: Annotated[float, Field(ge=0.0, le=5.0)] | None = key(
        "Sampling temperature; 0 always takes the most probable token. Default: 0.",
    )
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = key(
        "If the temperature is above 0: sample from the most probable tokens whose probabilities add up to this value. "
        "Default: 1.",
    )
    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = key(
        "If the temperature is above 0: sample from this many of the most probable tokens. Default: no limit.",
    )
    repetition_penalty: Annotated[float, Field(gt=0.0, le=10.0)] | None = key(
        "Above 1, tokens that were already generated become less probable; typed answers ignore it. Default: 1.",
    )
    deadline: Duration | None = key(
        "Time limit for one answer. If it is exceeded, the status is `timeout`. Default: 60s.", sample="30s"
    )


class AlertForm(Form):
    when: Any = needed(
        "The answer that raises the alert: a value, a list of values, or for `integer` and `number` a comparison in "
        'quotes, such as `"> 3"` (`>`, `>=`, `<`, `<=`, `!=`).'
    )
    after: Annotated[int, Field(ge=1, le=10_000)] = key(
        "How many answers in a row must fulfil `when` before the alert goes on. Default: 1.", 1
    )
    for_: Duration | None = key(
        "For how long they must fulfil it, from the first of them to the last. Default: any time.",
        sample="2m",
        alias="for",
    )
    clear_when: Any = key(
        "The answer that ends the alert, in the same form. Between the two the alert stays as it is. "
        "Default: any answer that does not fulfil `when`."
    )
    clear_after: CountOrDuration | None = key(
        "How many answers in a row must fulfil `clear_when` before the alert goes off (`3`), or for how long they must "
        "(`2m`). Default: as many as `after`.",
        sample=3,
    )
    quiet: Windows = key(
        "When the alert does not go on: a time window such as `22:00-06:00`, or a list of them. If the condition still "
        "holds afterwards, it goes on with the next answer. Default: never.",
        (),
        sample="22:00-06:00",
    )


class WordsForm(Form):
    true_: Reply = needed("The reply that means true.", alias="true")
    false_: Reply = needed("The reply that means false.", alias="false")

    @model_validator(mode="before")
    @classmethod
    def _true_and_false(cls, value: Any) -> Any:
        if isinstance(value, dict) and not value.keys() <= {"true", "false"}:
            raise wrong("must have the keys true and false, such as {true: Open, false: Shut}")
        return value

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.true_ == self.false_:
            raise wrong("must differ for true and false")
        return self


class PromptForm(GenerationForm):
    """Keys that a question and a follow-up share."""

    prompt: Prompt | None = key(
        "The question, in plain language. Optional for a camera that uses a shared question. "
        "Default: that of the shared question.",
        sample="How many people are in this image?",
    )
    title: Title = key("Display name. Default: none.", "")
    answer: Answer = key(
        "The type of the answer: `text`, `yes_no`, `integer`, `number`, a list of choices, `{choices: {label: value}}` "
        "(the model replies with the label, and the value is published) or `{json: SCHEMA}`. Default: text.",
        "text",
        sample="yes_no",
    )
    range: Annotated[tuple[float, float], Field(strict=False)] | None = key(
        "Lowest and highest value of an integer or a number. Default: no limits.", sample=[0, 40]
    )
    instruction: Instruction | None = key(
        "Text added to the prompt instead of the type's instruction; may be empty. "
        "Default: depends on the type, such as `Answer Yes or No.`"
    )
    language: Literal["en", "ko"] | None = key("Language of the instruction and of yes and no. Default: the config's.")
    words: WordsForm | None = key(
        "For `yes_no`: the replies that mean true and false. Default: Yes and No, or 예 and 아니요.",
        sample={"true": "Open", "false": "Shut"},
    )
    min_confidence: Share | None = key(
        "An answer with a lower confidence (0 to 1) has the status `unsure` and no value. Default: 0.", sample=0.7
    )
    alert: AlertForm | None = key(
        "Publish the event `alert_on` when a condition is fulfilled, and `alert_off` when it has ended. Default: none.",
        sample={"when": True, "after": 2},
    )
    then: dict[str, FollowUpForm] = key(
        "Follow-ups by name, asked in the same conversation after the answer. They have the keys of a question "
        "except `every` and `region`. Default: none.",
        {},
        sample={"vehicle": {"when": True, "prompt": "Is there a vehicle?", "answer": "yes_no"}},
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.range is not None:
            self._check_range(*self.range)
        if self.words is not None and self.answer != "yes_no":
            raise wrong("words is valid only with answer: yes_no", "words")
        if self.min_confidence is not None and self.answer == "text":
            raise wrong("a text answer has no confidence; choose another type for answer", "min_confidence")
        return self

    def _check_range(self, low: float, high: float) -> None:
        if self.answer not in ("integer", "number"):
            raise wrong("range is valid only with answer: integer or answer: number", "range")
        if low > high:
            raise wrong(f"range {flow([low, high])} is reversed; write {flow([high, low])}", "range")
        if self.answer == "integer" and not (low.is_integer() and high.is_integer()):
            raise wrong("the bounds of an integer's range must be whole numbers", "range")
        if max(abs(low), abs(high)) > 999_999_999:
            raise wrong("the bounds of a range must have at most 9 digits", "range")
        if (round(low, DECIMALS), round(high, DECIMALS)) != (low, high):
            raise wrong(f"the bounds of a range must have at most {DECIMALS} decimals, as the answers have", "range")


class FollowUpForm(PromptForm):
    when: Any = key("Ask only if the preceding answer has this value. Default: ask after any answer.", sample=True)

    @model_validator(mode="before")
    @classmethod
    def _no_region(cls, value: Any) -> Any:
        if isinstance(value, dict) and "region" in value:
            raise wrong("a follow-up is asked about the region of its question; remove region here", "region")
        return value


class QuestionForm(PromptForm):
    every: Duration | None = key(
        "Minimum interval: the question is asked again at the first look after this time. Default: ask at each look.",
        sample="10m",
    )
    region: str | None = key(
        "Ask about this region of the camera instead of the whole picture. Default: the whole picture.", sample="gate"
    )
