"""Where things stand in a drawing: instants along a line, in the site's zone, and its round ones. Pure."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cutover.observe.report.figures import Period
from cutover.observe.report.svg import Element, element

WIDTH: Final = 1_000.0
LEFT: Final = 190.0
"""How far from the left edge the period begins; names stand before it."""
_STEPS_S: Final = (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
_TICKS: Final = 9
_LETTER: Final = 6.2
"""How wide a letter of a label is, at most."""


@dataclass(frozen=True, slots=True)
class Times:
    """The line of a period, drawn from ``left`` to the right edge."""

    period: Period
    zone: dt.tzinfo
    left: float = LEFT

    @property
    def bucket(self) -> float:
        """How wide a bucket is."""
        return (WIDTH - self.left - 10) / self.period.buckets

    def x(self, at: dt.datetime) -> float:
        """Where an instant is; what lies outside of the period, at its end."""
        return self.left + min(max(self.period.place(at), 0), self.period.buckets) * self.bucket

    def start(self, bucket: int) -> dt.datetime:
        """When a bucket begins."""
        return dt.datetime.fromtimestamp(self.period.begin + bucket * self.period.bucket_s, self.zone)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round instants and what to write beside them; the date where it is another than before."""
        length_s = self.period.buckets * self.period.bucket_s
        step, day = next((step for step in _STEPS_S if length_s <= step * _TICKS), length_s // _TICKS), None
        for second in self._round(step, self.period.begin, self.period.begin + length_s):
            at = dt.datetime.fromtimestamp(second, self.zone)
            time = f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"
            text = f"{at:%d %b}" if step >= 86_400 else time if at.date() == day else f"{at:%d %b} {time}"
            yield self.x(at), text
            day = at.date()

    def _round(self, step: int, begin: int, end: int) -> list[int]:
        """When, from ``begin`` on, the clocks show a multiple of ``step``: midnights may be 23 or 25 hours apart."""
        offsets = {self._offset(second) for second in (*range(begin, end, step), end)}
        found = (
            (second, offset)
            for offset in offsets
            for second in range(-(-(begin + offset) // step) * step - offset, end, step)
        )
        return sorted(second for second, offset in found if self._offset(second) == offset)

    def _offset(self, second: int) -> int:
        """How far the clocks are ahead of UTC then, in seconds."""
        offset = dt.datetime.fromtimestamp(second, self.zone).utcoffset()
        return int((offset or dt.timedelta()).total_seconds())

    def drawn(self, top: float, bottom: float) -> list[Element]:
        """Its ticks, from ``top`` to ``bottom``, and above them as many of their labels as have room."""
        made, free = [], 0.0
        for x, text in self.ticks():
            made.append(element("path", d=f"M{x:.1f} {top:g}V{bottom:g}", class_="grid"))
            width, is_last = _LETTER * len(text), x > WIDTH - 60
            begin = x - width if is_last else x + 2
            if begin < free:
                continue
            free = begin + width + _LETTER
            at = {"x": x, "text_anchor": "end"} if is_last else {"x": begin, "text_anchor": "start"}
            made.append(element("text", y=top - 4, class_="small", text=text, **at))
        return made
