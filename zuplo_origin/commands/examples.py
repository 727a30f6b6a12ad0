"""Examples of every command, for ``--help`` and the reference of the documentation."""

from collections.abc import Iterable
from typing import Any

from cleo.formatters.formatter import Formatter

EXAMPLES: dict[str, tuple[str, ...]] = {
    "command": ("command Greet",),
    "controller": ("controller Orders", "controller admin/Users --resource"),
    "event": ("event OrderShipped",),
    "job": ("job SendInvoice",),
    "jwks:show": ("jwks:show", "jwks:show --json"),
    "jwt:inspect": (
        'jwt:inspect "$TOKEN"',
        'jwt:inspect "$TOKEN" --route "POST /orders"',
        "pbpaste | python craft jwt:inspect",
    ),
    "jwt:token": (
        "jwt:token",
        'jwt:token --sub alice --scope "read:orders write:orders"',
        "jwt:token --ttl -60",
        'jwt:token --alg RS256 --claim role=admin --claim \'realm_access={"roles": ["buyer"]}\'',
        'curl -H "Authorization: Bearer $(python craft jwt:token)" http://127.0.0.1:8000/protected',
    ),
    "key": ("key", "key --dont-store"),
    "listener": ("listener NotifyWarehouse",),
    "mailable": ("mailable Welcome",),
    "middleware": ("middleware Audit",),
    "migrate": ("migrate", "migrate --show", "migrate --force"),
    "migrate:fresh": ("migrate:fresh",),
    "migrate:refresh": ("migrate:refresh",),
    "migrate:reset": ("migrate:reset",),
    "migrate:rollback": ("migrate:rollback",),
    "migrate:status": ("migrate:status",),
    "migration": ("migration create_orders_table --create orders", "migration add_paid_to_orders_table --table orders"),
    "model": ("model Order", "model Order --migration --seeder"),
    "notification": ("notification OrderShipped",),
    "notification:table": ("notification:table",),
    "observer": ("observer Order",),
    "openapi:write": ("openapi:write openapi.json", "openapi:write -"),
    "origin:check": (
        "origin:check http://127.0.0.1:8000",
        'origin:check https://origin.example.com --token "$TOKEN"',
        'origin:check https://origin.example.com --token "$TOKEN" --junit results.xml',
    ),
    "policy": ("policy Order", "policy Order --model"),
    "protected:make": (
        "protected:make Orders --path /orders --scope read:orders",
        "protected:make Products --scope read:products --resource",
        "protected:make order-notes --path /orders/@order:int/notes --method POST --scope write:orders",
    ),
    "provider": ("provider Payments",),
    "queue:failed": ("queue:failed",),
    "queue:retry": ("queue:retry", "queue:retry --driver database --queue default"),
    "queue:table": ("queue:table",),
    "queue:work": ("queue:work", "queue:work --driver database --queue mails --attempts 3"),
    "routes:list": ("routes:list", "routes:list --methods POST,PUT", "routes:list --name '^orders'"),
    "rule": ("rule Sku",),
    "rule:enclosure": ("rule:enclosure NewOrder",),
    "schedule:run": ("schedule:run", "schedule:run --task Cleanup"),
    "seed": ("seed Orders",),
    "seed:run": ("seed:run", "seed:run Orders"),
    "serve": (
        "serve",
        "serve --port 3000",
        "JWT_ISSUER=https://gateway.example.com/__zuplo/issuer JWT_AUDIENCE=zuplo-origin python craft serve",
        "NO_COLOR=1 python craft serve",
    ),
    "task": ("task Cleanup",),
    "test": ("test Orders",),
    "tinker": ("tinker",),
    "zuplo:export": (
        "zuplo:export ../gateway",
        "zuplo:export ../gateway --dry-run",
        "zuplo:export ../gateway --check",
        "zuplo:export ../gateway --identity user",
    ),
}
"""Command to its examples. One that begins with the command's name is called with ``python craft``."""


def examples_of(name: str) -> list[str]:
    """Return the examples of the command ``name`` as they are typed in a shell."""
    return [f"python craft {each}" if each.split()[0] == name else each for each in EXAMPLES.get(name, ())]


def add_examples(commands: Iterable[Any]) -> None:
    """Add the examples to what ``--help`` of each command prints."""
    for command in commands:
        lines = examples_of(command.name)
        if lines:
            text = "\n".join(["Examples:", "", *(f"  {line}" for line in lines)])
            command.help = Formatter.escape(text).replace("{", "{{").replace("}", "}}")
