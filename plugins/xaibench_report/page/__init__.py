"""The page of ``xaibench report``, and its pictures."""
