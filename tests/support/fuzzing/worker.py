"""A process that runs commands of xaibench one after another, and tells how each of them ended.

It reads an object a line on stdin, and writes one a line on the descriptor that its first argument names.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import time
import traceback

ADDRESS_SPACE = 10 * 2**30  # bytes; the libraries alone reserve some


def _run(argv: list[str], folder: str) -> tuple[int, float]:
    from xaibench.cli.main import main

    environment, path = dict(os.environ), list(sys.path)
    os.chdir(folder)
    began = time.monotonic()
    try:
        main(argv)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = -1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        for name in ("maker",):  # a module of this input, which the next one must not get
            sys.modules.pop(name, None)
    return code, time.monotonic() - began


def serve(answers: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(os.open("/dev/null", os.O_WRONLY))
    with os.fdopen(answers, "w") as channel:
        for line in sys.stdin:
            task = json.loads(line)
            for descriptor, name in ((1, task["out"]), (2, task["err"])):
                file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, descriptor)
                os.close(file)
            code, seconds = _run(task["argv"], task["folder"])
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB
            channel.write(json.dumps({"code": code, "seconds": seconds, "peak": peak}) + "\n")
            channel.flush()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
