"""From the tables to what people read: leaderboards, verdicts, comparison of runs, the HTML report."""
