"""What a notebook shows: one family's board, and one picture with its maps."""
