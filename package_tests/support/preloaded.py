"""Imports of most child processes of tests: `processes.py` forks them from a process that has imported this module."""

# ruff: noqa: F401
import masoniteorm.commands
import pydantic
import pytest
import werkzeug

import zuplo_origin.commands
import zuplo_origin.dev.commands
import zuplo_origin.factory
import zuplo_origin.guard
import zuplo_origin.http.application
import zuplo_origin.http.kernel
import zuplo_origin.observability.metrics
import zuplo_origin.testing
