"""Notifications by mail, Slack and SMS, and in the database; each recipient's is an object of its own."""

import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import requests
from masonite.exceptions import NotificationException
from masonite.notification import AnonymousNotifiable, Notifiable
from masonite.notification import MockNotification as MasoniteMockNotification
from masonite.notification import NotificationManager as MasoniteNotificationManager
from masonite.notification.drivers import DatabaseDriver as MasoniteDatabaseDriver
from masonite.notification.drivers import MailDriver
from masonite.notification.drivers import SlackDriver as MasoniteSlackDriver
from masonite.notification.drivers import VonageDriver as MasoniteVonageDriver
from masonite.queues import Queueable, ShouldQueue

from zuplo_origin.http.kernel import Provider

from .common import own_copy, read
from .start import problem_with_connection

TIMEOUT = 10.0
"""Seconds for each step with another service, unless the driver's option ``timeout`` says otherwise."""


class SendNotification(Queueable):
    """The job that sends a queued notification to one recipient."""

    def __init__(self, recipient: Any, notification: Any, drivers: list[str], fail_silently: bool) -> None:
        self.recipient, self.notification = recipient, notification
        self.drivers, self.fail_silently = drivers, fail_silently

    @property
    def job_name(self) -> str:
        return f"SendNotification({type(self.notification).__qualname__})"

    def handle(self) -> None:
        from wsgi import application

        manager = application.make("notification")
        manager.send_now(self.recipient.found(application), self.notification, self.drivers, self.fail_silently)


class Recipient:
    """A recipient in a queued notification: its routes, or the key of its model, which the worker looks up again."""

    def __init__(self, notifiable: Any) -> None:
        self._routes = self._model = self._key = self._other = None
        if isinstance(notifiable, AnonymousNotifiable):
            self._routes = dict(notifiable._routes)
        elif hasattr(notifiable, "get_primary_key_value"):
            self._model, self._key = type(notifiable), notifiable.get_primary_key_value()
        else:
            self._other = notifiable

    def found(self, application: Any) -> Any:
        """Return the recipient. Raises ``NotificationException`` if its model has gone."""
        if self._routes is not None:
            anonymous = AnonymousNotifiable(application)
            anonymous._routes = dict(self._routes)
            return anonymous
        if self._model is None:
            return self._other
        model = self._model.find(self._key)
        if model is None:
            raise NotificationException(f"there is no {self._model.__name__} {self._key!r} any more")
        return model


class NotificationManager(MasoniteNotificationManager):
    """Masonite's ``NotificationManager``, bound as ``notification``. It keeps nothing of what it sends."""

    def send(
        self,
        notifiables: Any,
        notification: Any,
        drivers: Iterable[str] = (),
        dry: bool = False,
        fail_silently: bool = False,
        channels: Iterable[str] = (),
    ) -> Any:
        """Send ``notification`` by the drivers that its ``via`` returns, or by ``drivers`` (also ``channels``).

        A notification that is ``Queueable`` is put on the queue, one job for each recipient. Return the result of the
        driver, or a list of several.
        """
        is_silent = fail_silently or getattr(notification, "_fail_silently", False)
        if dry or getattr(notification, "_dry", False) or self.options.get("dry") or not notification.should_send():
            return None
        chosen, results = list(drivers) or list(channels), []
        for notifiable in self._format_notifiables(notifiables):
            if isinstance(notification, Queueable | ShouldQueue):
                self._push(notifiable, notification, chosen, is_silent)
            else:
                results += self.send_now(notifiable, notification, chosen, is_silent)
        return results[0] if len(results) == 1 else results

    def _push(self, notifiable: Any, notification: Any, drivers: list[str], is_silent: bool) -> None:
        job = SendNotification(Recipient(notifiable), own_copy(notification), drivers, is_silent)
        queue = notification.queue() if isinstance(notification, Queueable) else "default"
        self.application.make("queue").push(job, queue=queue)

    def send_now(self, notifiable: Any, notification: Any, drivers: list[str], is_silent: bool) -> list[Any]:
        """Send ``notification`` to one recipient, and return the results of the drivers."""
        own = own_copy(notification)
        chosen, results = drivers or own.via(notifiable), []
        if not chosen:
            raise NotificationException(f"No drivers have been defined in via() method of {own.type()} notification.")
        own.id = uuid.uuid4()
        for name in chosen:
            if isinstance(notifiable, AnonymousNotifiable) and name == "database":
                continue  # it has no row to belong to; the other drivers can be used
            try:
                results.append(self.get_driver(name).send(notifiable, own_copy(own)))
            except Exception:
                if not (own.ignore_errors() or is_silent):
                    raise
        return results

    def get_driver(self, name: str) -> Any:
        if name not in self.drivers:
            raise NotificationException(f"there is no notification driver {name!r}, but {', '.join(self.drivers)}")
        return self.drivers[name]


def notify(self: Any, notification: Any, *arguments: Any, **named: Any) -> Any:
    """Send ``notification`` to this recipient.

    Masonite's own method also calls ``Queueable.send`` of a queued notification, which pushes a job that does nothing.
    """
    from wsgi import application

    return application.make("notification").send(self, notification, *arguments, **named)


class DatabaseDriver(MasoniteDatabaseDriver):
    """Masonite's driver ``database``: a row in the table of ``notification:table`` for each recipient."""

    def get_builder(self) -> Any:
        from masoniteorm.query import QueryBuilder

        return QueryBuilder(connection=self.options.get("connection") or "default").table(
            self.options.get("table") or "notifications"
        )

    def send(self, notifiable: Any, notification: Any) -> Any:
        """Write the row, and return it."""
        return self.get_builder().create(self.build(notifiable, notification))

    def build(self, notifiable: Any, notification: Any) -> dict[str, Any]:
        """Return the row."""
        data = self.get_data("database", notifiable, notification)
        return {
            "id": str(notification.id),
            "type": notification.type(),
            "notifiable_id": notifiable.get_primary_key_value(),
            "notifiable_type": notifiable.get_table_name(),
            "data": data if isinstance(data, str) else json.dumps(data, default=str),
            "read_at": None,
        }


class SlackDriver(MasoniteSlackDriver):
    """Masonite's driver ``slack``, with time-outs, and without the webhook's URL in its exceptions: it is a secret."""

    def get_sending_mode(self, recipients: Any) -> int:
        modes = {str(each).startswith(("https://", "http://")) for each in recipients}
        if len(modes) != 1:
            raise NotificationException(
                "Slack sending mode cannot be mixed." if modes else "there is no Slack recipient"
            )
        return int(self.WEBHOOK_MODE if modes.pop() else self.API_MODE)

    def send_via_webhook(self, slack_message: Any) -> None:
        payload = slack_message.build().get_options()
        for url in slack_message._to:
            response = self._post(url, json=payload)
            if response.status_code != 200:
                why = response.text[:200]
                raise NotificationException(
                    f"Slack responded with {response.status_code}: {why}. Check Slack webhooks docs."
                )

    def send_via_api(self, slack_message: Any) -> Any:
        """Send the message to each channel, and return the last response."""
        response: Any = None
        for channel in list(slack_message._to):
            slack_message.to(self.convert_channel(channel, slack_message._token))
            response = self._checked(self._post(self.send_url, data=slack_message.build().get_options()))
        return response

    def convert_channel(self, name: str, token: str) -> str:
        """Return the id of the channel ``#name``; any other name is an id already."""
        if "#" not in name:
            return name
        found = self._checked(self._post(self.channel_url, data={"token": token}))
        for channel in found.get("channels", []):
            if channel["name"] == name.split("#")[1]:
                return str(channel["id"])
        raise NotificationException(f"The user or channel being addressed either do not exist or is invalid: {name}")

    def _post(self, url: str, **content: Any) -> requests.Response:
        try:
            return requests.post(url, timeout=float(self.options.get("timeout") or TIMEOUT), **content)
        except requests.RequestException as error:
            raise NotificationException(f"Slack cannot be reached: {type(error).__name__}") from None

    def _checked(self, response: requests.Response) -> Any:
        try:
            body = response.json()
        except ValueError:
            raise NotificationException(f"Slack responded with {response.status_code}, without JSON") from None
        if not body.get("ok"):
            raise NotificationException(f"{body.get('error')}. Check Slack API docs.")
        return body


class VonageDriver(MasoniteVonageDriver):
    """Masonite's driver ``vonage``, with a time-out. It needs the packages vonage and phonenumbers."""

    def get_client(self) -> Any:
        from vonage import Auth, HttpClientOptions, Vonage

        options = HttpClientOptions(timeout=int(float(self.options.get("timeout") or TIMEOUT)))
        return Vonage(Auth(api_key=self.options.get("key"), api_secret=self.options.get("secret")), options)

    def send(self, notifiable: Any, notification: Any) -> Any:
        try:
            import phonenumbers  # noqa: F401
            import vonage  # noqa: F401
        except ImportError:
            raise ModuleNotFoundError(
                "the notification driver vonage needs vonage and phonenumbers: add them to requirements.in"
            ) from None
        return super().send(notifiable, notification)


class BroadcastDriver:
    """The driver ``broadcast`` cannot be used: it raises an exception with the reason."""

    def set_options(self, options: dict[str, Any]) -> "BroadcastDriver":
        return self

    def send(self, notifiable: Any, notification: Any) -> None:
        raise NotificationException("this application does not broadcast; send to your broadcasting service from a job")


class MockNotification(MasoniteMockNotification, NotificationManager):
    """The fake of ``notification`` in tests, with Masonite's assertions. Each fake begins with nothing sent."""

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self.resetCount()

    def reset(self) -> None:
        self.resetCount()


class NotificationProvider(Provider):
    """Binds ``notification``, with the drivers of ``config/notification.py``. Queued ones need ``QueueProvider``."""

    def problems_at_start(self) -> Iterator[str]:
        """Yield a sentence if the table of notifications is in a connection that there is not."""
        options = (self.application.make("notification").driver_config or {}).get("database")
        name = options.get("connection") if isinstance(options, dict) else options
        return problem_with_connection(self.application, "config/notification.py: database: connection", name)

    def register(self) -> None:
        application = self.application
        drivers = read(application, "notification.drivers")
        configuration = {"drivers": drivers, "dry": application.make("config").get("notification.dry", False)}
        manager = NotificationManager(application).set_configuration(configuration)
        manager.add_driver("mail", MailDriver(application))
        manager.add_driver("database", DatabaseDriver(application))
        manager.add_driver("slack", SlackDriver(application))
        manager.add_driver("vonage", VonageDriver(application))
        manager.add_driver("broadcast", BroadcastDriver())
        application.bind("notification", manager)
        application.bind("mock.notification", MockNotification(application))
        Notifiable.notify = notify
