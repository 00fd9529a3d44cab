"""Whether the regions that a map puts first are those that an attack needs."""
