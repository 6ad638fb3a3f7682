"""Charts as SVG: what went wrong when, and what callers saw meanwhile, above one time axis."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import leather
from leather import theme

from .faults import Done, StepDone
from .history import Attempt
from .outages import percentile
from .plan import kind_of

WIDTH = 1160
FONT = "system-ui, sans-serif"
COLOURS = {
    "kill": "#c0392b",
    "terminate": "#e08e0b",
    "pause": "#7d5ba6",
    "flush": "#2980b9",
    "fill": "#6b4f3a",
}
LABEL_LENGTH = 18
LEAST_MS, MOST_MS = 1.0, 20_000.0

for _name in ("title", "legend", "axis_title", "tick"):
    setattr(theme, f"{_name}_font_family", FONT)
theme.background_color = "#ffffff"
theme.tick_font_size = theme.legend_font_size = theme.axis_title_font_size = 12
theme.tick_font_char_width = theme.legend_font_char_width = 7
theme.label_color = theme.legend_color = theme.axis_title_color = "#555"
theme.margin = 0.02


class Bands(leather.shapes.base.Shape):  # type: ignore[misc]
    """Upright bands across a chart, one for each fault, behind what is drawn after them."""

    def __init__(self, faults: Sequence[Done], least_width: float = 1.5) -> None:
        self._faults = faults
        self._least_width = least_width

    def validate_series(self, series: Any) -> None:
        """Any will do: the bands are not drawn from it."""

    def legend_to_svg(self, series: Any, palette: Any) -> list[Any]:
        """Explained beside the charts."""
        return []

    def to_svg(
        self, width: float, height: float, x_scale: Any, y_scale: Any, series: Any, palette: Any
    ) -> ET.Element:
        """The bands as a group."""
        group = ET.Element("g")
        for done in self._faults:
            left = float(x_scale.project(done.begun_s, 0, width))
            right = float(x_scale.project(done.mended_s, 0, width))
            band = ET.SubElement(
                group,
                "rect",
                {
                    "x": f"{left:.1f}",
                    "width": f"{max(self._least_width, right - left):.1f}",
                    **self._upright(done, height, y_scale),
                    "fill": COLOURS[done.fault.action],
                },
            )
            told = f"{done.begun_s:.1f} s to {done.mended_s:.1f} s: {done.fault}"
            ET.SubElement(band, "title").text = told
        return group

    def _upright(self, done: Done, height: float, y_scale: Any) -> dict[str, str]:
        return {"y": "0", "height": f"{height:.1f}", "fill-opacity": "0.16"}


class Lanes(Bands):
    """The faults as bars, in a lane for each kind of process."""

    def __init__(self, faults: Sequence[Done], lanes: Sequence[str]) -> None:
        super().__init__(faults, least_width=3.0)
        self._lanes = lanes

    def _upright(self, done: Done, height: float, y_scale: Any) -> dict[str, str]:
        lane = self._lanes.index(kind_of(done.fault.process))
        middle = float(y_scale.project(lane, height, 0))
        return {"y": f"{middle - 5:.1f}", "height": "10"}


def faults_by_process(steps: Sequence[StepDone], length_s: float) -> str:
    """A lane for each kind of process, with its faults."""
    faults = _faults(steps)
    lanes = sorted({kind_of(done.fault.process) for done in faults}, reverse=True)
    chart = _chart("Faults", length_s)
    if not lanes:
        lanes = ["none"]
    chart.add_y_scale(-1, len(lanes))
    chart.add_y_axis(
        ticks=list(range(len(lanes))), tick_formatter=lambda value, *_: _label(lanes[int(value)])
    )
    chart.add_series(_frame(length_s, -1, len(lanes)), Lanes(faults, lanes))
    return _svg(chart, 90 + 17 * len(lanes))


def latencies(
    title: str, attempts: Iterable[Attempt], steps: Sequence[StepDone], length_s: float
) -> str:
    """p50 and the longest of each second, on a logarithmic axis; failures count as long as they took."""
    chart = _chart(title, length_s)
    low, high = math.log10(LEAST_MS), math.log10(MOST_MS)
    chart.add_y_scale(low, high)
    chart.add_y_axis(
        ticks=list(range(round(low), round(high) + 1)),
        tick_formatter=lambda value, *_: _label(f"{10 ** int(value):,} ms"),
    )
    chart.add_series(_frame(length_s, low, high), Bands(_faults(steps)))
    seconds = _by_second(attempts, length_s)
    for name, colour, width, pick in (
        ("longest", "#e08e0b", 1.2, max),
        ("p50", "#16794c", 1.5, lambda took: percentile(took, 0.5)),
    ):
        points = [
            (second, _log_ms(pick([a.took_s for a in its])) if its else None)
            for second, its in enumerate(seconds)
        ]
        _add_line(chart, points, name, colour, width)
    return _svg(chart, 260)


def failures(
    series: Iterable[tuple[str, str, Iterable[Attempt]]],
    steps: Sequence[StepDone],
    length_s: float,
) -> str:
    """The share of requests that failed, by the second they were due: (name, colour, attempts)."""
    chart = _chart("Requests that failed, % of those due in each second", length_s)
    chart.add_y_scale(0, 100)
    chart.add_y_axis(
        ticks=[0, 25, 50, 75, 100], tick_formatter=lambda value, *_: _label(f"{value} %")
    )
    chart.add_series(_frame(length_s, 0, 100), Bands(_faults(steps)))
    for name, colour, attempts in series:
        points = [
            (second, 100 * sum(a.outcome != "ok" for a in its) / len(its) if its else None)
            for second, its in enumerate(_by_second(attempts, length_s))
        ]
        _add_line(chart, points, name, colour, 1.2)
    return _svg(chart, 220)


def _chart(title: str, length_s: float) -> Any:
    chart = leather.Chart(title)
    chart.add_x_scale(0, max(1.0, math.ceil(length_s)))
    every_s = next(
        step for step in (10, 30, 60, 120, 300, 600) if length_s / step <= 15 or step == 600
    )
    ticks = list(range(0, math.ceil(length_s) + 1, every_s))
    chart.add_x_axis(ticks=ticks, tick_formatter=lambda value, *_: _clock(float(value)))
    return chart


def _add_line(
    chart: Any, points: list[tuple[int, float | None]], name: str, colour: str, width: float
) -> None:
    if any(y is not None for _, y in points):
        chart.add_line(points, name=name, stroke_color=colour, width=width)


def _frame(length_s: float, low: float, high: float) -> Any:
    """A series that says how far the axes go."""
    return leather.Series([(0.0, low), (max(1.0, length_s), high)], name="")


def _faults(steps: Sequence[StepDone]) -> list[Done]:
    return [done for step in steps for done in step.faults]


def _by_second(attempts: Iterable[Attempt], length_s: float) -> list[list[Attempt]]:
    seconds: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        seconds[int(attempt.started_s)].append(attempt)
    return [seconds.get(second, []) for second in range(math.ceil(length_s))]


def _log_ms(took_s: float) -> float:
    return math.log10(min(MOST_MS, max(LEAST_MS, 1000 * took_s)))


def _label(text: str) -> str:
    """As long as all labels of a vertical axis, so that the charts' times stand above each other."""
    return text.rjust(LABEL_LENGTH)


def _clock(second: float) -> str:
    return f"{int(second) // 60}:{int(second) % 60:02d}"


def _svg(chart: Any, height: int) -> str:
    root = ET.Element(
        "svg", {"viewBox": f"0 0 {WIDTH} {height}", "xmlns": "http://www.w3.org/2000/svg"}
    )
    root.append(chart.to_svg_group(WIDTH, height))
    return ET.tostring(root, encoding="unicode")
