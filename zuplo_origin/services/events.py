"""Events and listeners. Providers register listeners in ``register``."""

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


class EventProvider(Provider):
    """Binds ``event``."""

    def register(self) -> None:
        bind_overlay(self.application, "event", Event(self.application))
