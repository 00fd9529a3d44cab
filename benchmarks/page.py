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
BLOCKS: Mapping[str, Sequence[str]] = {
    "components efficientnet": (*BARE, "--network", "efficientnet", "--rounds", "2"),
    "components resnet": (*BARE, "--network", "resnet", "--rounds", "2"),
    "components demo": (*BARE, "--network", "demo"),
    "components vit": (*BARE, "--network", "vit", "--rounds", "2", "--samples", "64"),
    "peers as-is": ("peers.py", "--memory", "as-is"),
    "peers kept": ("peers.py", "--memory", "kept"),
    "peers two threads": ("peers.py", "--memory", "as-is", "--threads", "2", "--network", "resnet"),
    "workers": ("growth.py", "--part", "workers"),
    "samples": ("growth.py", "--part", "samples"),
    "explainers": ("growth.py", "--part", "explainers"),
    "size": ("growth.py", "--part", "size"),
    "memory": ("growth.py", "--part", "memory"),
    "frames": ("growth.py", "--part", "frames"),
}


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
        command = BLOCKS[name]
        if options.list:
            print(f"{name}: python benchmarks/{' '.join(command)} --markdown")
            continue
        if os.getloadavg()[0] > options.most_load:
            raise SystemExit(f"the load is {os.getloadavg()[0]:.1f}: wait, or raise --most-load")
        text = printed(command)
        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")
        print(f"{name}: written", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
