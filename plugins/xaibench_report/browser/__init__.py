"""The picture browser of the page: which pictures it holds, and what it shows of each."""
