"""Files of a run for other programs and for papers: a table, the methods in words, their BibTeX."""
