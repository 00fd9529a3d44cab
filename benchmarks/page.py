"""Measure for ``docs/explanation/measurements.md``, and put the tables into it.

Every block of the page between ``<!-- NAME -->`` and ``<!-- end -->`` is what the programme of that name below printed:
the machine first, then its tables. Blocks are measured one after another, and the page is written after each, so that
a run that is interrupted loses one. The machine should do nothing else for about an hour: a load above ``--most-load``
is refused.

    python benchmarks/page.py [--only NAME] [--most-load 3] [--list]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "explanation" / "measurements.md"
BARE = ("components.py", "--clock", "cpu")
BLOCKS: Mapping[str, tuple[str, Sequence[str]]] = {
    "components efficientnet": ("### EfficientNet-B0", (*BARE, "--network", "efficientnet", "--rounds", "2")),
    "components resnet": ("### ResNet-18", (*BARE, "--network", "resnet", "--rounds", "2")),
    "components demo": ("### The demo detector", (*BARE, "--network", "demo")),
    "components vit": ("### ViT-S/16", (*BARE, "--network", "vit", "--rounds", "2", "--samples", "64")),
    "peers as-is": ("### As users start them", ("peers.py", "--memory", "as-is")),
    "peers kept": ("### Freed memory kept by all", ("peers.py", "--memory", "kept")),
    "peers two threads": (
        "### Two threads",
        ("peers.py", "--memory", "as-is", "--threads", "2", "--network", "resnet"),
    ),
    "workers": (
        "### Workers\n\nThe demo, 24 samples, RISE with 1,000 masks, deletion and insertion.",
        ("growth.py", "--part", "workers"),
    ),
    "samples": (
        "### Samples\n\nPictures of 16 x 16 and a detector that costs nothing, two explainers and two metrics that "
        "ask for no pass:\nwhat is left is the run's own.",
        ("growth.py", "--part", "samples"),
    ),
    "explainers": (
        "### Explainers\n\nThe demo, 16 samples, RISE with 256 masks at so many settings, deletion and insertion.",
        ("growth.py", "--part", "explainers"),
    ),
    "size": (
        "### Picture size\n\nMicroseconds a pass outside of a detector that costs nothing.",
        ("growth.py", "--part", "size"),
    ),
    "memory": (
        "### Memory\n\nResident memory that one map takes at 224 x 224 beyond the libraries and the detector.",
        ("growth.py", "--part", "memory"),
    ),
    "frames": (
        "### Ten million frames\n\nPasses are those of the defaults, with deletion and insertion on each map. "
        "Milliseconds a pass are measured with 256\nsamples on this network, everything included. The last summand "
        "is the run's own time for a sample, from *Samples* above.\n\n"
        "    seconds a frame = passes of the map x ms + passes of deletion x ms + passes of insertion x ms + own time\n"
        "    core-days = seconds a frame x 10,000,000 / 86,400\n\n"
        "Explainers and metrics divide over samples, so that machines divide the days: `--part i/n`, or an\n"
        "[executor](../how-to/cluster.md).",
        ("growth.py", "--part", "frames"),
    ),
}
"""By block its heading with what the reader must know, and the programme."""


def printed(command: Sequence[str]) -> str:
    """What a programme prints; its progress goes to this one's."""
    threads = "2" if "--threads" in command else "1"
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    program, *arguments = command
    whole = [sys.executable, str(HERE / program), *arguments, "--markdown"]
    return subprocess.run(whole, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def put(page: str, name: str, text: str) -> str:
    """``page`` with a block replaced. Raises :class:`SystemExit` where it has none of that name."""
    block = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(page):
        raise SystemExit(f"{PAGE.name} has no block <!-- {name} --> ... <!-- end -->")
    return block.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=BLOCKS, metavar="NAME", action="append", help="these blocks alone")
    parser.add_argument("--most-load", type=float, default=3.0, help="load above which nothing is measured")
    parser.add_argument("--list", action="store_true", help="the blocks and their commands")
    options = parser.parse_args()
    for name in options.only or BLOCKS:
        heading, command = BLOCKS[name]
        if options.list:
            print(f"{name}: python benchmarks/{' '.join(command)} --markdown")
            continue
        if os.getloadavg()[0] > options.most_load:
            raise SystemExit(f"the load is {os.getloadavg()[0]:.1f}: wait, or raise --most-load")
        text = printed(command)
        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), name, f"{heading}\n\n{text}"), encoding="utf-8")
        print(f"{name}: written", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
