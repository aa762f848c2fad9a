"""What is mutated, and which tests have to notice it: those that run in one process within seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Area:
    """`modules` are paths below edged/, `tests` below tests/; both without `.py`. `only` is for pytest's -k."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    only: str = ""


AREAS = {
    "alerts": Area(("core/alerts", "core/conditions"), ("test_alerts",)),
    "plan": Area(("service/plan",), ("test_plan",)),
    "schedule": Area(
        ("core/cron", "core/intervals"),
        ("test_schedule",),
        "(cron or interval or week or expire or occur or phases or missed) and not system_time_zone and not shift",
    ),
    "answers": Area(
        ("core/answer_types", "config/answers", "vlm/grammar", "vlm/grammar_tokenizer"),
        ("test_answers", "test_config_answers", "test_grammar_tokenizer", "test_decode"),
    ),
    "judging": Area(
        ("service/judging", "service/gate", "cameras/frozen", "cameras/picture"),
        ("test_judging", "test_cameras_frozen", "test_picture", "test_cameras_jpeg"),
        "not a_change and not yard",
    ),
    "outbox": Area(("mqtt/outbox",), ("test_mqtt_outbox",)),
    "scheduler": Area(("service/scheduler",), ("test_schedule",)),
    "conditions": Area(("config/conditions",), ("test_config_alerts", "test_config_messages")),
}
