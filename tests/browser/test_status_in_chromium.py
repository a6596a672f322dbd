"""The status page as a person sees it: in a real browser, on a phone and a laptop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from exporter.web.status.view import LogLine
from tests import views
from tests.browser.chromium import LAPTOP, PHONE, chromium, need_driver, needs_chromium
from tests.browser.pictures import SHOTS, take, take_task
from tests.browser.serving import Site, serve
from tests.records import DAY, records

pytestmark = [
    needs_chromium,
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
]
states = pytest.mark.parametrize("state", views.VIEWS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of this file."""
    need_driver()
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """A server of its own for each test."""
    async with serve() as running:
        yield running


async def opened(browser: Browser, site: Site, **how: object) -> Page:
    """The page, with whatever the browser complained about in ``page.complaints``."""
    page = await browser.new_page(**{"viewport": LAPTOP, **how})  # type: ignore[arg-type]
    page.complaints = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.complaints.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.complaints.append(str(error)))  # type: ignore[attr-defined]
    await page.goto(site.url)
    return page


@states
@pytest.mark.parametrize(
    ("size", "scheme"),
    [(PHONE, "dark"), (LAPTOP, "light"), (PHONE, "light"), (LAPTOP, "dark")],
    ids=["phone-dark", "laptop-light", "phone-light", "laptop-dark"],
)
async def test_axe_finds_nothing(
    browser: Browser, site: Site, state: str, scheme: str, size: dict[str, int]
) -> None:
    """No rule of axe-core is broken, light or dark, on a phone or a laptop."""
    site.view = views.many(30) if state == "many" else views.VIEWS[state]()
    page = await opened(browser, site, color_scheme=scheme, viewport=size)
    assert await broken_rules(page) == []
    await page.close()


async def broken_rules(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds, of whatever weight."""
    found = (await Axe().run(page)).response["violations"]
    return [(v["id"], [n["html"] for n in v["nodes"]]) for v in found]


@pytest.mark.parametrize(
    "path",
    ["runs/bad", "tasks/signals", f"digests/{DAY}", "runs/none", "runbook#quantdataoverdue"],
)
async def test_pages_behind_it_are_as_good(browser: Browser, tmp_path: Path, path: str) -> None:
    """Nothing for axe-core in light or dark, no wider than a phone, nothing obeyed or missing."""
    async with records(tmp_path) as made, serve(made) as site:
        for scheme in ("light", "dark"):
            page = await opened(browser, site, color_scheme=scheme, viewport=PHONE)
            await page.goto(site.url + path)
            assert await broken_rules(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth") == 360
            assert "owned" not in await page.title()
            complaints = page.complaints  # type: ignore[attr-defined]
            assert [c for c in complaints if "404" not in c] == []
            await page.close()


async def test_from_the_failure_to_its_log_and_back(browser: Browser, tmp_path: Path) -> None:
    """Links between the pages lead where they say."""
    async with records(tmp_path) as made, serve(made) as site:
        failure = replace(views.failing().tasks[-2].failure, run_id="bad")  # type: ignore[type-var]
        calm = views.failing()
        tasks = (*calm.tasks[:-2], replace(calm.tasks[-2], failure=failure), calm.tasks[-1])
        site.view = replace(calm, tasks=tasks)
        page = await opened(browser, site)
        await page.get_by_role("link", name="Full log of run bad").click()
        await expect(page.get_by_role("region", name="Log")).to_contain_text("attempt 1 of 3")
        await page.get_by_role("link", name="All runs of signals").click()
        await expect(page.get_by_role("heading", name="Runs of signals")).to_be_visible()
        await page.get_by_role("link", name="Status page").click()
        await page.get_by_role("link", name="Read more").click()
        await expect(page.get_by_role("heading", name=f"Digest of {DAY}")).to_be_visible()
        await page.close()


async def test_the_runbook_starts_with_the_alert_that_a_message_links_to(
    browser: Browser, tmp_path: Path
) -> None:
    """Its section stands above all others, at the top of the window."""
    async with records(tmp_path) as made, serve(made) as site:
        page = await opened(browser, site, viewport=PHONE)
        await page.goto(f"{site.url}runbook#quantexporterdown")
        top = "document.getElementById('%s').getBoundingClientRect().top"
        wanted = await page.evaluate(top % "quantexporterdown")
        assert 0 <= wanted < 40
        assert wanted < await page.evaluate(top % "quantsourcedown")
        await page.close()


@states
async def test_nothing_is_wider_than_a_phone(browser: Browser, site: Site, state: str) -> None:
    """At 360 pixels nobody scrolls sideways, whatever words come from outside."""
    site.view = views.VIEWS[state]()
    page = await opened(browser, site, viewport=PHONE)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.close()


@states
async def test_browser_complains_about_nothing(browser: Browser, site: Site, state: str) -> None:
    """The policy blocks nothing of ours, and nothing fails to load."""
    site.view = views.VIEWS[state]()
    page = await opened(browser, site)
    await expect(page.locator("h1")).to_be_visible()
    assert page.complaints == []  # type: ignore[attr-defined]
    await page.close()


async def test_hostile_text_runs_nothing(browser: Browser, site: Site) -> None:
    """It stands there to be read; the title is ours."""
    site.view = views.hostile()
    page = await opened(browser, site)
    await expect(page.locator("#task-signals .error")).to_contain_text("<script>")
    assert await page.title() == "3 things are wrong · quant-exporter"
    assert await page.locator("img").count() == 0
    await page.close()


async def test_matter_leads_to_the_task_and_its_log(browser: Browser, site: Site) -> None:
    """From the headline to the lines that the failed run wrote: one click."""
    site.view = views.failing()
    page = await opened(browser, site, viewport=PHONE)
    await page.get_by_role("link", name="Task signals failed 3 times in a row").click()
    log = page.get_by_role("region", name="Log of the failed run of signals")
    await expect(log).to_contain_text("answered 503 after 1.2s")
    await expect(page.locator("#task-signals")).to_be_in_viewport()
    await page.close()


async def test_page_refreshes_itself_and_keeps_what_was_opened(
    browser: Browser, site: Site
) -> None:
    """A new state appears without a reload; a log that was closed stays closed."""
    site.view = views.failing()
    page = await browser.new_page(viewport=LAPTOP)
    await page.clock.install()
    await page.goto(site.url)
    await page.locator("#why-signals summary").click()
    await page.evaluate("window.mark = 'same document'")
    site.view = replace(views.failing(), troubles=("The disk is full.",))
    await page.clock.run_for(16_000)
    await expect(page.locator("#troubles")).to_contain_text("The disk is full.")
    assert await page.evaluate("window.mark") == "same document"
    assert await page.locator("#why-signals").get_attribute("open") is None
    assert await page.title() == "2 things are wrong, 1 needs attention · quant-exporter"
    await page.close()


async def test_refresh_moves_nothing_that_is_looked_at(browser: Browser, site: Site) -> None:
    """Not the page, when rows appear above; not a log nor a table that was scrolled."""
    log = tuple(LogLine(views.NOW, "info", f"line {n}") for n in range(60))
    broken, late = views.failing().tasks[-2:]
    assert broken.failure
    broken = replace(broken, failure=replace(broken.failure, lines=log))
    site.view = replace(views.failing(), tasks=(broken, late, *views.many(40).tasks))
    page = await browser.new_page(viewport=PHONE)
    await page.clock.install()
    await page.goto(site.url)
    await page.evaluate("document.getElementById('log-signals').scrollTop = 30")
    await page.evaluate("document.getElementById('week-table').scrollLeft = 90")
    await page.evaluate(
        "document.getElementById('task-task_020').scrollIntoView({behavior: 'instant'})"
    )
    where = "document.getElementById('task-task_020').getBoundingClientRect().top"
    before = await page.evaluate(where)
    old = site.view
    site.view = replace(old, troubles=("The disk is full.",) * 4)
    await page.clock.run_for(16_000)
    await expect(page.locator("#troubles")).to_contain_text("The disk is full.")
    assert abs(await page.evaluate(where) - before) < 2
    assert await page.evaluate("document.getElementById('log-signals').scrollTop") == 30
    assert await page.evaluate("document.getElementById('week-table').scrollLeft") == 90
    await page.close()


async def test_who_reads_the_headline_keeps_seeing_it(browser: Browser, site: Site) -> None:
    """At the top of the page, new trouble pushes the rest down."""
    page = await browser.new_page(viewport=PHONE)
    await page.clock.install()
    await page.goto(site.url)
    site.view = views.failing()
    await page.clock.run_for(16_000)
    await expect(page.locator("h1")).to_contain_text("1 thing is wrong")
    assert await page.evaluate("scrollY") == 0
    await page.close()


async def test_marked_text_holds_the_page_back_but_not_for_ever(
    browser: Browser, site: Site
) -> None:
    """Somebody copies an error; somebody else left text marked and went home."""
    site.view = views.failing()
    page = await browser.new_page(viewport=LAPTOP)
    await page.clock.install()
    await page.goto(site.url)
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('pre'))")
    site.view = views.overdue()
    headline = page.locator("h1")
    while "4 things are wrong" not in await headline.inner_text():
        asked = site.asked
        await page.clock.run_for(15_000)
        async with asyncio.timeout(30):
            while site.asked == asked:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # an answer that the fast clock overtakes does not count
        assert asked < 40
    assert site.asked >= 10, "a few refreshes were held back"
    await page.close()


async def test_page_says_when_the_exporter_is_gone(browser: Browser, site: Site) -> None:
    """An old page never looks like good news, nor its tab; it heals by itself."""
    page = await browser.new_page(viewport=LAPTOP)
    await page.clock.install()
    await page.goto(site.url)
    site.view = None
    await page.clock.run_for(16_000)
    await expect(page.locator("#lost")).to_contain_text("has not responded since 10:00.")
    icon = page.locator("link[rel=icon]")
    assert await page.title() == "No response · quant-exporter"
    assert str(await icon.get_attribute("href")).endswith("/bad.svg")
    site.view = views.well()
    await page.clock.run_for(16_000)
    await expect(page.locator("#lost")).to_be_hidden()
    assert await page.title() == "All ok · quant-exporter"
    assert str(await icon.get_attribute("href")).endswith("fine.svg")
    await page.close()


async def test_page_of_somebody_else_is_no_answer(browser: Browser, site: Site) -> None:
    """A proxy's login page in its place is not shown as if all were well."""
    page = await browser.new_page(viewport=LAPTOP)
    await page.clock.install()
    await page.goto(site.url)
    await page.route(site.url, lambda route: route.fulfill(body="<h1>Who are you?</h1>"))
    await page.clock.run_for(16_000)
    await expect(page.locator("#lost")).to_be_visible()
    await expect(page.locator("h1")).to_contain_text("All ok")
    await page.close()


async def test_page_works_without_javascript(browser: Browser, site: Site) -> None:
    """Everything is there, the log opens, and the page reloads itself."""
    site.view = views.failing()
    page = await opened(browser, site, java_script_enabled=False)
    await expect(page.locator("h1")).to_contain_text("1 thing is wrong")
    await page.locator("#why-signals summary").click()
    await expect(page.locator("#why-signals pre")).to_be_hidden()
    refresh = page.locator("meta[http-equiv=refresh]")
    assert await refresh.get_attribute("content") == "60", "time to read what was opened"
    await page.close()


async def test_tasks_are_found_without_javascript(browser: Browser, site: Site) -> None:
    """By a form whose answer is an address; a refresh with JavaScript keeps to it."""
    site.view = views.forty()
    page = await opened(browser, site, java_script_enabled=False, viewport=PHONE)
    await page.get_by_label("Find").fill("task_01")
    await page.get_by_label("Group by").select_option("folder")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("#tasks li")).to_have_count(10)
    await expect(page.get_by_role("heading", name="bots/3")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    chosen = page.url
    await page.close()
    page = await browser.new_page(viewport=LAPTOP)
    await page.clock.install()
    await page.goto(chosen)
    await page.clock.run_for(16_000)
    await expect(page.locator("#lost")).to_be_hidden()
    await expect(page.locator("#tasks li")).to_have_count(10)
    await page.close()


async def test_forty_tasks_fit_on_a_screen(browser: Browser, site: Site) -> None:
    """Those that are ok, at 1600 x 900."""
    site.view = replace(views.many(40), tasks=views.forty().tasks[5:])
    page = await opened(browser, site, viewport={"width": 1600, "height": 900})
    bottom = "document.getElementById('tasks').getBoundingClientRect().bottom"
    assert await page.evaluate(bottom) <= 900
    await page.close()


async def test_keyboard_reaches_the_tasks_at_once(browser: Browser, site: Site) -> None:
    """The first stop of the tab key skips what stands before."""
    page = await opened(browser, site)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the tasks")).to_be_focused()
    await page.close()


@pytest.mark.parametrize("name", SHOTS)
async def test_pictures_of_the_guide_can_be_taken(
    browser: Browser, site: Site, name: str, tmp_path: Path
) -> None:
    """`make pictures` has something to show."""
    assert (await take(browser, site, name, tmp_path)).stat().st_size > 10_000


async def test_the_picture_of_a_task_can_be_taken(browser: Browser, tmp_path: Path) -> None:
    """It needs a state with runs."""
    assert (await take_task(browser, tmp_path)).stat().st_size > 10_000
