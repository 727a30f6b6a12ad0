"""What is wrong with the settings, gathered, so that it can be told all at once."""

from typing import Any


class BadSettings(Exception):
    """Settings that cannot be meant. Its text lists every one: the variable, what it holds, and what to write."""


class Problems:
    """A list of contradictions, each with the variable's name, what it holds, and what to write instead."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, variable: str, held: Any, advice: str, secret: bool = False) -> None:
        """Note one. A secret's value, and a URL's credentials, are not repeated."""
        if held in (None, "", [], {}):
            what = f"{variable} is not set"
        elif secret or "@" in str(held):
            what = f"{variable} holds a value that is not shown here"
        else:
            what = f"{variable} holds {str(held)[:200]!r}"
        problem = f"  {what}\n      {advice}"
        if problem not in self._found:
            self._found.append(problem)

    def raise_if_any(self) -> None:
        """Raise ``BadSettings`` where anything was noted."""
        if self._found:
            count = len(self._found)
            title = "1 setting" if count == 1 else f"{count} settings"
            raise BadSettings(f"Nothing was started: {title} cannot be meant.\n\n" + "\n".join(self._found))
