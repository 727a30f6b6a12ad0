"""How lines are written: one event a line, with the request that it belongs to."""
