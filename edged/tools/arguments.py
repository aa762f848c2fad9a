"""The arguments and options of each command; the functions are named as the commands are."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from edged.config.load import DEFAULT_PATH
from edged.config.values import kept_s
from edged.core.answer_types import LANGUAGES
from edged.core.specs import DEFAULT_MAX_NEW_TOKENS
from edged.tools.parser import name, path, picture

CONFIG_DEFAULT = f"default: {DEFAULT_PATH}, else ./edged.yaml"
INIT_EXAMPLES = """\
examples:
  edged init 'rtsp://viewer:PASSWORD@10.0.0.9:554/stream1'
  edged init pictures/ --model ./Qwen2-VL-2B-Instruct
"""
ASK_EXAMPLES = """\
examples:
  edged ask --image yard.jpg "What is in this picture?"
  edged ask --image yard.jpg --answer yes_no "Is the gate open?"
  edged ask --image yard.jpg --answer "[clear, rain]" "How is the weather?"
  edged ask --camera dock --question people
  edged ask --camera dock --answer integer "How many cars are there?"
"""
LOOK_EXAMPLES = """\
examples:
  edged look dock --save dock.png
  edged look dock --region gate --save gate.png
  edged look dock --outline --save regions.jpg
"""
HISTORY_EXAMPLES = """\
examples:
  edged history
  edged history dock/people --since 7d
  edged history dock --csv > dock.csv
"""
LABELS_EXAMPLES = """\
examples:
  edged labels export labels.jsonl
  edged labels import labels.jsonl
"""
ACL_EXAMPLES = """\
examples:
  edged acl
  edged acl --config edged.yaml > edged.acl
"""
PREPARE_EXAMPLES = """\
example:
  edged prepare --compiled mxq/ --processor mobilint/Qwen2-VL-2B-Instruct \\
    --out /var/lib/edged/models/qwen2-vl-2b
"""
INSTALL_EXAMPLES = """\
examples:
  sudo /opt/edged/venv/bin/edged install
  sudo edged install --dry-run
  sudo edged install --uninstall
"""


def run(parser: argparse.ArgumentParser) -> None:
    form = "lines of text (default), or one JSON object for each event"
    parser.add_argument("--log", choices=("text", "json"), default="text", help=form)
    _add_config(parser)


def check(parser: argparse.ArgumentParser) -> None:
    config = parser.add_mutually_exclusive_group()
    config.add_argument("file", type=path, nargs="?", metavar="FILE", help=f"the config; {CONFIG_DEFAULT}")
    config.add_argument("--config", type=path, metavar="FILE", help="the same, as with other commands")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the config, for editors")


def init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="*",
        metavar="SOURCE",
        help="an address (rtsp://, rtsps://, http://, https://), a folder of pictures, a picture, a clip, "
        "or a USB camera (usb:0, /dev/video0)",
    )
    parser.add_argument(
        "--out", type=path, default=Path("edged.yaml"), metavar="FILE", help="the config to write; default: edged.yaml"
    )
    parser.add_argument(
        "--model", type=path, metavar="DIR", help="the model folder; default: /var/lib/edged/models/qwen2-vl-2b"
    )


def take_sources(options: argparse.Namespace, unknown: list[str]) -> None:
    """Move the sources of `init` that follow an option from `unknown` to the others, where argparse leaves them out."""
    if hasattr(options, "source") and not any(word.startswith("-") for word in unknown):
        options.source += unknown
        unknown.clear()


def ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the question")
    about = parser.add_mutually_exclusive_group(required=True)
    _add_image(about)
    camera = "ask the running edged about a fresh picture of this camera"
    about.add_argument("--camera", type=name, metavar="NAME", help=camera)
    question = "a question of the config by its name, instead of PROMPT; with --camera only"
    parser.add_argument("--question", type=name, metavar="NAME", help=question)
    region = "a region of the camera; with --camera and PROMPT only"
    parser.add_argument("--region", type=name, metavar="NAME", help=region)
    types = "text (default), yes_no, integer, number, a list of choices '[a, b]', or '{json: SCHEMA}'"
    parser.add_argument("--answer", metavar="TYPE", help=types)
    parser.add_argument("--range", metavar="RANGE", help="bounds of an integer or number: '[LOW, HIGH]'")
    parser.add_argument(
        "--language",
        choices=LANGUAGES,
        help="language of the instruction and of yes and no; default: the config's, else en",
    )
    limit = f"maximum length of the reply, in tokens; default: the config's, else {DEFAULT_MAX_NEW_TOKENS}"
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help=limit)
    parser.add_argument("--json", action="store_true", help="print the whole answer, as it would be published")
    parser.add_argument(
        "--model", type=path, metavar="DIR", help="a model folder with its own cores, instead of the config's"
    )
    _add_config(
        parser,
        f"use this config's model, model settings and language; {CONFIG_DEFAULT}; no default if --model is given",
    )


def why_not_ask(options: argparse.Namespace) -> str | None:
    """Which options of `ask` do not go together; None if they do."""
    if options.camera is None:
        only = [name for name in ("question", "region") if getattr(options, name) is not None]
        missing = "the following arguments are required: PROMPT" if options.prompt is None else None
        return f"--{only[0]} needs --camera" if only else missing
    if (options.prompt is None) == (options.question is None):
        return "--camera needs either PROMPT or --question NAME"
    if other := [name for name in ("model", "language") if getattr(options, name) is not None]:
        return f"--{other[0]} is not allowed with --camera: the running edged has its own"
    names = ("answer", "range", "region", "max_new_tokens")
    if options.question and (other := [name for name in names if getattr(options, name) is not None]):
        return f"--{other[0].replace('_', '-')} is not allowed with --question: the question of the config has its own"
    return None


def reload(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)


def look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("camera", type=name, metavar="CAMERA", help="the name of a camera in the config")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--region", type=name, metavar="NAME", help="a region of the camera; default: the whole picture")
    what.add_argument("--outline", action="store_true", help="the whole picture with masks and regions drawn into it")
    save = "write the picture to this file: .png (exact) or .jpg (compressed)"
    parser.add_argument("--save", type=path, metavar="FILE", help=save)
    _add_config(parser)


def watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--all", action="store_true", help="show every node under the config's prefix, not only this one"
    )
    _add_plain(parser)
    _add_config(parser)


def history(parser: argparse.ArgumentParser) -> None:
    of = "a camera, or a question of a camera; default: all"
    parser.add_argument("of", nargs="?", type=name, metavar="CAMERA[/QUESTION]", help=of)
    since = "how far back, such as 30m, 24h or 7d; default: 24h"
    parser.add_argument("--since", type=_period, default="24h", metavar="TIME", help=since)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print each answer as it was published, one per line")
    form.add_argument("--csv", action="store_true", help="print the answers as CSV with a header")
    _add_config(parser)
    file = "read this file, instead of that of the config's node; needs no config"
    parser.add_argument("--file", type=path, metavar="DB", help=file)


def labels(parser: argparse.ArgumentParser) -> None:
    _add_store(parser, None)
    actions = parser.add_subparsers(dest="action", required=True, metavar="{export,import}", title="actions")
    _add_label_action(actions.add_parser("export", help="write the labels"), "write the labels to", "output")
    _add_label_action(actions.add_parser("import", help="read labels"), "read labels from", "input")


def _add_label_action(parser: argparse.ArgumentParser, does: str, stream: str) -> None:
    # A parser of its own: argparse assigns adjacent positional arguments together, so that FILE could not follow an
    # option that follows the action.
    file = f"{does} this file; default: standard {stream}"
    parser.add_argument("file", nargs="?", type=path, metavar="FILE", help=file)
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="log debug messages")
    _add_store(parser, argparse.SUPPRESS)


def _add_store(parser: argparse.ArgumentParser, default: str | None) -> None:
    """`default` SUPPRESS: an option that was given before the action stays."""
    _add_config(parser, default=default)
    db = "use this edged.db, instead of that of the config's node; needs no config"
    parser.add_argument("--db", type=path, default=default, metavar="DB", help=db)


def doctor(parser: argparse.ArgumentParser) -> None:
    quick = "check config, secrets, broker, disks, and that edged runs and serves its page; quick, for health checks"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    _add_config(parser)


def acl(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)


def bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=path, metavar="DIR", help="measure the model of this folder; no config is read")
    _add_image(parser, default="a synthetic picture of 1280x720")
    parser.add_argument(
        "--seconds", type=_seconds, default=30.0, metavar="N", help="measure for N seconds; default: 30"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    _add_config(parser)


def prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compiled", type=path, required=True, metavar="DIR", help="folder with the compiler's output")
    processor = "a folder, or a model on the Hugging Face Hub"
    parser.add_argument("--processor", type=name, required=True, metavar="DIR-or-ID", help=processor)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the model folder to make")
    cores = "such as 0:0, multi:0, global4:1 or global8; default: those in the compiler's config.json"
    parser.add_argument("--text-cores", metavar="CORES", help=f"NPU cores of the text part, {cores}")
    parser.add_argument("--vision-cores", metavar="CORES", help="NPU cores of the vision part, in the same form")


def install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and change nothing")
    parser.add_argument("--uninstall", action="store_true", help="remove edged; config, data and user are kept")
    purge = "with --uninstall: remove config, credentials, models, stored answers and the user too"
    parser.add_argument("--purge", action="store_true", help=purge)
    root = "the top folder of an image, instead of the running system; nothing is stopped or started"
    parser.add_argument("--root", type=path, metavar="DIR", help=root)


def demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop N seconds after the first answer")
    _add_plain(parser)


def _add_config(
    parser: argparse.ArgumentParser, explanation: str = f"the config; {CONFIG_DEFAULT}", default: str | None = None
) -> None:
    parser.add_argument("--config", type=path, default=default, metavar="FILE", help=explanation)


def _add_image(parser: argparse._ActionsContainer, default: str = "") -> None:
    explanation = "a picture file or an http(s) address" + (f"; default: {default}" if default else "")
    parser.add_argument("--image", type=picture, metavar="PATH-or-URL", help=explanation)


def _add_plain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="print a line for each answer instead of a table")


def _period(text: str) -> float:
    try:
        return kept_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f'must be a number of seconds above 0, not "{text}"')
    return seconds
