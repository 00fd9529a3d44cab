"""The start and the end of the program. Nothing heavy is imported before it listens to Ctrl-C."""

from __future__ import annotations

import atexit
import os
import sys

from xaibench.cli.interrupts import EXIT_CODE, Interrupts, say_interrupted

TYPE_CHECKING = False  # the module typing would be the dearest import of this file
if TYPE_CHECKING:
    from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the program and exit with the code of the design: see :mod:`xaibench.api.errors`.

    An interrupt gives 130 and one line, whatever it broke; with ``--debug`` the traceback, too.
    """
    interrupts = Interrupts()
    try:
        interrupts.listen()
        if arguments is None:
            atexit.register(interrupts.ignore)  # the first to register is the last to be called
        code = _code(sys.argv[1:] if arguments is None else arguments, interrupts)
        interrupts.end()
        if arguments is None:
            _end_threads(code)
    finally:
        if arguments is not None:
            interrupts.stop()
    # CPython ends as if killed by SIGINT where an interrupt came up within an exec() of text, as in the making of a
    # dataclass at import, though it was caught; the next exec() forgets it.
    exec("")
    sys.exit(code)


def _code(argv: list[str], interrupts: Interrupts) -> int:
    debug = "--debug" in argv or os.environ.get("XAIBENCH_DEBUG", "").lower() not in ("", "0", "false", "no", "off")
    try:
        _open_closed_streams()
        return _run(argv, debug, interrupts)
    except BaseException as raised:
        interrupted = interrupts.came or isinstance(raised, KeyboardInterrupt)
        if interrupted:
            interrupts.end()
        if debug and interrupted and not isinstance(raised, SystemExit):
            import traceback

            traceback.print_exception(raised)
        if isinstance(raised, SystemExit) and not (interrupted and raised.code and _untold(raised)):  # of typer
            return raised.code if isinstance(raised.code, int) else int(raised.code is not None)
        if not interrupted:
            raise
        say_interrupted()
        return EXIT_CODE


def _untold(stop: SystemExit) -> bool:
    """Whether no command has said that it was interrupted: it would have exited by itself."""
    if stop.code != EXIT_CODE:
        return True
    return isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt)  # so typer exits for it


def _run(argv: list[str], debug: bool, interrupts: Interrupts) -> int:
    # Read when NumPy is loaded, by workers too: threads of its BLAS would wait for cores that torch's threads hold.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from xaibench.cli.program import program, run_program
    from xaibench.cli.shell_completion import complete, is_completing

    if is_completing():
        return complete(program)
    return run_program(argv, debug, lambda: interrupts.came)


def _end_threads(code: int) -> None:
    """End the process where threads of plugins would keep it alive for ever."""
    import threading

    threads = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if not threads:
        return
    for thread in threads:
        thread.join(1.0)
    if not any(thread.is_alive() for thread in threads):
        return
    print(f"xaibench: {len(threads)} threads of components do not end, and are left behind", file=sys.stderr)
    atexit._run_exitfuncs()  # what the interpreter would call next, were it not for the threads
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _open_closed_streams() -> None:
    """Give /dev/null to streams that the caller closed (``2>&-``).

    ``print`` writes to stdout where stderr is None, and the first file that is opened would get the free descriptor.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while (descriptor := os.open(os.devnull, os.O_RDWR)) < number:
                continue
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w", encoding="utf-8"))
