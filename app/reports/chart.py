"""A line chart of shares as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from app.reports.document import Chart

WIDTH, HEIGHT, LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 760, 340, 52, 20, 520, 270
NAMES, LETTER = LEFT + PLOT_WIDTH + 46, 7  # where names of lines begin; a letter's width, rounded up
MAX_TICKS = 16
# Okabe and Ito's colours, told apart by the colour-blind as well; the dash changes when they are used up.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("", "6 3", "2 3", "8 3 2 3")


def svg(chart: Chart) -> str:
    numbers = [number for line in chart.lines.values() for number, _ in line]
    first, last = min(numbers), max(numbers)
    width = max(WIDTH, NAMES + LETTER * max(map(len, chart.lines)))
    size = f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-size="12">\n',
            f"<title>{escape(chart.title)}</title>\n",
            *_axes(chart, first, last),
            *_lines(chart, first, last),
            "</svg>\n",
        )
    )


def _axes(chart: Chart, first: int, last: int) -> Iterator[str]:
    right, bottom = LEFT + PLOT_WIDTH, TOP + PLOT_HEIGHT
    for hundredths in (0, 25, 50, 75, 100):
        y = _y(hundredths / 100)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{hundredths} %</text>\n'
    for number in range(first, last + 1, 1 + (last - first) // MAX_TICKS):
        x = _x(number, first, last)
        written = chart.ticks[number] if number < len(chart.ticks) else str(number)
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{escape(written)}</text>\n'
    middle = LEFT + PLOT_WIDTH / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.x_label)}</text>\n'


def _lines(chart: Chart, first: int, last: int) -> Iterator[str]:
    for n, (name, line) in enumerate(chart.lines.items()):
        colour, dash = COLOURS[n % len(COLOURS)], DASHES[n // len(COLOURS) % len(DASHES)]
        stroke = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash or "none"}"'
        places = [(_x(number, first, last), _y(share)) for number, share in line]
        yield f'<polyline points="{" ".join(f"{x},{y}" for x, y in places)}" {stroke}/>'
        for x, y in places:
            yield f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
        y = TOP + 6 + 18 * n
        x = LEFT + PLOT_WIDTH + 16
        yield f'<line x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}" {stroke}/>'
        yield f'<text x="{x + 30}" y="{y + 4}">{escape(name)}</text>\n'


def _x(number: int, first: int, last: int) -> float:
    return round(LEFT + PLOT_WIDTH * ((number - first) / (last - first) if last > first else 0.5), 1)


def _y(share: float) -> float:
    return round(TOP + PLOT_HEIGHT * (1 - share), 1)
