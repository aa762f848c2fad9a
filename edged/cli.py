"""The commands: argument parsing, and wiring of the parts. Heavy imports are inside the command that needs them."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from edged.cameras.environment import OPENCV
from edged.config.load import DEFAULT_PATH, ConfigError, load
from edged.core.errors import EXIT_OK, EXIT_USAGE, EXIT_WRONG, EdgedError
from edged.core.interfaces import Camera, Noise, Publisher, Store
from edged.core.pip import pip_install
from edged.core.requests import Received
from edged.core.specs import BrokerSpec, CameraSpec, ModelSpec, PageSpec, QuestionSpec
from edged.core.types import CameraReport
from edged.tools import arguments, log, streams
from edged.tools.config_file import NoConfig, config_file
from edged.tools.parser import Parser
from edged.tools.signals import ending_signals, interrupting

if TYPE_CHECKING:
    from edged.page.app import PageApp
    from edged.service.observed import Observed, Page

# before anything can import cv2 (the vendor's model module does) or transformers
os.environ.update({name: value for name, value in OPENCV.items() if name not in os.environ})
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WIDTH = 78  # of descriptions; argparse wraps the rest at the terminal's width less 2


def main(argv: list[str] | None = None, system_config: Path = DEFAULT_PATH) -> int:
    """Run one command; its exit code. `system_config` is the config if none is named and the file exists."""
    return streams.leave(streams.exit_code(lambda: _command(argv, system_config)))


def _command(argv: list[str] | None, system_config: Path) -> int:
    options, unknown = _parser().parse_known_args(argv)
    options.system_config = system_config
    arguments.take_sources(options, unknown)
    if unknown:  # parse_args would print the usage of edged, not of the command
        options.usage_error(f"unrecognized arguments: {' '.join(unknown)}")
    log.to_stderr(options.verbose, getattr(options, "log", "text") == "json")
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
    import faulthandler

    from edged.service import clock, daemon
    from edged.service.service import Factories
    from edged.tools.load_model import load_model
    from edged.vlm.npu_monitor import NpuMonitor

    faulthandler.enable(file=2)  # systemd's watchdog sends SIGABRT: the stack of every thread is logged
    path = config_file(options.config, options.system_config)
    return daemon.start(
        Factories(
            load_config=lambda: load(path),
            open_camera=_open_camera,
            check_model=_check_model,
            load_model=load_model,
            fit_together=_fit_together,
            open_publisher=_open_publisher,
            open_store=_open_store,
            clock_synced=clock.synced,
            version=version("edged"),
            npu_figures=NpuMonitor().figures,
            open_page=_open_page,
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

    return check_file(config_file(options.file or options.config, options.system_config), options.strict)


def init(options: argparse.Namespace) -> int:
    """Write a first config for the given sources and the USB cameras of this machine.

    Existing files are not overwritten."""
    from edged.tools.init import init as write_config

    return write_config(options.source, options.model, options.out)


def watch(options: argparse.Namespace) -> int:
    """Show the answers of a running edged in the terminal, from its broker. Publishes nothing."""
    from edged.tools.watch import watch as watch_broker

    config = load(config_file(options.config, options.system_config))
    node = None if options.all else config.node
    return watch_broker(config.mqtt, node, _plain(options.plain), _stop_signal())


def demo(options: argparse.Namespace) -> int:
    """Run edged on two synthetic cameras with a small bundled model. No camera, NPU or broker is needed."""
    try:
        from edged.demo.show import demo as show
    except ImportError as error:
        raise EdgedError(f"the demo needs the package {error.name}: {pip_install('edged[demo]')}") from error
    return show(options.seconds, _plain(options.plain), _stop_signal())


def ask(options: argparse.Namespace) -> int:
    """Ask one question about one picture, or about what a camera of the running edged sees now. Only the answer is
    written to standard output.

    With --camera, the running edged is asked, through the broker of the config. It accepts a PROMPT if the config has
    `mqtt: {allow_prompts: true}`.
    """
    if why := arguments.why_not_ask(options):
        options.usage_error(why)
    if options.camera is not None:
        return _ask_camera(options)
    from edged.tools import ask as asking

    stop = _stop_signal()
    config = None if options.model and not options.config else load(config_file(options.config, options.system_config))
    settings = {name: getattr(options, name) for name in ("answer", "range", "language", "max_new_tokens")}
    ask_options = asking.AskOptions(
        question=asking.question(options.prompt, settings, config),
        image=options.image,
        as_json=options.json,
        config_rev=config.rev if config else None,
    )
    spec = config.model.each_worker()[0] if config else ModelSpec(options.model.resolve())
    if options.model:
        spec = spec.in_folder(options.model.resolve())
    return asking.ask(spec, ask_options, stop)


def _ask_camera(options: argparse.Namespace) -> int:
    from edged.tools import request

    config = load(config_file(options.config, options.system_config))
    keys = {name: getattr(options, name) for name in ("answer", "range", "region", "max_new_tokens")}
    asked = request.CameraQuestion(options.camera, options.question, options.prompt, keys, options.json)
    return request.ask(config, asked, _stop_signal())


def reload(options: argparse.Namespace) -> int:
    """Let the running edged read its config file now. Prints the revision that is in force then, or what is wrong.

    If edged runs on this machine, and this user may use its socket, no broker is needed. Else the request goes through
    the broker of the config.
    """
    from edged.tools.reload import reload as reload_now

    return reload_now(config_file(options.config, options.system_config), _stop_signal())


def look(options: argparse.Namespace) -> int:
    """Take one picture of a camera and show what the model would see. Publishes nothing, and loads no model.

    The camera is opened by this command, also while edged runs; a USB camera can be opened only once.
    """
    from edged.tools import look as looking

    if not options.verbose:
        logging.getLogger("edged").setLevel(logging.CRITICAL)  # what the camera logs is in this command's message too
    config = load(config_file(options.config, options.system_config))
    chosen = looking.LookOptions(options.camera, options.region, options.save, options.outline)
    return looking.look(config, chosen, _stop_signal())


def history(options: argparse.Namespace) -> int:
    """Show the answers that edged has stored on this machine: for each question its course, the newest value and since
    when it has been that, and the share of each status.

    Works whether edged runs or not. `history:` in the config sets how long answers are kept.
    """
    from edged.tools.history import command

    named = options.file and not options.config
    config = None if named else load(config_file(options.config, options.system_config))
    path = options.file or command.file_of(config.node if config else "", os.environ)
    chosen = command.HistoryOptions(
        options.of, options.since, "json" if options.json else "csv" if options.csv else None
    )
    return command.history(config, path, chosen)


def labels(options: argparse.Namespace) -> int:
    """Write or read what people have said about kept frames: labels.jsonl, a JSON object in each line with frame,
    camera, question and truth.

    Works whether edged runs or not. An import is checked first: if a line is wrong, nothing is imported. A label for an
    answer that has one already replaces it.
    """
    from edged.tools import labels as tool
    from edged.tools.history.command import file_of

    named = options.db and not options.config
    config = None if named else load(config_file(options.config, options.system_config))
    path = options.db or file_of(config.node if config else "", os.environ, option="--db")
    return (tool.export_labels if options.action == "export" else tool.import_labels)(path, options.file)


def acl(options: argparse.Namespace) -> int:
    """Print an ACL file for the mosquitto broker, with the least that edged and its subscribers must be granted."""
    from edged.tools.acl import acl as print_acl

    return print_acl(load(config_file(options.config, options.system_config)))


def prepare(options: argparse.Namespace) -> int:
    """Make a model folder from the four files of the compile tutorial and the files of the processor.

    Loading the folder needs no network.
    """
    os.environ["HF_HUB_OFFLINE"] = "0"  # the one command that may download something
    from edged.tools.prepare import prepare as prepare_folder

    cores = {"text": options.text_cores, "vision": options.vision_cores}
    chosen = {part: text for part, text in cores.items() if text}
    with interrupting():  # so that nothing is left of a folder that is not complete
        prepared = prepare_folder(options.compiled, options.processor, options.out, chosen)
    places = ", ".join(f"{part} on {cores}" for part, cores in prepared.cores.items())
    streams.write_line(f"{prepared.folder}: {prepared.name}, revision {prepared.revision}; {places}")
    return EXIT_OK


def doctor(options: argparse.Namespace) -> int:
    """Check everything that edged needs on this machine. Prints a verdict for each check, and the next step if it
    failed. Publishes nothing."""
    from rich.console import Console

    from edged.tools.doctor import table
    from edged.tools.doctor.examine import examine, examine_quickly

    logging.getLogger("edged").setLevel(logging.CRITICAL)  # the rows contain what cameras and broker would log
    checks = (examine_quickly if options.quick else examine)(
        _config_file_or_default(options.config, options.system_config)
    )
    if options.json:
        streams.write_line(table.as_json(checks))
    else:
        table.show(checks, Console())
    return EXIT_OK if table.healthy(checks) else EXIT_WRONG


def install(options: argparse.Namespace) -> int:
    """Put the service in place: the command edged, the systemd unit, its user, /etc/edged with an example config, udev
    rules and completion for bash. Must run as root.

    It can be run again at any time, and after each update of edged: an existing config is never changed. Nothing is
    started or enabled.
    """
    from edged.tools import completion
    from edged.tools.install.command import InstallOptions
    from edged.tools.install.command import install as install_service

    if options.purge and not options.uninstall:
        options.usage_error("--purge needs --uninstall")
    chosen = InstallOptions(options.root, options.dry_run, options.uninstall, options.purge)
    helps = {name: parser.format_help() for name, parser in options.commands.items()}
    return install_service(chosen, completion.script(helps))


def bench(options: argparse.Namespace) -> int:
    """Measure how many looks a minute this machine can do, and compare that with what the config needs."""
    from edged.tools.bench.command import bench as bench_model

    config = None if options.model else load(config_file(options.config, options.system_config))
    spec = config.model.each_worker()[0] if config else ModelSpec(options.model.resolve())
    return bench_model(spec, config, options.image, options.seconds, options.json, _stop_signal())


def _config_file_or_default(named: Path | None, default: Path) -> Path:
    """For doctor, which also works without a config."""
    try:
        return config_file(named, default)
    except NoConfig as error:
        streams.report(f"edged: {error}")
        return default


def _plain(chosen: bool) -> bool:
    """True if answers are printed as lines: as chosen, or because standard output is not a terminal."""
    if not chosen and not sys.stdout.isatty():
        streams.note("standard output is not a terminal; printing a line for each answer (--plain)")
        return True
    return chosen


def _stop_signal() -> threading.Event:
    """Set by SIGINT, SIGTERM and, except under nohup, a closed terminal; the second of a kind kills."""
    stop = threading.Event()

    def set_stop(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    for number in ending_signals():
        signal.signal(number, set_stop)
    return stop


# factories for the daemon


def _open_camera(spec: CameraSpec, report: CameraReport, noise: Noise) -> Camera:
    from edged.cameras.source import open_camera

    return open_camera(spec, report, noise)


def _check_model(spec: ModelSpec, questions: Sequence[QuestionSpec]) -> None:
    from edged.vlm.model import check_folder

    check_folder(spec, questions)


def _fit_together(old: ModelSpec, new: ModelSpec) -> bool:
    from edged.vlm.model import fit_together

    return fit_together(old, new)


def _open_store(node: str) -> Store:
    from edged.service import clock
    from edged.store.path import state_file
    from edged.store.store import DiskStore

    store = DiskStore(state_file(node, os.environ), clock.synced)
    store.open()
    return store


def _open_publisher(spec: BrokerSpec, node: str, store: Store, requested: Callable[[Received], None]) -> Publisher:
    from edged.mqtt.publisher import MqttPublisher
    from edged.service.picture import scaled_down

    return MqttPublisher(spec, node, store, requested=requested, scale_down=scaled_down, version=version("edged"))


def _open_page(observed: Observed) -> Page:
    from edged.page.readings import Readings
    from edged.page.server import PageServer
    from edged.store.history import past_answers
    from edged.store.path import state_file

    path = state_file(observed.config().node, os.environ)  # a reload that renames the node keeps the file
    verdicts = os.environ.get("EDGED_PAGE_VERDICTS")  # set by edged demo
    readings = Readings(partial(past_answers, path), Path(verdicts) if verdicts else None)

    def app(spec: PageSpec) -> PageApp:
        from edged.page.app import PageApp

        return PageApp(observed, spec, readings)

    return PageServer(app)


# the command line


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="edged",
        description="Ask a vision-language model about camera pictures on a schedule; publish typed answers to MQTT.",
        epilog="edged COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"edged {version('edged')}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log debug messages, including every answer")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    parser.set_defaults(command=lambda _: _print_help(parser), usage_error=parser.error, commands=commands.choices)
    add_command = partial(_command_parser, commands.add_parser)
    arguments.run(add_command(run, "run the daemon: look, ask, publish"))
    arguments.check(add_command(check, "check a config file"))
    arguments.init(add_command(init, "write a first config", arguments.INIT_EXAMPLES))
    arguments.ask(add_command(ask, "ask one question about one picture", arguments.ASK_EXAMPLES))
    arguments.reload(add_command(reload, "let the running edged read its config now"))
    arguments.look(add_command(look, "show what the model would see", arguments.LOOK_EXAMPLES))
    arguments.watch(add_command(watch, "show the answers of a running edged"))
    arguments.history(add_command(history, "show the stored answers", arguments.HISTORY_EXAMPLES))
    arguments.labels(add_command(labels, "export and import labels of kept frames", arguments.LABELS_EXAMPLES))
    arguments.doctor(add_command(doctor, "check this machine, and print the next steps"))
    arguments.acl(add_command(acl, "print an ACL file for the mosquitto broker", arguments.ACL_EXAMPLES))
    arguments.bench(add_command(bench, "measure how many looks this machine can do"))
    arguments.prepare(add_command(prepare, "make a model folder from a compiled model", arguments.PREPARE_EXAMPLES))
    arguments.install(add_command(install, "put the systemd service in place", arguments.INSTALL_EXAMPLES))
    arguments.demo(add_command(demo, "run edged without a camera or an NPU"))
    return parser


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
