"""What a detector itself shows: accuracy, marks, samples in doubt."""
