"""The Jinja templates by which Home Assistant reads edged's payloads.

Home Assistant evaluates a template when a message arrives, and only then. `None` reads as unknown. A template that
meets a missing key keeps the old value without a word, so every template also stands an empty payload, by which edged
clears a topic; `value_json` is undefined then.
"""

from __future__ import annotations

HEALTH_EXPIRY_S = 180
STATE_LENGTH = 250  # characters; Home Assistant refuses a state of more than 255

STATE = "{{ value_json.state if value_json is defined else 'offline' }}"
CONNECTED = "{{ 'ON' if value_json is defined and value_json.state == 'online' else 'OFF' }}"
WHY_OFFLINE = (
    "{{ {'reason': value_json.reason, 'since': value_json.since} | to_json if value_json is defined else '{}' }}"
)
ACTIVE = "{{ 'None' if value_json is not defined else 'ON' if value_json.active else 'OFF' }}"
CONFIG_PROBLEM = "{{ 'None' if value_json is not defined else 'ON' if value_json.config_problems else 'OFF' }}"
CONFIG_PROBLEMS = "{{ {'problems': value_json.config_problems} | to_json if value_json is defined else '{}' }}"

_PROVENANCE = (
    "'status': value_json.status, 'reason': value_json.reason, 'confidence': value_json.confidence, "
    "'frame_ts': value_json.frame_ts, 'late': value_json.late"
)


def number(kind: str, expiry_s: float) -> str:
    """`kind` is integer or number."""
    return _value(kind, "value_json.value", expiry_s)


def yes_no(expiry_s: float) -> str:
    return _value("yes_no", "'ON' if value_json.value else 'OFF'", expiry_s)


def text(expiry_s: float) -> str:
    return _value("text", f"value_json.value[:{STATE_LENGTH}]", expiry_s)


def choice(expiry_s: float) -> str:
    """See `choice_state`."""
    return _value("choices", f"(value_json.value | string | trim)[:{STATE_LENGTH}]", expiry_s)


def choice_state(value: object) -> str:
    """What `choice` renders for this value."""
    return str(value).strip()[:STATE_LENGTH]


def json_value(expiry_s: float) -> str:
    shown = "value_json.value if value_json.value is string else value_json.value | to_json"
    return _value("json", f"({shown})[:{STATE_LENGTH}]", expiry_s)


def alert(expiry_s: float) -> str:
    """An alert outlasts refusals, which have no frame: the age is that of the answer."""
    fresh = f"value_json is defined and value_json.get('alert') and {_recent('answered_ts', expiry_s)}"
    return "{{ 'None' if not (" + fresh + ") else 'ON' if value_json.alert.on else 'OFF' }}"


ALERT_SINCE = (
    "{{ {'since': value_json.alert.since} | to_json if value_json is defined and value_json.get('alert') else '{}' }}"
)


def provenance() -> str:
    """Attributes of a short answer: where its value comes from, or why there is none."""
    return "{{ {" + _PROVENANCE + "} | to_json if value_json is defined else '{}' }}"


def whole_text() -> str:
    """The same, with the whole text, which may be longer than a state."""
    return "{{ {" + _PROVENANCE + ", 'text': value_json.value} | to_json if value_json is defined else '{}' }}"


def properties() -> str:
    """The same, with the properties of a JSON object."""
    own = "dict(value_json.value) if value_json.value is mapping else {'value': value_json.value}"
    return "{{ dict({" + _PROVENANCE + "}, **(" + own + ")) | to_json if value_json is defined else '{}' }}"


def health(expression: str) -> str:
    """A figure of `bridge/health`. A box whose clock is not synchronised is not judged by age."""
    fresh = f"value_json is defined and {_recent('ts', HEALTH_EXPIRY_S)}"
    return "{{ " + f"{expression} if {fresh} else None" + " }}"


def health_problem(expression: str) -> str:
    """On while the expression is true."""
    return health(f"('ON' if {expression} else 'OFF')")


def over_cameras(figure: str) -> str:
    """The sum of a figure of `bridge/health` over all cameras."""
    return f"value_json.cameras.values() | sum(attribute='{figure}')"


def _value(kind: str, expression: str, expiry_s: float) -> str:
    """An answer of another type is older than a change of the question: a count of 3 would read as yes."""
    known = f"value_json is defined and value_json.status == 'ok' and value_json.type == '{kind}'"
    usable = f"{known} and {_recent('frame_ts', expiry_s)}"
    return "{{ (" + expression + ") if " + usable + " else None }}"


def _recent(stamp: str, expiry_s: float) -> str:
    return f"(not value_json.clock_synced or now().timestamp() - value_json.{stamp} < {expiry_s:.0f})"
