"""The status page as text: what it says in each state, and what it never lets through."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from jinja2 import Environment

from exporter.web.headers import security_headers
from exporter.web.status import render, routes, uptime
from exporter.web.status.choice import Choice
from exporter.web.status.filters import LocalTimes
from exporter.web.status.page import MOST_ROWS, MOST_TILES, render_in_pieces
from exporter.web.status.sparkline import MOST, draw
from exporter.web.status.templating import environment, fill
from exporter.web.status.verdict import judge
from exporter.web.status.view import AlertRow, StatusView, TaskRow
from exporter.web.status.week import spans
from tests import views

VOID = {"meta", "link", "rect", "path", "img", "br", "input"}


class Outline(HTMLParser):
    """Tags, ids and visible text; fails on tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(view: StatusView) -> Outline:
    found = Outline()
    found.feed(render(view))
    found.close()
    return found


@pytest.mark.parametrize("name", views.VIEWS)
def test_markup_is_well_formed_and_ids_are_unique(name: str) -> None:
    """Every tag is closed, every id is used once, every link within the page has its target."""
    page = outline(views.VIEWS[name]())
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    inner = {str(a["href"])[1:] for t, a in page.tags if t == "a" and str(a["href"])[0] == "#"}
    assert inner <= set(ids)


@pytest.mark.parametrize("name", views.VIEWS)
def test_nothing_needs_what_the_policy_forbids(name: str) -> None:
    """No inline script, no inline style, no file from elsewhere."""
    page = outline(views.VIEWS[name]())
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
        assert tag != "style"
        if tag in ("script", "link"):
            assert str(attributes.get("src", attributes.get("href"))).startswith("status/")


def test_quiet_morning_says_that_all_is_well() -> None:
    """The headline is also the title of the tab."""
    page = outline(views.well())
    assert "All ok · quant-exporter" in page.text
    assert "momentum_001" in page.text
    assert "104,250.50" in page.text
    assert "−310.25 today" in page.text


def test_what_nobody_can_know_is_not_well() -> None:
    """Where no Alertmanager ever answered, as with `make run`, an alert may fire all the same: no
    green headline, and no trouble either."""
    view = replace(views.well(), alerts=None, alertmanager_seen=False)
    verdict = judge(view)
    assert verdict.level == "idle"
    assert verdict.headline == "Ok as far as is known; Alertmanager does not respond"
    page = render(view)
    assert "status/idle.svg" in page
    assert "All ok" not in page


def test_trouble_is_named_and_leads_to_its_place() -> None:
    """Each matter stands at the top, the worst first, with a link."""
    verdict = judge(views.failing())
    assert verdict.level == "bad"
    assert verdict.headline == "1 thing is wrong, 1 needs attention"
    assert [(m.level, m.anchor) for m in verdict.matters] == [
        ("bad", "task-signals"),
        ("warn", "task-broker_sync"),
    ]


def test_trouble_stands_first_in_the_list_of_tasks() -> None:
    """Nobody scrolls through 200 tasks to find the one that fails."""
    names = re.findall(r'id="task-(\w+)"', render(views.failing()))
    assert names[:2] == ["signals", "broker_sync"]


def test_broken_state_store_and_silent_alertmanager_are_said() -> None:
    """Sentences about the exporter itself outrank everything."""
    verdict = judge(views.overdue())
    assert verdict.matters[0].text.startswith("State is not durable")
    assert "Alertmanager does not respond" in [m.text for m in verdict.matters]
    assert "Feed us_minute: 2 symbols are overdue, TSLA.US by 3h" in [
        m.text for m in verdict.matters
    ]
    assert "Strategy momentum_001 is 11.2% below its peak" in [m.text for m in verdict.matters]


def test_simulated_prices_are_said_at_the_top() -> None:
    """Nobody takes made-up prices for real ones."""
    assert "Simulated prices: sim." in outline(views.simulated()).text
    assert "Simulated prices" not in outline(views.well()).text


def test_hostile_text_stays_text() -> None:
    """Markup in errors, alerts and logs is shown, never obeyed; control characters are not sent."""
    text = render(views.hostile())
    page = outline(views.hostile())
    assert [a for t, a in page.tags if t == "script"] == [
        {"src": "status/status.js", "defer": None}
    ]
    assert not [t for t, _ in page.tags if t == "img"]
    assert views.HOSTILE in page.text
    assert not set("\x00\x1b\u202e") & set(text)


def test_last_error_shows_its_log_lines() -> None:
    """The failure, its reason and the lines that the run wrote, open when it matters."""
    page = outline(views.failing())
    assert "SourceError: tickdb answered 503 three times" in page.text
    assert "GET /market/kline/latest answered 503 after 1.2s" in page.text
    assert ("open", None) in [
        item for t, a in page.tags if a.get("id") == "why-signals" for item in a.items()
    ]


def test_tasks_are_found_and_grouped_by_the_address() -> None:
    """So that it works without JavaScript, and can be kept as a bookmark."""
    tasks = views.many(40).tasks
    chosen = Choice.of({"q": "carry 01", "group": "folder"})
    groups = chosen.groups(tasks)
    assert list(groups) == ["bots/0", "bots/1", "bots/2", "bots/3"]
    names = {task.name for group in groups.values() for task in group}
    assert names == {"task_001"} | {f"task_{n:03d}" for n in range(10, 20) if n % 3}
    assert Choice.of({"state": "trouble"}).groups(tasks) == {"": [tasks[7]]}
    assert list(Choice.of({"group": "strategy"}).groups(tasks)) == ["carry", ""]
    by_folder = Choice.of({"group": "folder"}).groups(tasks)
    assert next(iter(by_folder)) == "bots/3", "the one with task_007"
    assert Choice.of({"state": "x", "group": "level", "q": " "}) == Choice()


def test_the_form_shows_what_was_chosen() -> None:
    """And what matches nothing is said; a few tasks need no form."""
    text = render(views.many(40), Choice("<b>", "paused", "severity"))
    assert '<input type="search" name="q" value="&lt;b&gt;" maxlength="100">' in text
    assert '<option value="paused" selected>' in text
    assert "No task matches." in text
    assert 'role="search"' not in render(views.well())


def test_trouble_has_its_output_and_what_is_ok_a_line() -> None:
    """Forty tasks fit on one screen."""
    tags = outline(views.many(40)).tags
    rows = [a.get("id") for tag, a in tags if tag == "li" and "task" in str(a.get("class"))]
    assert rows == ["task-task_007"]
    assert sum(a.get("class") == "tile" for _, a in tags) == 39


def test_a_day_is_a_bar_with_its_failures_on_top() -> None:
    """However few failed; a day without runs is a line."""
    bars = uptime.draw((math.nan, 1.0, 0.999, 0.0), "all runs succeeded")
    assert bars.empty == "M104 22h3v2h-3z"
    assert bars.good == "M108 0h3v24h-3zM112 5h3v19h-3z"
    assert bars.failed == "M112 0h3v5h-3zM116 0h3v24h-3z"
    assert bars.words == "Last 4 days: all runs succeeded on 1 of 3 days"
    assert uptime.draw((math.nan,), "x").words == "Nothing is known of the last 1 days"


def test_the_journal_is_shown_while_alertmanager_is_away() -> None:
    """What was not over, who was told, and what no channel accepted."""
    view = views.overdue()
    text = re.sub(r"\s+", " ", outline(view).text)
    assert "these were not over when it last heard of them:" in text
    assert "told nobody not delivered: slack, pagerduty" in text
    assert "told slack Mon 14:00 · acknowledged by ann" in text
    matters = [matter.text for matter in judge(view).matters]
    assert "QuantDrawdown was delivered to nobody: not accepted by slack, pagerduty" in matters


def test_what_the_journal_has_is_wrong_where_no_alertmanager_ever_was() -> None:
    """After a restart while it is down, nothing else knows of the alert."""
    alert = AlertRow("QuantExporterDown", "critical", "It is down.", views.NOW - 60)
    view = replace(views.well(), alerts=None, alertmanager_seen=False, unresolved=(alert,))
    assert judge(view).headline == "1 thing is wrong"
    assert judge(replace(view, unresolved=())).level == "idle"


def test_each_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes 100 ms, on the event loop; another page, moment or zone must not do it."""
    compiled: list[str | None] = []
    compile_template = Environment.compile

    def noted(self: Environment, source: str, name: str | None, *rest: Any, **more: Any) -> Any:
        compiled.append(name)
        return compile_template(self, source, name, *rest, **more)

    monkeypatch.setattr(Environment, "compile", noted)
    environment.cache_clear()
    for view in (views.well(), views.failing(), views.many()):
        render(view)
        render(replace(view, now=view.now + 60, zone="Asia/Tokyo"))
        fill("nothing.html", view.now, view.zone, root="../", version="1", text="not here")
    assert sorted(map(str, compiled)) == [
        "frame.html", "nothing.html", "parts.html", "record.html", "status.html",
        "week.html",
    ]  # fmt: skip


def test_moments_are_the_users_own() -> None:
    """In the zone of the config, with the day only when it is another one."""
    times = LocalTimes(views.NOW, "America/New_York")
    assert times.moment(views.NOW) == "10:00"
    assert times.moment(views.NOW - views.DAY) == "Mon 10:00"
    assert times.moment(views.NOW + 30 * views.DAY) == "2026-12-24 10:00"
    assert times.moment(math.nan) == "never"
    assert times.away(views.NOW - 17.5 * views.HOUR) == "17h ago"
    assert times.away(views.NOW + 2 * views.DAY + views.HOUR) == "in 2d"
    assert (times.away(views.NOW - 90), times.away(views.NOW + 90)) == ("1m 30s ago", "in 1m 30s")
    assert LocalTimes(views.NOW, "Asia/Tokyo").moment(views.NOW) == "00:00"


def test_picture_shows_failures_without_colour() -> None:
    """A failed run is a hollow bar of full height, and the words count it."""
    drawn = draw(views.runs("t", 30, fail=(29,)))
    assert drawn is not None
    assert len(drawn.bars) == MOST
    assert [bar.failed for bar in drawn.bars[-2:]] == [False, True]
    assert drawn.bars[-1].height == 23.0
    assert drawn.words.endswith("1 failed")
    assert draw([]) is None


def test_week_counts_by_the_users_days() -> None:
    """Seven days up to today; a run at 23:00 New York is that day's, not UTC's next."""
    late = views.NOW - 11 * views.HOUR  # Monday 23:00 in New York
    run = replace(views.runs("t", 1)[0], started=late)
    week = views.week_of([run])
    assert [d.isoformat() for d in week.days][:2] == ["2026-11-24", "2026-11-23"]
    ((name, days),) = week.rows
    assert name == "t"
    assert [d.succeeded for d in days] == [0, 1, 0, 0, 0, 0, 0]


def test_a_slot_that_is_skipped_today_is_said_with_its_cure() -> None:
    """On its own line; other tasks have none."""
    view = views.well()
    first, *others = view.tasks
    skipped = replace(first, skipped=views.NOW + 3600, instead="close - 15m")
    text = outline(replace(view, tasks=(skipped, *others))).text
    assert text.count("outside today's shortened session; close - 15m would run.") == 1
    assert "Skips" not in outline(view).text


def test_week_has_the_hours_that_its_days_have() -> None:
    """Days end at local midnight, also when one has 25 hours and when midnight does not exist."""
    fall = spans(1793700000.0, ZoneInfo("America/New_York"))  # 2026-11-03
    assert [(end - begin) / 3600 for begin, end in fall.values()] == [24, 24, 25, 24, 24, 24, 24]
    spring = list(spans(1777100000.0, ZoneInfo("Africa/Cairo")).values())  # 2026-04-25
    assert all(begin == end for (begin, _), (_, end) in pairwise(spring))
    assert [(end - begin) / 3600 for begin, end in spring][:2] == [24, 23]


def test_week_shows_what_failed_first_and_alike_once() -> None:
    """A task that fails every minute does not fill the list of failures."""
    ran = [*views.runs("a", 9), *views.runs("b", 9, fail=(2, 5, 8)), *views.runs("c", 3)]
    week = views.week_of(ran)
    assert [name for name, _ in week.rows] == ["b", "a", "c"]
    (failure,) = week.failures
    assert (failure.task, failure.count, failure.run_id) == ("b", 3, "b0008")
    assert sum(day.failed for day in week.totals) == 3
    assert sum(day.succeeded for day in week.totals) == 18


def test_alert_about_a_thing_in_trouble_is_the_same_matter() -> None:
    """Who reads "2 things" looks for a second one."""
    view = views.failing()
    assert [m.anchor for m in judge(view).matters] == ["task-signals", "task-broker_sync"]
    other = replace(view.alerts[0], subject="", name="QuantExporterDown")  # type: ignore[index]
    assert judge(replace(view, alerts=(other,))).matters[0].anchor == "alerts"


def test_what_comes_next_is_said_beside_the_headline() -> None:
    """The next run, what is paused, which exchange is open."""
    text = re.sub(r"\s+", " ", outline(views.well()).text)
    assert "4 tasks, 1 paused · next health_check 10:30 (in 30m) · FX open · XNYS open" in text


def test_first_minute_does_not_claim_more_than_it_knows() -> None:
    """Nothing is wrong, nothing ran; a feed without a bar waits."""
    page = outline(views.fresh())
    assert "All ok; nothing has run yet" in page.text
    assert "waiting" in page.text
    assert "fresh" not in page.text


def test_digest_is_summed_up_and_linked() -> None:
    """One sentence, and the way to all of it."""
    page = outline(views.failing())
    assert "2026-11-23: 2 of 64 runs failed" in page.text
    assert ("a", {"href": "digests/2026-11-23"}) in page.tags
    assert "Latest digest" not in outline(views.fresh()).text


def test_failures_lead_to_their_run_and_alerts_to_their_acknowledgement() -> None:
    """From what is wrong to what to do, one click."""
    links = [a.get("href") for tag, a in outline(views.failing()).tags if tag == "a"]
    assert links.count("runs/signal0019") == 2
    assert "tasks/signals" in links
    assert "ack?alertname=QuantTaskFailing&task=signals" in links


def test_severity_decides_how_bad_a_failing_task_is() -> None:
    """Critical is wrong, warning needs attention, info neither."""
    levels = [TaskRow("t", "failing", s, "every 1h").level for s in ("critical", "warning", "info")]
    assert levels == ["bad", "warn", "idle"]
    assert AlertRow("A", "critical", "", 0.0, acknowledged=True).level == "idle"


async def _client(view: object) -> TestClient[web.Request, web.Application]:
    app = web.Application(middlewares=[security_headers])
    app.add_routes(routes(view))  # type: ignore[arg-type]
    client = TestClient(TestServer(app))
    await client.start_server()
    return client


async def test_page_is_served_with_a_strict_policy() -> None:
    """Nothing may come from elsewhere, nobody may frame it, nothing is cached."""
    client = await _client(views.well)
    async with client.get("/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Encoding"] in ("gzip", "deflate")
    await client.close()


async def test_view_may_be_awaited() -> None:
    """Runs are read from disk without blocking the loop."""

    async def view() -> StatusView:
        return views.well()

    client = await _client(view)
    async with client.get("/") as answer:
        assert "All ok" in await answer.text()
    await client.close()


async def test_every_file_that_the_page_names_is_served_and_no_other() -> None:
    """With its own type; a path that climbs out is not found."""
    client = await _client(views.well)
    page = outline(views.well())
    wanted = {str(a.get("src", a.get("href"))) for t, a in page.tags if t in ("link", "script")}
    for name in wanted:
        async with client.get(f"/{name}") as answer:
            assert answer.status == 200
            assert answer.content_length
    for name in ("status/page.py", "status/..%2fpage.py"):
        async with client.get(f"/{name}") as answer:
            assert answer.status == 404
    await client.close()


def test_two_thousand_tasks_are_still_a_page() -> None:
    """All that are in trouble, the first of the others, and how many more there are."""
    view = views.many(2000)
    troubled = replace(view.tasks[0], name="broken", state="failing")
    view = replace(view, tasks=(*view.tasks, troubled))
    text = render(view)
    in_trouble = sum(task.state in ("failing", "late") for task in view.tasks)
    assert text.count('class="row task') == in_trouble > 0
    assert 'id="task-broken"' in text
    assert text.count('class="tile"') == MOST_TILES
    more = len(view.tasks) - in_trouble - MOST_TILES
    assert f"and {more:,} more tasks without trouble" in text.replace("\u202f", ",")
    assert f"and {len(view.week.rows) - MOST_ROWS:,} more tasks; each" in text
    assert len(text) < 800_000


async def test_a_long_page_leaves_the_loop_to_others() -> None:
    """A scrape does not wait until all of it is written."""
    view, turns = views.many(2000), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    assert await render_in_pieces(view) == render(view)
    waiting.cancel()
    assert turns >= 4
