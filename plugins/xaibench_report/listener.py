"""The leaderboards on stdout when a run ends."""

from __future__ import annotations

from xaibench.api import Parameters, RunEnds, make_console


class Leaderboards:
    """Prints the leaderboards of everything in the folder, where a person reads and the run came to its end."""

    def __init__(self, parameters: Parameters) -> None: ...

    def run_ends(self, event: RunEnds) -> None:
        if event.interrupted or event.output != "text":
            return
        from xaibench_report.boards.leaderboard import build_leaderboards
        from xaibench_report.terminal import boards_terminal as terminal
        from xaibench_report.values.run_tables import read_run

        terminal.print_leaderboards(build_leaderboards(*read_run(event.out)), make_console())
