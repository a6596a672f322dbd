"""Colours that people with any kind of colour blindness can tell apart, on light and dark ground.

Okabe and Ito's palette, https://jfly.uni-koeln.de/color/, darker or lighter where black or white
text on it would be hard to read. Colour never stands alone: every state has a word, every limit a
dashed line.
"""

FINE = "#00855F"
NOTE = "#0072B2"
WARN = "#F2B900"
BAD = "#C44A00"
IDLE = "#737373"
OTHER = "#CF7EAB"

_TINT = 0.28
"""Below 0.3 Grafana writes in the colour of its theme; what calls for nothing stays quiet."""
_TINTED = {
    colour: "rgba({}, {}, {}, {})".format(*bytes.fromhex(colour[1:]), _TINT)
    for colour in (FINE, NOTE, IDLE, OTHER)
}
_SOLID = {BAD: "#9E1500", WARN: "#FFC82E"}


def ground(colour: str) -> str:
    """`colour` as the ground of text in a tile or a cell. Grafana fills those with a gradient that
    is lighter in the light theme, where white text on the colour itself is hard to read, and
    darker in the dark one."""
    return _TINTED.get(colour) or _SOLID.get(colour, colour)


TIERS = {"critical": BAD, "warning": WARN, "info": NOTE}
"""Alerts, and what was sent about them."""
OUTCOMES = {
    "success": FINE,
    "error": BAD,
    "timeout": WARN,
    "crashed": OTHER,
    "no_data": NOTE,
    "stale_data": IDLE,
}
"""How a run ended."""
SENT = {"delivered": FINE, "sent": FINE, "failed": BAD, "dropped": WARN, "unconfigured": WARN}
"""What became of a message."""
LEVELS = {
    "critical": BAD,
    "error": BAD,
    "warning": WARN,
    "info": NOTE,
    "debug": IDLE,
    "lost": OTHER,
}
"""Log records."""
