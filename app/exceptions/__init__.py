"""Every error leaves as JSON, and leaks nothing: the phrases are fixed, and stand in ``answers``."""
