"""The second in which lines are written, spelled once for all of them."""

import time
from collections.abc import Callable


class SpelledSecond:
    """Spells times as ``form`` says (``time.strftime``), in the zone of ``zone``, which is one of ``time``'s two."""

    def __init__(self, form: str, zone: Callable[[float], time.struct_time]) -> None:
        self._form, self._zone = form, zone
        self._last = (0, "")  # replaced whole: threads may spell it twice, and never mix it up

    def of(self, created: float) -> str:
        """Return how the second of ``created``, in seconds since the epoch, is spelled."""
        number, spelled = self._last
        if number != int(created):
            number = int(created)
            spelled = time.strftime(self._form, self._zone(number))
            self._last = (number, spelled)
        return spelled
