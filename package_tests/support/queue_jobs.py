"""Jobs for tests of the queue in the test's own process: pickles name them by this module."""

from masonite.queues import Queueable

calls: list = []
"""What the jobs were called with, in order. A test clears it."""


class Note(Queueable):
    def __init__(self, *words):
        self.words = words

    def handle(self, *arguments):
        calls.append((*self.words, *arguments))

    def other(self):
        calls.append(("other", *self.words))


class Fails(Note):
    def handle(self):
        calls.append(("try", *self.words))
        raise AttributeError("it fails")

    def failed(self, job, error):
        calls.append(("failed", sorted(job), error))


class FailsTwice(Note):
    def handle(self):
        calls.append(("try", *self.words))
        if len(calls) < 3:
            raise RuntimeError("not yet")


class Exits(Note):
    def handle(self):
        raise SystemExit(1)


class FailedFails(Fails):
    def failed(self, job, error):
        raise RuntimeError("failed() fails")


class Unreadable(Note):
    def __setstate__(self, state):
        raise LookupError("this version has no such job")


def plain(word):
    calls.append(("plain", word))
