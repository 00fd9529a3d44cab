"""How long ``xaibench list`` takes, as a share of ``import torch``: exit 1 above the bar.

Seconds say little on a shared machine, so both are measured in turns in one run and the minimum of each is taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

BAR = 0.25
COMMANDS = {
    "python": ["-c", "pass"],
    "xaibench --version": ["-m", "xaibench", "--version"],
    "xaibench list": ["-m", "xaibench", "list"],
    "xaibench list --json": ["-m", "xaibench", "list", "--json"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one fresh interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=7, help="processes of each kind, after one to warm up")
    times = parser.parse_args().times
    best = dict.fromkeys(COMMANDS, float("inf"))
    for turn in range(times + 1):
        for name, arguments in COMMANDS.items():
            took = seconds(arguments)
            if turn:
                best[name] = min(best[name], took)
    for name, took in best.items():
        print(f"{name:22} {took:6.3f} s   {took / best['import torch']:5.2f} of import torch")
    worst = max(best["xaibench list"], best["xaibench list --json"]) / best["import torch"]
    print(f"ratio {worst:.3f}, bar {BAR}: {'ok' if worst <= BAR else 'too slow'}")
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
