"""Attacks over real sockets, each of which once worked somewhere."""
