"""How far a map moves when picture or detector change."""
