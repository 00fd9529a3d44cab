"""Whether a map lies where the picture was manipulated."""
