"""Owns the picture of an outage: each search a dot, when it began and how long it took."""

from math import log10

WIDTH, HEIGHT = 900, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 40
# Milliseconds, on a scale of decades.
LEAST, MOST = 0.1, 1000.0

# Seconds since the beginning, and milliseconds.
Points = list[tuple[float, float]]


def picture(outages: list[dict], points: list[Points]) -> str:
    """SVG, one panel for each outage, with when each search began and how long it took."""
    panels = "\n".join(_panel(outage, its, number * HEIGHT) for number, (outage, its) in enumerate(zip(outages, points, strict=True)))
    height = HEIGHT * len(outages)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{panels}\n</svg>\n'
    )


def _panel(outage: dict, points: Points, top: int) -> str:
    end = max(at for at, _ in points)
    inner = HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + at / end * (WIDTH - LEFT - RIGHT)

    def y(time: float) -> float:
        share = log10(min(max(time, LEAST), MOST) / LEAST) / log10(MOST / LEAST)
        return top + TOP + inner * (1 - share)

    words = {"hang": "hangs", "kill": "is killed"}[outage["kind"]]
    parts = [
        f'<text x="{LEFT}" y="{top + 22}" font-size="14">Redis {words} under {outage["sessions"]} sessions: time of each search in ms</text>',
        f'<rect x="{x(outage["gone_s"]):.1f}" y="{top + TOP}" width="{x(outage["back_s"]) - x(outage["gone_s"]):.1f}" height="{inner}" fill="#fbe3e0"/>',
    ]
    time = LEAST
    while time <= MOST:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(time):.1f}" y2="{y(time):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(time) + 4:.1f}" text-anchor="end">{time:g}</text>')
        time *= 10
    step = 1 if end < 15 else 5
    for second in range(0, int(end) + 1, step):
        parts.append(f'<text x="{x(second):.1f}" y="{top + HEIGHT - BOTTOM + 18}" text-anchor="middle">{second} s</text>')
    parts += [f'<circle cx="{x(at):.1f}" cy="{y(time):.1f}" r="1.5" fill="#1f5fa8" fill-opacity="0.5"/>' for at, time in points]
    return "\n".join(parts)
