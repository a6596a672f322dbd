"""What goes wrong with equity. Every row has a strategy of its own that may fall by 5 and 10 %, and
whose equity may be an hour old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporter.strategies.equity_point import EquityPoint
from exporter.util.clock import iso
from tests.integration.alert_rig.fault import BEGIN, END, STRIKE, Event, Fault, Told, after
from tests.integration.alert_rig.life import Life

OLD = 62
"""Minutes until it is too old, and the rule's own one has passed."""
DEEP = Told("QuantDrawdown", "phone", 2)
CHAT = Told("QuantDrawdown", "chat", 2)
TOO_OLD = Told("QuantDrawdown", "chat", OLD)


def strategy(name: str, *tells: Told, events: tuple[Event, ...], **more: Any) -> Fault:
    limits = {"max_age": "1h", "max_drawdown": {"warning": "5%", "critical": "10%"}}
    struck = more.pop("struck", STRIKE)
    return Fault(name, tells, {"strategies": {name: limits | more}}, events, struck)


def posted(name: str, *tells: Told, then: tuple[tuple[float, float], ...], **more: Any) -> Fault:
    """100,000 every 20 minutes until the fault strikes, then what `then` says: minutes after it,
    equity. The last value is repeated as often until the evening."""
    events = [
        (BEGIN + n * 1200, post(name, 100_000)) for n in range(int((STRIKE - BEGIN) // 1200) + 1)
    ]
    events += [after(minutes, post(name, equity)) for minutes, equity in then]
    if then:
        last, equity = then[-1]
        begin = STRIKE + last * 60 + 1200
        events += [
            (begin + n * 1200, post(name, equity)) for n in range(int((END - begin) // 1200) + 1)
        ]
    return strategy(name, *tells, events=tuple(events), **more)


def post(name: str, equity: float, flow: float = 0.0) -> Callable[[Life], Any]:
    return lambda life: life.parts.strategies.post_equity(name, EquityPoint(life.now, equity, flow))


def written(name: str, *tells: Told, then: Callable[[float], str | None], **more: Any) -> Fault:
    """A row in a file every 20 minutes; from the fault on the lines that `then` makes. None: the
    file is deleted."""

    def first(life: Life) -> None:
        (life.folder / f"{name}.csv").write_text("timestamp,equity\n")

    def row(life: Life) -> None:
        line = then(life.now) if life.now >= STRIKE else f"{iso(life.now)},100000\n"
        if line is None:
            (life.folder / f"{name}.csv").unlink(missing_ok=True)
            return
        with (life.folder / f"{name}.csv").open("a") as file:
            file.write(line)

    rows = tuple((BEGIN + n * 1200 + 60, row) for n in range(int((END - BEGIN) // 1200)))
    return strategy(name, *tells, events=((BEGIN, first), *rows), equity_file=f"{name}.csv", **more)


def _file(name: str, text: Callable[[float], bytes]) -> Callable[[Life], Any]:
    return lambda life: (life.folder / f"{name}.csv").write_bytes(text(life.now))


def _descending(now: float) -> bytes:
    days = [100_000, 104_000, 110_000, 99_000, 89_000]
    rows = [f"{iso(now - n * 600)},{equity}\n" for n, equity in enumerate(reversed(days))]
    return ("timestamp,equity\n" + "".join(rows)).encode()


def _kept_up(name: str) -> tuple[Event, ...]:
    """The same file again every 20 minutes."""
    return tuple(
        (BEGIN + n * 1200, _file(name, _descending)) for n in range(int((END - BEGIN) // 1200) + 1)
    )


FAULTS = [
    posted("falls", CHAT, then=((0, 94_000),)),
    posted("falls_deep", DEEP, then=((0, 89_000),)),
    posted("falls_deeper", CHAT, Told("QuantDrawdown", "phone", 62),
           then=((0, 94_000), (60, 89_000))),
    posted("recovers", Told("QuantDrawdown", "chat", 2, over_after=37),
           then=((0, 94_000), (30, 99_000))),
    posted("falls_a_little", then=((0, 96_000),)),
    posted("one_zero_among_good_balances", then=((0, 0), (5, 100_000))),
    posted("all_is_lost", Told("QuantDrawdown", "phone", 22), then=((0, 0),)),
    posted("stands_still", then=((0, 100_000),)),
    posted("is_not_updated", TOO_OLD, then=()),
    posted("is_not_updated_and_it_matters", Told("QuantDrawdown", "phone", OLD), then=(),
           severity="critical"),
    strategy("withdrawal", events=(
        *((BEGIN + n * 1200, post("withdrawal", 100_000)) for n in range(5)),
        after(0, post("withdrawal", 80_000, -20_000)),
        *((STRIKE + n * 1200, post("withdrawal", 80_000)) for n in range(1, 19)),
    )),
    strategy("never_came", TOO_OLD, events=(), struck=BEGIN),
    strategy("file_never_came", Told("QuantDrawdown", "chat", 12), events=(), struck=BEGIN,
             equity_file="nowhere.csv"),
    strategy("file_is_not_understood", Told("QuantDrawdown", "chat", 12), struck=BEGIN,
             events=((BEGIN, _file("file_is_not_understood", lambda now: b"\x7fELF\x02\n" * 50)),),
             equity_file="file_is_not_understood.csv"),
    written("file_is_written", then=lambda now: f"{iso(now)},100000\n"),
    written("file_says_nan", TOO_OLD, then=lambda now: f"{iso(now)},nan\n"),
    # Its next row would have come after 8 minutes.
    written("file_is_deleted", Told("QuantDrawdown", "chat", 22), then=lambda now: None),
    written("file_stops", TOO_OLD, then=lambda now: ""),
    written("file_falls", Told("QuantDrawdown", "phone", 12),
            then=lambda now: f"{iso(now)},80000\n"),
    strategy("file_is_newest_first", DEEP, events=_kept_up("file_is_newest_first"), max_age="1d",
             equity_file="file_is_newest_first.csv", struck=BEGIN),
]  # fmt: skip
