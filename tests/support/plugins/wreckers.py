"""A plugin whose explainers never come back, crash, exit or print rubbish, each where the sample's id holds ``at``."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

from xaibench.api import ExplainerRecord, Explanation, Forward, Parameters, Passes, Wait, hookimpl


class WreckerParameters(Parameters):
    at: str = ""


class Wrecker:
    Parameters = WreckerParameters
    always_explains = True

    def __init__(self, parameters):
        self.parameters = parameters

    def passes(self, query):
        return Passes(forward=1)

    def explain(self, request):
        yield Forward(request.picture.image[None])
        if self.parameters.at in request.picture.sample.id:
            yield from self.wreck(request)
        return Explanation(map=request.picture.image.mean(0).clone())


class Hangs(Wrecker):
    def wreck(self, request):
        time.sleep(3600)
        yield from ()


class Loops(Wrecker):
    def wreck(self, request):
        while True:
            yield Forward(request.picture.image[None][:0])


class Asks(Wrecker):
    def wreck(self, request):
        while True:
            yield Forward(request.picture.image[None])


class Waits(Wrecker):
    def wreck(self, request):
        yield Wait(lambda: False)


class Crashes(Wrecker):
    def wreck(self, request):
        ctypes.string_at(0)
        yield from ()


class Exits(Wrecker):
    def wreck(self, request):
        os._exit(0)
        yield from ()


class Prints(Wrecker):
    def wreck(self, request):
        print('{"schema": "nonsense"}\x1b[2J\x07')
        os.write(1, b"\xff\xfe\x1b]0;title\x07\n")
        sys.stderr.write("\x9b31m on stderr\n")
        yield from ()


class LeavesThread(Wrecker):
    def wreck(self, request):
        threading.Thread(target=time.sleep, args=(3600,)).start()
        yield from ()


class Interrupts(Wrecker):
    def wreck(self, request):
        raise KeyboardInterrupt
        yield from ()


KINDS = {
    "hangs": Hangs, "loops": Loops, "asks": Asks, "waits": Waits, "crashes": Crashes, "leaves": Exits, "prints": Prints,
    "leaves-thread": LeavesThread, "interrupts": Interrupts,
}  # fmt: skip


@hookimpl
def xaibench_explainers():
    return [
        ExplainerRecord(name=name, target=f"{__name__}:{kind.__name__}", summary=f"It {name}.")
        for name, kind in KINDS.items()
    ]
