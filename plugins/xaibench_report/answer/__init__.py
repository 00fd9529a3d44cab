"""What a reader must know first of a run, a comparison or a ranking: a paragraph and a small table."""
