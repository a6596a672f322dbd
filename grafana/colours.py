"""Colours that people with any kind of colour blindness can tell apart, on light and dark ground.

Okabe and Ito's palette, https://jfly.uni-koeln.de/color/, its orange a little lighter: Grafana then
writes on it in black. Colour never stands alone: every state
has a word, every limit a dashed line.
"""

FINE = "#009E73"
NOTE = "#0072B2"
WARN = "#F2B900"
BAD = "#D55E00"
IDLE = "#8C8C8C"
OTHER = "#CC79A7"

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
