"""Authorization: gates and policies. The user is the dict of the verified claims."""

from typing import Any

from masonite.authorization import AuthorizationResponse
from masonite.authorization import Gate as MasoniteGate

from zuplo_origin.http.kernel import Provider

from .overlay import bind_overlay


class Gate(MasoniteGate):
    """Masonite's ``Gate``.

    ``allows`` and ``denies`` return a boolean and nothing else: in Masonite, a denial also sets the status 403 of the
    response. ``for_user`` returns a gate for another user. Outside a request there is no user.
    """

    def __init__(self, application: Any, user_callback: Any = None, *registries: Any) -> None:
        # Masonite's default arguments are shared by all gates of the process
        policies, permissions, before, after = registries or ({}, {}, [], [])
        super().__init__(application, user_callback, policies, permissions, before, after)

    def copy(self) -> "Gate":
        registries = self.policies, self.permissions, self.before_callbacks, self.after_callbacks
        return type(self)(self.application, self.user_callback, *(each.copy() for each in registries))

    def for_user(self, user: Any) -> "Gate":
        registries = self.policies, self.permissions, self.before_callbacks, self.after_callbacks
        return type(self)(self.application, lambda: user, *registries)

    def inspect(self, permission: str, *arguments: Any) -> Any:
        result = self.check(permission, *arguments)
        if isinstance(result, AuthorizationResponse):
            return result
        return AuthorizationResponse.allow() if result else AuthorizationResponse.deny()

    def _get_user(self) -> Any:
        if self.user_callback:
            return self.user_callback()
        return self.application.make("request").user() if self.application.has("request") else None


class AuthorizationProvider(Provider):
    """Binds ``gate``."""

    def register(self) -> None:
        bind_overlay(self.application, "gate", Gate(self.application))
