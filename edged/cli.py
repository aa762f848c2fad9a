"""The commands. The only place that wires parts together; heavy imports stand inside the command that needs them."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from edged.cameras.environment import OPENCV
from edged.config.load import DEFAULT_PATH, ConfigError, load
from edged.core.answer_types import LANGUAGES
from edged.core.errors import EXIT_OK, EXIT_USAGE, EXIT_WRONG, EdgedError, Stopped
from edged.core.interfaces import Camera, Publisher, VisionModel
from edged.core.specs import DEFAULT_MAX_NEW_TOKENS, BrokerSpec, CameraSpec, Config, ModelSpec, QuestionSpec
from edged.core.text import counted
from edged.core.types import CameraReport

if TYPE_CHECKING:
    from edged.core.types import Answer, Frame

# before anything can import cv2 (the vendor's model module does) or transformers
os.environ.update({name: value for name, value in OPENCV.items() if name not in os.environ})
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

EXIT_INTERRUPTED = 130


class UsageError(EdgedError):
    """The command line cannot be used."""

    code = EXIT_USAGE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    _open_closed_streams()
    output = _Output(sys.stdout)
    code = EXIT_WRONG
    with contextlib.redirect_stdout(cast(TextIO, output)):
        try:
            code = _command(arguments)
        except SystemExit as leaving:  # argparse, and rich when nobody reads any more
            code = leaving.code if isinstance(leaving.code, int) else EXIT_WRONG
        except OSError as error:
            if error is not output.failure:
                raise
        except (Stopped, KeyboardInterrupt):
            code = EXIT_INTERRUPTED
        code = _finished(code, output)
    return _leave(code)


def _command(arguments: list[str] | None) -> int:
    options = _parser().parse_args(arguments)
    _log_to_stderr(options.verbose)
    try:
        code: int = options.command(options)
    except ConfigError as error:
        _complain(*error.problems)
        return error.code
    except EdgedError as error:
        _complain(f"edged: {error}")
        return error.code
    return code


def run(options: argparse.Namespace) -> int:
    """Look, ask and publish until told to stop."""
    from edged.service import clock, daemon
    from edged.service.service import Factories

    return daemon.start(
        Factories(
            load_config=lambda: load(options.config),
            open_camera=_open_camera,
            check_model=_judge_model,
            load_model=_load_model,
            fit_together=_fit_together,
            open_publisher=_open_publisher,
            clock_synced=clock.synced,
            version=version("edged"),
        ),
        options.config,
    )


def check(options: argparse.Namespace) -> int:
    """Check a config file; problems go to standard error, one line each."""
    if options.schema:
        from edged.config.form import json_schema

        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return EXIT_OK
    config = load(options.file)
    _complain(*(f"warning: {warning}" for warning in config.warnings))
    _check_grammars(config)
    questions = sum(len(camera.all_questions()) for camera in config.cameras)
    print(f"{options.file}: valid ({counted(len(config.cameras), 'camera')}, {counted(questions, 'question')})")
    return EXIT_OK


def _check_grammars(config: Config) -> None:
    """Raises ConfigError for each JSON schema that cannot be compiled to a grammar."""
    from edged.vlm import grammar

    problems = []
    for camera in config.cameras:
        for question in camera.all_questions():
            form = question.answer.grammar()
            if form and (why := grammar.problem(form)):
                place = f'{config.path.name}: camera "{camera.name}": question "{question.name}"'
                problems.append(f"{place}: its answer cannot be compiled to a grammar: {why}")
    if problems:
        raise ConfigError(problems)


def init(options: argparse.Namespace) -> int:
    """Write a first config for the cameras given and for the USB cameras found."""
    from edged.tools import init as starter

    made = starter.starter(options.address, starter.usb_cameras(), options.model)
    starter.write(made, options.out)
    print(f"{options.out}: written, with {counted(made.cameras, 'camera')}")
    for name in made.secrets:
        print(f"the password of {name} is in {options.out.parent / 'credentials' / name}")
    print(f"next: edged check {options.out}")
    return EXIT_OK


def watch(options: argparse.Namespace) -> int:
    """Follow a running edged on its broker. Publishes nothing."""
    from edged.tools.watch import watch as watch_broker

    config = load(options.config)
    node = None if options.all else config.node
    return watch_broker(config.mqtt, node, _plain(options.plain), _told_to_stop())


def demo(options: argparse.Namespace) -> int:
    """Show edged at work on two synthetic cameras, with a small model of its own; nothing is needed for it."""
    try:
        from edged.demo.show import demo as show
    except ImportError as error:
        raise EdgedError(f"the demo needs the package {error.name}: pip install 'edged[demo]'") from error
    return show(options.seconds, _plain(options.plain), _told_to_stop())


def ask(options: argparse.Namespace) -> int:
    """Ask one question about one picture; standard output holds the answer alone."""
    stop = _told_to_stop()
    spec, question = _model_and_question(options)

    frame = _fetched(options.image, stop)
    model = _load_model(spec)
    try:
        model.check([question])
        return _asked(model, frame, question, options, stop)
    finally:
        model.dispose()


def prepare(options: argparse.Namespace) -> int:
    """Make one folder of the compile tutorial's four files and the processor's; it needs no network afterwards."""
    os.environ["HF_HUB_OFFLINE"] = "0"  # the one command that may fetch something
    from edged.tools.prepare import prepare as prepare_folder

    words = {"text": options.text_cores, "vision": options.vision_cores}
    made = prepare_folder(
        options.compiled, options.processor, options.out, {part: word for part, word in words.items() if word}
    )
    places = ", ".join(f"{part} on {cores}" for part, cores in made.cores.items())
    print(f"{made.folder}: {made.name}, revision {made.revision}; {places}")
    return EXIT_OK


def doctor(options: argparse.Namespace) -> int:
    """Look at everything that edged needs on this machine, and say what to do about it. Publishes nothing."""
    from rich.console import Console

    from edged.tools.doctor import rounds, table

    logging.getLogger("edged").setLevel(logging.CRITICAL)  # what cameras and broker would log stands in the rows
    checks = rounds.examine(options.config)
    if options.json:
        print(table.as_json(checks))
    else:
        table.show(checks, Console())
    return EXIT_OK if table.healthy(checks) else EXIT_WRONG


def bench(options: argparse.Namespace) -> int:
    """Time this model on this box, and what the config's cameras need of it."""
    from rich.console import Console

    from edged.tools import bench as timing

    stop = _told_to_stop()
    config = None if options.model else load(options.config)
    spec = config.model.each_worker()[0] if config else ModelSpec(options.model.resolve())
    frame = timing.made_up_picture() if options.image is None else _fetched(options.image, stop)
    begun = time.monotonic()
    model = _load_model(spec)
    try:
        load_s = time.monotonic() - begun
        made = timing.measure(model, frame, config, timing.word_counter(spec.path), options.seconds, load_s, stop)
    finally:
        model.dispose()
    if options.json:
        print(timing.as_json(made))
    else:
        timing.show(made, Console())
    return EXIT_OK


def _fetched(path_or_url: str, stop: threading.Event) -> Frame:
    from edged.cameras.source import fetch_picture

    return fetch_picture(path_or_url, stop)


def _asked(
    model: VisionModel, frame: Frame, question: QuestionSpec, options: argparse.Namespace, stop: threading.Event
) -> int:
    from edged.service import clock
    from edged.tools.ask import one_answer

    streaming = question.answer.kind == "text" and not options.json
    answer = one_answer(model, frame, question, stop, clock.synced, _write if streaming else None)
    if options.json:
        _print_whole(answer)
    elif streaming:
        _write("\n")
    elif answer.status == "ok":
        print(json.dumps(answer.value, ensure_ascii=False))
    if answer.status != "ok":
        _complain(f"edged: {answer.status}: {answer.reason}")
        return EXIT_WRONG
    return EXIT_OK


def _print_whole(answer: Answer) -> None:
    from edged.mqtt.topics import answer_payload

    print(json.dumps(answer_payload(answer, node=answer.camera, late=False), ensure_ascii=False))


def _model_and_question(options: argparse.Namespace) -> tuple[ModelSpec, QuestionSpec]:
    """What `edged ask` asks, and whom. The config counts where it is named, or where it has to name the model."""
    config = load(options.config or DEFAULT_PATH) if options.config or not options.model else None
    question = _one_question(options, config)
    if options.model or config is None:
        return ModelSpec(options.model.resolve()), question
    return config.model.each_worker()[0], question


def _one_question(options: argparse.Namespace, config: Config | None) -> QuestionSpec:
    """The question that the command line describes, by the rules of the config file. Its own options win."""
    from edged.config.load import one_question

    written = {
        "prompt": options.prompt,
        "answer": _yaml("--answer", options.answer),
        "range": _yaml("--range", options.range),
        "language": options.language,
        "max_new_tokens": options.max_new_tokens,
    }
    values = {key: value for key, value in written.items() if value is not None}
    try:
        return one_question(values, config.language, config.generation) if config else one_question(values)
    except ConfigError as error:
        raise UsageError("\n".join(sentence.removeprefix("question: ") for sentence in error.problems)) from None


def _yaml(option: str, text: str | None) -> object:
    from edged.config.document import parse

    document = parse(text or "")
    if document.problems:
        raise UsageError("\n".join(f"{option}: {problem.text}" for problem in document.problems))
    return document.tree


def _open_camera(spec: CameraSpec, report: CameraReport) -> Camera:
    from edged.cameras.source import open_camera

    return open_camera(spec, report)


def _load_model(spec: ModelSpec) -> VisionModel:
    from edged.vlm.model import load as load_model

    return load_model(spec)


def _judge_model(spec: ModelSpec, questions: Sequence[QuestionSpec]) -> None:
    from edged.vlm.model import judge

    judge(spec, questions)


def _fit_together(old: ModelSpec, new: ModelSpec) -> bool:
    from edged.vlm.model import fit_together

    return fit_together(old, new)


def _open_publisher(spec: BrokerSpec, node: str) -> Publisher:
    from edged.mqtt.publisher import MqttPublisher

    return MqttPublisher(spec, node)


def _told_to_stop() -> threading.Event:
    """Set by SIGINT and SIGTERM; the second of them kills."""
    stop = threading.Event()

    def told(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)
    return stop


def _plain(wanted: bool) -> bool:
    """Lines instead of a picture: as asked, or because there is no terminal to draw it on."""
    if not wanted and not sys.stdout.isatty():
        _complain("standard output is not a terminal; printing a line for each answer (--plain)")
        return True
    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edged",
        description="Asks a vision-language model about camera pictures on a schedule; typed answers go to MQTT.",
    )
    parser.add_argument("--version", action="version", version=f"edged {version('edged')}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log every answer too")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="look, ask and publish until told to stop", description=run.__doc__)
    _config_option(command)
    command.set_defaults(command=run)

    command = commands.add_parser("check", help="check a config file", description=check.__doc__)
    command.add_argument("file", type=Path, nargs="?", default=DEFAULT_PATH, metavar="FILE")
    command.add_argument("--schema", action="store_true", help="print the JSON schema of the config, for editors")
    command.set_defaults(command=check)

    command = commands.add_parser("demo", help="see it work, with no camera and no NPU", description=demo.__doc__)
    command.add_argument("--seconds", type=_seconds, metavar="N", help="end N seconds after the first answer")
    command.add_argument("--plain", action="store_true", help="a line for each answer")
    command.set_defaults(command=demo)

    command = commands.add_parser("init", help="write a first config", description=init.__doc__)
    command.add_argument("address", nargs="*", metavar="ADDRESS", help="rtsp://USER:PASSWORD@HOST/PATH, http://…")
    command.add_argument("--out", type=Path, default=Path("edged.yaml"), metavar="FILE", help="default: edged.yaml")
    command.add_argument(
        "--model", type=Path, default=Path("/var/lib/edged/models/qwen2-vl-2b"), metavar="DIR", help="its folder"
    )
    command.set_defaults(command=init)

    command = commands.add_parser("watch", help="follow a running edged on its broker", description=watch.__doc__)
    command.add_argument("--all", action="store_true", help="every edged under the config's prefix")
    command.add_argument("--plain", action="store_true", help="a line for each answer")
    _config_option(command)
    command.set_defaults(command=watch)

    command = commands.add_parser("ask", help="ask one question about one picture", description=ask.__doc__)
    command.add_argument("prompt", help="the question")
    command.add_argument("--image", required=True, metavar="PATH-or-URL", help="a picture file, or an http(s) address")
    types = "text (default), yes_no, integer, number, '[a, b]' or '{json: SCHEMA}'"
    command.add_argument("--answer", default="text", metavar="TYPE", help=types)
    command.add_argument("--range", metavar="'[LOW, HIGH]'", help="of an integer or a number")
    command.add_argument(
        "--language", choices=LANGUAGES, help="of yes/no words and instructions; default: the config's, else en"
    )
    command.add_argument(
        "--max-new-tokens", type=int, metavar="N", help=f"default: the config's, else {DEFAULT_MAX_NEW_TOKENS}"
    )
    command.add_argument("--json", action="store_true", help="print the whole answer, as the broker would get it")
    command.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="a model's folder, instead of the config's; without --config no config is read",
    )
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"its model, model settings and language; default: {DEFAULT_PATH} where no --model is given",
    )
    command.set_defaults(command=ask)

    command = commands.add_parser("doctor", help="what this machine lacks, and what to do", description=doctor.__doc__)
    command.add_argument("--json", action="store_true", help="print the checks as JSON")
    _config_option(command)
    command.set_defaults(command=doctor)

    command = commands.add_parser("bench", help="how fast this box is, and what is needed", description=bench.__doc__)
    command.add_argument("--model", type=Path, metavar="DIR", help="instead of the config's, and without its cameras")
    command.add_argument("--image", metavar="PATH-or-URL", help="default: a made-up picture of 1280x720")
    command.add_argument("--seconds", type=_seconds, default=30.0, metavar="N", help="how long to measure; default: 30")
    command.add_argument("--json", action="store_true", help="print the figures as JSON")
    _config_option(command)
    command.set_defaults(command=bench)

    command = commands.add_parser("prepare", help="make a compiled model's folder", description=prepare.__doc__)
    command.add_argument("--compiled", type=Path, required=True, metavar="DIR", help="the compiler's output")
    command.add_argument("--processor", required=True, metavar="DIR-or-ID", help="a folder, or a model of the Hub")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    words = "such as 0:0, multi:0, global4:1 or global8; default: what the compiler's config.json says"
    command.add_argument("--text-cores", metavar="CORES", help=words)
    command.add_argument("--vision-cores", metavar="CORES", help="the same for the vision part")
    command.set_defaults(command=prepare)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds


def _config_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=f"default: {DEFAULT_PATH}")


def _log_to_stderr(verbose: bool) -> None:
    """One line an event. The journal stamps its lines itself."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(format=f"{stamp}%(levelname)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
    logging.getLogger("edged").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(*lines: str) -> None:
    """Lines on standard error. Where that cannot be written there is nobody to tell."""
    with contextlib.suppress(OSError):
        for line in lines:
            print(line, file=sys.stderr)


def _open_closed_streams() -> None:
    """Give a standard stream that was closed (`>&-`) the null device.

    Otherwise Python has None for it, and the next file or socket takes its number and gets what C code prints.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


class _Output:
    """Standard output that remembers why it failed: a later flush may succeed, with the text lost."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self.failure = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _finished(code: int, output: _Output) -> int:
    """Write out both standard streams; the exit code, which is not 0 where the output did not get through."""
    with contextlib.suppress(OSError):
        output.flush()
    if output.failure:
        _discard(output.stream)
        if not isinstance(output.failure, BrokenPipeError):  # `edged ask … | head` is no failure to report
            _complain(f"edged: standard output: {output.failure.strerror}")
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code or (EXIT_WRONG if output.failure else EXIT_OK)


def _discard(stream: TextIO) -> None:
    """Let what is left in the buffer go nowhere; the interpreter flushes once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _leave(code: int) -> int:
    """Return the code; where torch is loaded, leave at once: its interpreter needs a second to take itself apart.

    Where OpenCV is too: a camera's thread may still be inside of it, and would abort an ordinary exit.
    """
    if {"torch", "cv2"} & sys.modules.keys() and "pytest" not in sys.modules:
        os._exit(code)
    return code
