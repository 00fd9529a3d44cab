"""The recipes that come with xaibench: plain cross-entropy and human-guided training with its control."""
