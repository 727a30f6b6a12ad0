"""Events and listeners. Providers register listeners in ``register``."""

from inspect import isclass
from typing import Any

from masonite.events import Event as MasoniteEvent

from zuplo_origin.http.kernel import Provider

from .overlay import bind_overlay


class Event(MasoniteEvent):
    """Masonite's ``Event``. An exception in a listener is raised by ``fire``, and later listeners do not run."""

    def copy(self) -> "Event":
        copied = type(self)(self.application)
        copied.events = {event: list(listeners) for event, listeners in self.events.items()}
        return copied

    def listen(self, event: Any, listeners: Any) -> "Event":
        # a list of its own: Masonite extends the list that the caller has passed
        added = listeners if isinstance(listeners, list) else [listeners]
        self.events[event] = [*self.events.get(event, []), *added]
        return self


def isolate_events(application: Any) -> None:
    """Bind a copy for each request, if Masonite's own ``EventProvider`` is used: ``listen`` in ``boot`` adds to it."""
    bound = application.objects.shared["event"]
    if type(bound) is MasoniteEvent:
        event = Event(application)
        event.events = bound.events
        bind_overlay(application, "event", event)


class MockEvent(Event):
    """The fake of ``event`` in tests: it keeps the events in ``fired``, and calls no listener."""

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self.fired: list[Any] = []

    def reset(self) -> None:
        self.fired = []

    def fire(self, event: Any, *arguments: Any, **named: Any) -> list[Any]:
        self.fired.append(event)
        return [event]

    def times(self, event: Any) -> int:
        """Return how often ``event``, a name or a class, was fired."""
        return sum(fired == event or (isclass(event) and isinstance(fired, event)) for fired in self.fired)

    def assertFired(self, event: Any, count: int | None = None) -> "MockEvent":
        found = self.times(event)
        assert found and count in (None, found), f"{event} was fired {found} times"  # noqa: S101
        return self

    def assertNotFired(self, event: Any) -> "MockEvent":
        assert not self.times(event), f"{event} was fired {self.times(event)} times"  # noqa: S101
        return self


class EventProvider(Provider):
    """Binds ``event``, and its fake for tests."""

    def register(self) -> None:
        bind_overlay(self.application, "event", Event(self.application))
        self.application.bind("mock.event", MockEvent(self.application))
