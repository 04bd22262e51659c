"""Lateness, drawn: over time, and as a histogram. Pure."""

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

from django.utils.safestring import SafeString

from cutover.observe.report.axes import WIDTH, Times
from cutover.observe.report.delays import STEPS_MS, Delays
from cutover.observe.report.figures import Figures, Moment
from cutover.observe.report.svg import Element, drawing, element, number, titled
from cutover.observe.times import brief

HEIGHT: Final = 190.0
TOP: Final = 48.0
LEFT: Final = 60.0
LEGEND: Final = {
    "longest": "longest, due to started",
    "p95": "95 of 100 started by",
    "p50": "half started by",
    "sent": "95 of 100 published by",
}
PAIRS: Final = {"sent": "due to published", "p50": "due to started"}


def over_time(figures: Figures, zone: dt.tzinfo) -> SafeString:
    """Half and 95 of 100 of the slots of each bucket were started by then, on a logarithmic scale."""
    times = Times(figures.period, zone, LEFT)
    moments = figures.moments
    longest = max((one.started.longest_ms or one.published.longest_ms or 1 for one in moments), default=1)
    powers = max(2, math.ceil(math.log10(max(longest, 10))))

    def y(length_ms: int) -> float:
        return TOP + HEIGHT * (1 - math.log10(max(length_ms, 1)) / powers)

    parts = [*_legend(LEGEND), *times.drawn(TOP, TOP + HEIGHT)]
    for power in range(powers + 1):
        parts.append(element("path", d=f"M{LEFT:g} {number(y(10**power))}H{WIDTH - 10:g}", class_="grid"))
        label = brief(dt.timedelta(milliseconds=10**power)).replace(".0", "")
        parts.append(element("text", x=LEFT - 6, y=y(10**power) + 4, text_anchor="end", class_="small", text=label))

    def x(one: Moment) -> float:
        return times.left + (one.bucket + 0.5) * times.bucket

    dots = "".join(
        f"M{number(x(one) - 1.5)} {number(y(one.started.longest_ms))}h3"
        for one in moments
        if one.started.longest_ms is not None
    )
    parts.append(titled(element("path", d=dots, class_="line longest"), LEGEND["longest"]))
    for kind in ("sent", "p95", "p50"):
        points = [(one.bucket, x(one), y(value)) for one in moments if (value := _value(one, kind)) is not None]
        parts.append(titled(element("path", d=_polyline(points), class_=f"line {kind}"), LEGEND[kind]))
    title = "Lateness over time"
    return drawing(
        WIDTH, TOP + HEIGHT + 10, "lateness", title, f"Longest: {_in_words(longest)}. On a logarithmic scale.", parts
    )


def _value(one: Moment, kind: str) -> int | None:
    spans: dict[str, Delays] = {"sent": one.published, "p95": one.started, "p50": one.started}
    return spans[kind].p50_ms if kind == "p50" else spans[kind].p95_ms


def _polyline(points: Sequence[tuple[int, float, float]]) -> str:
    """A line through all of them; one alone is a dash."""
    if len(points) == 1:
        [(_, x, y)] = points
        return f"M{number(x - 3)} {number(y)}h6"
    return "".join(f"{'L' if n else 'M'}{number(x)} {number(y)}" for n, (_, x, y) in enumerate(points))


def histogram(figures: Figures) -> SafeString:
    """How many slots were published, and started, how late."""
    most = max([*figures.published, *figures.started, 1])
    labels = [f"to {_in_words(step)}" for step in STEPS_MS] + ["longer"]
    each = (WIDTH - 10) / len(labels)
    parts = _legend(PAIRS, "bar")
    base = TOP + HEIGHT - 24
    parts.append(element("path", d=f"M0 {base:g}H{WIDTH - 10:g}", class_="axis"))
    for n, label in enumerate(labels):
        parts.append(
            element("text", x=n * each + each / 2, y=base + 14, class_="small", text=label, text_anchor="middle")
        )
        for place, (kind, counts) in enumerate((("sent", figures.published), ("p50", figures.started))):
            if count := counts[n]:
                height = max(2.0, (base - TOP - 16) * count / most)
                wide = each / 2 - 3
                left = n * each + 2 + place * (wide + 2)
                bar = element("rect", x=left, y=base - height, width=wide, height=height, class_=f"bar {kind}")
                parts.append(titled(bar, f"{count:,} slots, {PAIRS[kind]} {label}"))
                y = base - height - (3 if place else 13)
                parts.append(
                    element("text", x=left + wide / 2, y=y, class_="small", text=_short(count), text_anchor="middle")
                )
    described = "How many slots were published, and started, how long after they were due."
    return drawing(WIDTH, TOP + HEIGHT, "histogram", "Lateness as a histogram", described, parts)


def _legend(kinds: dict[str, str], shape: str = "line") -> list[Element]:
    made, x = [], 0.0
    for kind, text in kinds.items():
        drawn = f"M{x + 2:g} 10h22" if shape == "line" else f"M{x + 6:g} 4h14v12h-14z"
        made.append(element("path", d=drawn, class_=f"{shape} {kind}"))
        made.append(element("text", x=x + 30, y=14, text=text))
        x += 70 + 6.4 * len(text)
    return made


def _in_words(length_ms: int) -> str:
    return brief(dt.timedelta(milliseconds=length_ms)).replace(".0 s", " s")


def _short(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1_000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"
