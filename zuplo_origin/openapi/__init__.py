"""The API description, generated from the routes, their controllers, and the types of their actions."""

from zuplo_origin.http.actions import accepts, responds

__all__ = ["accepts", "responds"]
