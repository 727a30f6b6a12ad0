"""What the process tells of itself: a line for each request, metrics, traces. Nothing in it holds a client's words."""
