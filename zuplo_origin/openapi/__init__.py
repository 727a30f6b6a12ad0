"""The API description, generated from the routes, their controllers, and the types of their actions."""

from zuplo_origin.http.actions import accepts, reads_header, responds

__all__ = ["accepts", "reads_header", "responds"]
