"""The commands: argument parsing, and wiring of the parts. Heavy imports are inside the command that needs them."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

from edged.cameras.environment import OPENCV
from edged.config.load import DEFAULT_PATH, ConfigError, load
from edged.core.answer_types import LANGUAGES
from edged.core.errors import EXIT_OK, EXIT_USAGE, EXIT_WRONG, EdgedError
from edged.core.interfaces import Camera, Publisher
from edged.core.specs import DEFAULT_MAX_NEW_TOKENS, BrokerSpec, CameraSpec, ModelSpec, QuestionSpec
from edged.core.types import CameraReport
from edged.tools import streams
from edged.tools.config_file import NoConfig, config_file

# before anything can import cv2 (the vendor's model module does) or transformers
os.environ.update({name: value for name, value in OPENCV.items() if name not in os.environ})
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WIDTH = 78  # of descriptions; argparse wraps the rest at the terminal's width less 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    return streams.leave(streams.exit_code(lambda: _command(arguments)))


def _command(arguments: list[str] | None) -> int:
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # parse_args would print the usage of edged, not of the command
        options.usage_error(f"unrecognized arguments: {' '.join(unknown)}")
    _log_to_stderr(options.verbose)
    try:
        code: int = options.command(options)
    except ConfigError as error:
        streams.report(*error.problems)
        return error.code
    except EdgedError as error:
        streams.report(f"edged: {error}")
        return error.code
    return code


# the commands; their docstrings are the descriptions in the help


def run(options: argparse.Namespace) -> int:
    """Look at the cameras, ask the questions and publish the answers, until stopped by SIGTERM or SIGINT.

    A changed config file is reloaded; SIGHUP reloads it at once.
    """
    from edged.service import clock, daemon
    from edged.service.service import Factories
    from edged.tools.load_model import load_model

    path = config_file(options.config)
    return daemon.start(
        Factories(
            load_config=lambda: load(path),
            open_camera=_open_camera,
            check_model=_check_model,
            load_model=load_model,
            fit_together=_fit_together,
            open_publisher=_open_publisher,
            clock_synced=clock.synced,
            version=version("edged"),
        ),
        path,
    )


def check(options: argparse.Namespace) -> int:
    """Check a config file. Prints every problem and warning with its line to standard error."""
    if options.schema:
        from edged.config.form import json_schema

        streams.write_line(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return EXIT_OK
    from edged.tools.check import check as check_file

    return check_file(config_file(options.file), options.strict)


def init(options: argparse.Namespace) -> int:
    """Write a first config for the given sources and the USB cameras of this machine.

    Existing files are not overwritten."""
    from edged.tools.init import init as write_config

    return write_config(options.source, options.model, options.out)


def watch(options: argparse.Namespace) -> int:
    """Follow a running edged on its broker, in the terminal. Publishes nothing."""
    from edged.tools.watch import watch as watch_broker

    config = load(config_file(options.config))
    node = None if options.all else config.node
    return watch_broker(config.mqtt, node, _plain(options.plain), _stop_signal())


def demo(options: argparse.Namespace) -> int:
    """See edged at work on two synthetic cameras with a small model of its own. No camera, NPU or broker is needed."""
    try:
        from edged.demo.show import demo as show
    except ImportError as error:
        raise EdgedError(f"the demo needs the package {error.name}: pip install 'edged[demo]'") from error
    return show(options.seconds, _plain(options.plain), _stop_signal())


def ask(options: argparse.Namespace) -> int:
    """Ask one question about one picture. Standard output is the answer alone."""
    from edged.tools import ask as asking

    stop = _stop_signal()
    config = None if options.model and not options.config else load(config_file(options.config))
    settings = {name: getattr(options, name) for name in ("answer", "range", "language", "max_new_tokens")}
    ask_options = asking.AskOptions(
        question=asking.question(options.prompt, settings, config),
        image=options.image,
        as_json=options.json,
        config_rev=config.rev if config else None,
    )
    spec = ModelSpec(options.model.resolve()) if options.model or not config else config.model.each_worker()[0]
    return asking.ask(spec, ask_options, stop)


def prepare(options: argparse.Namespace) -> int:
    """Make a model folder from the four files of the compile tutorial and the files of the processor.

    The folder needs no network afterwards.
    """
    os.environ["HF_HUB_OFFLINE"] = "0"  # the one command that may download something
    from edged.tools.prepare import prepare as prepare_folder

    cores = {"text": options.text_cores, "vision": options.vision_cores}
    chosen = {part: text for part, text in cores.items() if text}
    prepared = prepare_folder(options.compiled, options.processor, options.out, chosen)
    places = ", ".join(f"{part} on {cores}" for part, cores in prepared.cores.items())
    streams.write_line(f"{prepared.folder}: {prepared.name}, revision {prepared.revision}; {places}")
    return EXIT_OK


def doctor(options: argparse.Namespace) -> int:
    """Check everything that edged needs on this machine: a verdict and a next step for each. Publishes nothing."""
    from rich.console import Console

    from edged.tools.doctor import rounds, table

    logging.getLogger("edged").setLevel(logging.CRITICAL)  # the rows say what cameras and broker would log
    checks = rounds.examine(_config_file_or_default(options.config))
    if options.json:
        streams.write_line(table.as_json(checks))
    else:
        table.show(checks, Console())
    return EXIT_OK if table.healthy(checks) else EXIT_WRONG


def bench(options: argparse.Namespace) -> int:
    """Measure how fast this box answers with this model, and what the cameras of the config need of it."""
    from edged.tools.bench.command import bench as bench_model

    config = None if options.model else load(config_file(options.config))
    spec = config.model.each_worker()[0] if config else ModelSpec(options.model.resolve())
    return bench_model(spec, config, options.image, options.seconds, options.json, _stop_signal())


def _config_file_or_default(named: Path | None) -> Path:
    """For doctor, which checks the rest of the machine without a config too."""
    try:
        return config_file(named)
    except NoConfig as error:
        streams.report(f"edged: {error}")
        return DEFAULT_PATH


def _plain(chosen: bool) -> bool:
    """True if answers are printed as lines: as chosen, or because standard output is not a terminal."""
    if not chosen and not sys.stdout.isatty():
        streams.report("standard output is not a terminal; printing a line for each answer (--plain)")
        return True
    return chosen


def _stop_signal() -> threading.Event:
    """Set by SIGINT and SIGTERM; the second of them kills."""
    stop = threading.Event()

    def set_stop(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, set_stop)
    return stop


def _log_to_stderr(verbose: bool) -> None:
    """One line per event. The journal adds its own timestamps."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(format=f"{stamp}%(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    logging.getLogger("edged").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)


# factories for the daemon


def _open_camera(spec: CameraSpec, report: CameraReport) -> Camera:
    from edged.cameras.source import open_camera

    return open_camera(spec, report)


def _check_model(spec: ModelSpec, questions: Sequence[QuestionSpec]) -> None:
    from edged.vlm.model import judge

    judge(spec, questions)


def _fit_together(old: ModelSpec, new: ModelSpec) -> bool:
    from edged.vlm.model import fit_together

    return fit_together(old, new)


def _open_publisher(spec: BrokerSpec, node: str) -> Publisher:
    from edged.mqtt.publisher import MqttPublisher

    return MqttPublisher(spec, node)


# the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edged",
        description="Ask a vision-language model about camera pictures on a schedule; publish typed answers to MQTT.",
        epilog="edged COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"edged {version('edged')}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log debug messages, every answer among them")
    parser.set_defaults(command=lambda _: _print_help(parser), usage_error=parser.error)
    add_command = partial(_command_parser, parser.add_subparsers(metavar="COMMAND", title="commands").add_parser)
    _add_run(add_command(run, "run the daemon: look, ask, publish"))
    _add_check(add_command(check, "check a config file"))
    _add_init(add_command(init, "write a first config", INIT_EXAMPLES))
    _add_ask(add_command(ask, "ask one question about one picture", ASK_EXAMPLES))
    _add_watch(add_command(watch, "follow a running edged on its broker"))
    _add_doctor(add_command(doctor, "check this machine, and say what to do next"))
    _add_bench(add_command(bench, "measure how many looks this box can do"))
    _add_prepare(add_command(prepare, "make a model folder from a compiled model", PREPARE_EXAMPLES))
    _add_demo(add_command(demo, "see it work, without a camera or an NPU"))
    return parser


INIT_EXAMPLES = """\
examples:
  edged init rtsp://viewer:PASSWORD@10.0.0.9:554/stream1
  edged init pictures/ --model ./Qwen2-VL-2B-Instruct
"""
ASK_EXAMPLES = """\
examples:
  edged ask --image yard.jpg "What is in this picture?"
  edged ask --image yard.jpg --answer yes_no "Is the gate open?"
  edged ask --image yard.jpg --answer "[clear, rain]" "How is the weather?"
"""
PREPARE_EXAMPLES = """\
example:
  edged prepare --compiled mxq/ --processor mobilint/Qwen2-VL-2B-Instruct \\
    --out /var/lib/edged/models/qwen2-vl-2b
"""


def _print_help(parser: argparse.ArgumentParser) -> int:
    streams.write(parser.format_help())
    return EXIT_USAGE


def _command_parser(
    add_parser: Callable[..., argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], int],
    summary: str,
    examples: str = "",
) -> argparse.ArgumentParser:
    paragraphs = (command.__doc__ or "").split("\n\n")
    parser = add_parser(
        command.__name__,
        help=summary,
        description="\n".join(fill(" ".join(paragraph.split()), WIDTH) for paragraph in paragraphs),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # No default: it would overwrite a -v before the command.
    parser.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="log debug messages")
    parser.set_defaults(command=command, usage_error=parser.error)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help=f"the config; {CONFIG_DEFAULT}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the config, for editors")


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="*",
        metavar="SOURCE",
        help="an address (rtsp://, rtsps://, http://, https://), a folder of pictures, a picture, a clip, "
        "or a USB camera (usb:0, /dev/video0)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("edged.yaml"), metavar="FILE", help="the config to write; default: edged.yaml"
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="the model folder; default: /var/lib/edged/models/qwen2-vl-2b"
    )


def _add_ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="the question")
    _add_image(parser, required=True)
    types = "text (default), yes_no, integer, number, a list of choices '[a, b]', or '{json: SCHEMA}'"
    parser.add_argument("--answer", default="text", metavar="TYPE", help=types)
    parser.add_argument("--range", metavar="RANGE", help="bounds of an integer or number: '[LOW, HIGH]'")
    parser.add_argument(
        "--language",
        choices=LANGUAGES,
        help="of the instruction and of yes and no; default: the config's, else en",
    )
    limit = f"longest reply, in tokens; default: the config's, else {DEFAULT_MAX_NEW_TOKENS}"
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help=limit)
    parser.add_argument("--json", action="store_true", help="print the whole answer, as it would be published")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder, instead of the config's")
    _add_config(parser, f"use its model, model settings and language; {CONFIG_DEFAULT}; none with --model")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every node under the config's prefix, not only this one")
    _add_plain(parser)
    _add_config(parser)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    _add_config(parser)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="a model folder, instead of the config's model and cameras"
    )
    _add_image(parser, default="a synthetic picture of 1280x720")
    parser.add_argument(
        "--seconds", type=_seconds, default=30.0, metavar="N", help="measure for N seconds; default: 30"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    _add_config(parser)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compiled", type=Path, required=True, metavar="DIR", help="the compiler's output")
    parser.add_argument(
        "--processor", required=True, metavar="DIR-or-ID", help="a folder, or a model on the Hugging Face Hub"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to make")
    cores = "such as 0:0, multi:0, global4:1 or global8; default: those in the compiler's config.json"
    parser.add_argument("--text-cores", metavar="CORES", help=f"NPU cores of the text part, {cores}")
    parser.add_argument("--vision-cores", metavar="CORES", help="NPU cores of the vision part, likewise")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=_seconds, metavar="N", help="stop N seconds after the first answer")
    _add_plain(parser)


CONFIG_DEFAULT = f"default: {DEFAULT_PATH}, or ./edged.yaml if there is none"


def _add_config(parser: argparse.ArgumentParser, explanation: str = f"the config; {CONFIG_DEFAULT}") -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=explanation)


def _add_image(parser: argparse.ArgumentParser, required: bool = False, default: str = "") -> None:
    explanation = "a picture file or an http(s) address" + (f"; default: {default}" if default else "")
    parser.add_argument("--image", required=required, metavar="PATH-or-URL", help=explanation)


def _add_plain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="print a line for each answer instead of a table")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f'must be a number of seconds above 0, not "{text}"')
    return seconds
