"""`edged acl`: prints the least that a mosquitto ACL must grant for a config."""

from __future__ import annotations

from collections.abc import Sequence

from edged.core.errors import EXIT_OK, EdgedError
from edged.core.specs import Config
from edged.mqtt import access
from edged.mqtt.access import Grant
from edged.mqtt.topics import Topics
from edged.tools.streams import write_line


def acl(config: Config) -> int:
    """Print the ACL; the exit code. Raises EdgedError for a user name that an ACL file cannot have."""
    write_line(text(config, config.homeassistant.prefix if config.homeassistant else None))
    return EXIT_OK


def text(config: Config, discovery: str | None) -> str:
    """The ACL file. `discovery` is None if edged announces nothing to Home Assistant."""
    topics = Topics(config.mqtt.prefix, config.node)
    blocks = [
        _heading(config),
        _block(_edged(config), _user(config), access.of_edged(topics)) + _at_home_assistant(discovery),
        _block("Reads the answers: Node-RED, a script, `edged watch`.", "subscriber", access.of_subscriber(topics)),
        _block("Sends requests: a script, `edged ask --camera`.", "requester", access.of_requester(topics)),
    ]
    if discovery:
        granted = access.of_home_assistant(topics, discovery)
        blocks.append(_block("Home Assistant.", "homeassistant", granted))
    return "\n\n".join(blocks)


def _heading(config: Config) -> str:
    return (
        f'# ACL of mosquitto for the node "{config.node}": name this file as acl_file in mosquitto.conf.\n'
        "# Rename the users, and leave out those that you do not have. A user may have the lines of several."
    )


def _edged(config: Config) -> str:
    if config.mqtt.username is not None:
        return "edged."
    if config.mqtt.client_certificate:
        return "edged. With use_identity_as_username in mosquitto.conf, add: user COMMON-NAME-OF-THE-CERTIFICATE"
    return "edged. The config has no username, so this is granted to every client that logs in without one."


def _at_home_assistant(discovery: str | None) -> str:
    meaning = (
        "For Home Assistant, also to remove what an earlier config announced there: if that had another prefix, add its"
        " line."
    )
    return "\n" + _block(meaning, None, access.of_edged_at_home_assistant(discovery))


def _user(config: Config) -> str | None:
    name = config.mqtt.username
    if name is not None and (not name.isprintable() or name != name.strip()):
        raise EdgedError(f"{config.path}: mqtt: an ACL file cannot have the username {name!r}")
    return name


def _block(meaning: str, user: str | None, grants: Sequence[Grant]) -> str:
    lines = [f"# {meaning}", *([f"user {user}"] if user is not None else [])]
    return "\n".join([*lines, *(f"topic {grant.access} {grant.topic}" for grant in grants)])
