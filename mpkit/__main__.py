"""The command line, ``mpkit attack | sweep | targets | …``, also ``python -m mpkit``."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import mpkit

if TYPE_CHECKING:
    from mpkit.group import Group

STOPPED = "\nmpkit: stopped\n"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Ctrl-C ends the process at once, and with no traceback, as while torch is loaded: there is
    nothing to put right yet, and some modules make another error of it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def stop(*_) -> None:
        os.write(2, STOPPED.encode())
        os._exit(130)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; argparse's own error prints the whole usage before it."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands with all their flags."""
    from mpkit.cli import (
        attack,
        bench,
        compare,
        contest,
        defend,
        doctor,
        forensics,
        pictures,
        pretrain,
        scenarios,
        sweep,
        targets,
        tell,
    )
    from mpkit.cli.options import add_attack_flags

    parser = _Parser("mpkit", description="Learn how data poisoning works.", allow_abbrev=False)
    parser.add_argument("-V", "--version", action="version", version=f"mpkit {mpkit.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name, module, text in (
        ("attack", attack, "craft poisons, train victims and controls, count"),
        ("sweep", sweep, "success over many random attacks, and over ε and K"),
        ("compare", compare, "methods of attack against defenses, over many random attacks"),
        ("targets", targets, "test pictures by how near they are to the class they shall get"),
    ):
        command = commands.add_parser(
            name, help=text, description=module.__doc__, allow_abbrev=False
        )
        module.add_flags(command)
        add_attack_flags(command)
        command.set_defaults(run=module.run)
    fetch = commands.add_parser("fetch", help="download a dataset once", allow_abbrev=False)
    fetch.add_argument("dataset", choices=["cifar10"], help="what to download: 162 MiB")
    fetch.set_defaults(run=_fetch)
    for name, module, text in (
        ("defend", defend, "judge a run's poisons under defenses"),
        ("forensics", forensics, "which pictures of a run did it"),
        ("contest", contest, "red teams against blue teams"),
        ("pictures", pictures, "make a data set of your photographs"),
        ("pretrain", pretrain, "make weights to fine-tune"),
        ("bench", bench, "how well this machine's arithmetic is used"),
        ("scenarios", scenarios, "attacks of the paper by name, and what they need"),
    ):
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_flags(command)
        command.set_defaults(run=module.run)
    for name, text in tell.COMMANDS.items():
        told = commands.add_parser(name, help=text, description=tell.__doc__)
        tell.add_flags(told, name)
        told.set_defaults(run=tell.run, kind=name)
    check = commands.add_parser("doctor", help="look at this machine, and advise")
    check.set_defaults(run=doctor.run)
    return parser


def _fetch(_: argparse.Namespace) -> int:
    from mpkit.cli.output import show
    from mpkit.data import datasets

    show(f"CIFAR-10 is in {datasets.fetch_cifar10()}")
    return 0


def _in_words(message: Warning | str, *_) -> str:
    """A warning as a line of the command, and not as one of the library's code."""
    from mpkit.data.names import steady

    return f"mpkit: {steady(str(message))}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0 done, 2 refused (one line says why), 130 interrupted; 1 where one of several
    processes is lost."""
    warnings.formatwarning = _in_words
    with quietly():
        from mpkit.cli.output import ready_streams, say

        ready_streams()
        parser = build_parser()
        from mpkit.group import joined, launched
    speak = _alone_heard(say) if launched() else say
    try:
        with joined(speak) as group:
            if group is None:
                options = parser.parse_args(arguments)
                return options.run(options)
            code = _one_of_several(parser, arguments, group)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)  # with no last word of the threads that talk to others
    except KeyboardInterrupt:
        say(STOPPED.rstrip("\n"))
        return 130
    except Exception as error:
        if (text := _refusal(error)) is None:
            raise
        say(text)
        return 2


def _refusal(error: Exception) -> str | None:
    """What a command says of an error that is no fault of ours; None for one that is."""
    from mpkit.device import out_of_memory

    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and out_of_memory(error)):
        return (
            "mpkit: memory ran out: use fewer --models or --victims, a smaller --batch, or less "
            "and smaller data"
        )
    if isinstance(error, OSError):
        return f"mpkit: {error}; name another place, or make this one usable"
    return f"mpkit: {error}" if isinstance(error, ValueError) else None  # DataError and RecordError


def _alone_heard(say: Callable) -> Callable:
    """The first process of several says all; the others only what it can't, once it is lost."""
    if os.environ["RANK"] == "0":
        return say
    say = functools.partial(say, stream=sys.stderr)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    return say


def _one_of_several(parser: argparse.ArgumentParser, arguments, group: Group) -> int:
    """A command as one of the processes that a launcher started."""
    from mpkit.cli import attack, compare, sweep

    try:
        options = parser.parse_args(arguments)
        if options.run not in (attack.run, compare.run, sweep.run):
            raise ValueError(
                "attack, sweep and compare run on several processes, and no other command: leave "
                "out torchrun"
            )
        return options.run(options)
    except SystemExit as error:  # which the parser has said
        if error.code:
            group.failed(error.code, "" if group.ranks.first else "mpkit: other flags here")
        return 0
    except Exception as error:
        if text := _refusal(error):
            group.failed(2, text)
        group.broken(error)


if __name__ == "__main__":
    sys.exit(main())
