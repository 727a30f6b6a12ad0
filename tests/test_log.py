"""How a line of the log looks."""

import logging

from app.foundation.LineFormatter import LineFormatter


def test_a_line_looks_as_the_standard_library_writes_it():
    usual = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    ours = LineFormatter()
    for created in (1_700_000_000.25, 1_700_000_000.999, 1_700_000_001.0, 1_700_000_000.5):
        record = logging.LogRecord("app.jwt", logging.INFO, "", 0, "refused reason=%s", ("no_token",), None)
        record.created, record.msecs = created, created % 1 * 1000
        assert ours.format(record) == usual.format(record)


def test_a_traceback_follows_its_line():
    try:
        raise LookupError("gone")
    except LookupError as error:
        told = (type(error), error, error.__traceback__)
    record = logging.LogRecord("app", logging.ERROR, "", 0, "the application broke", (), told)

    assert "the application broke\nTraceback" in LineFormatter().format(record)
