"""Which measures can be believed: each is run on detectors whose evidence is planted and known."""
