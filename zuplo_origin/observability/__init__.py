"""What the process tells of itself: a line for each request, metrics, traces. Nothing in it holds a client's words."""

COUNTING_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where processes meet that count together: set before they import the library."""
