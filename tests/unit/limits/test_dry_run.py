"""What limits would have done on history, by the same decision as in the running exporter."""

from __future__ import annotations

from typing import Any

from exporter.config import Config, LimitSettings
from exporter.limits.dry_run import dry_run


class Past:
    """A Prometheus that answers a query with these series."""

    def __init__(self, answers: dict[str, list[tuple[dict[str, str], list[float]]]]) -> None:
        self.answers = answers

    async def query_range(self, query: str, start: float, end: float, step: float) -> Any:
        return [
            {
                "metric": labels,
                "values": [[start + n * step, str(v)] for n, v in enumerate(values)],
            }
            for word, series in self.answers.items()
            if word in query
            for labels, values in series
        ]


def limit(**keys: Any) -> LimitSettings:
    return LimitSettings.model_validate(
        {"max": {"critical": 0.1}, "on_critical": {"pause": ["trade"]}, **keys}
    )


async def test_each_breach_acts_once_and_one_odd_value_does_not() -> None:
    """Two breaches of the drawdown, and one value that the next one contradicts."""
    drawdowns = [0.0, 0.5, 0.0, 0.12, 0.13, 0.14, 0.2, 0.05, 0.15, 0.16, 0.17]
    past = Past(
        {
            "drawdown_ratio": [({"strategy": "m"}, drawdowns), ({"strategy": "n"}, [0.5] * 11)],
            "last_update": [({"strategy": "m"}, [float(n) for n in range(11)])],
        }
    )
    config = Config(limits={"stop": limit(of="drawdown", strategies=("m",))})
    acts = await dry_run(past, config, 0.0, 600.0, 60.0)  # type: ignore[arg-type]
    assert [(act.at, act.value, act.pause) for act in acts] == [
        (240.0, 0.13, ("trade",)),
        (540.0, 0.16, ("trade",)),
    ]


async def test_the_same_point_in_many_scrapes_is_one_value() -> None:
    """The dry run must not act on what the exporter would wait for."""
    past = Past(
        {
            "drawdown_ratio": [({"strategy": "m"}, [0.5] * 10)],
            "last_update": [({"strategy": "m"}, [7.0] * 10)],
        }
    )
    config = Config(limits={"stop": limit(of="drawdown")})
    assert await dry_run(past, config, 0.0, 600.0, 60.0) == []  # type: ignore[arg-type]
    config = Config(limits={"stop": limit(of="drawdown", confirmations=1)})
    (act,) = await dry_run(past, config, 0.0, 600.0, 60.0)  # type: ignore[arg-type]
    assert act.at == 60.0


async def test_what_the_limit_was_compared_with_counts_where_history_has_it() -> None:
    """From before it was configured, the formula of the same measure."""
    asked = []

    class Listening(Past):
        async def query_range(self, query: str, *rest: float) -> Any:
            asked.append(query)
            return await super().query_range(query, *rest)

    config = Config(limits={"stop": limit(of="daily_loss")})
    await dry_run(Listening({}), config, 0.0, 600.0, 60.0)  # type: ignore[arg-type]
    first = 'quant_limit_value{limit="stop"} or on (job, instance, strategy) clamp_min('
    assert asked[0].startswith(first)
