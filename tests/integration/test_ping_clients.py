"""Pings by clients that were made for healthchecks.io, by curl, and by those who guess."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import Exporter, free_port, get, need, post, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
tasks:
  nightly_etl: {{external: true, schedule: "every 1h"}}
  orders: {{external: true, schedule: "every 1h"}}
  inside: {{command: ["true"], schedule: "00:00"}}
"""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """One for all of this file."""
    folder = tmp_path_factory.mktemp("pings")
    port = free_port()
    (folder / "exporter.yml").write_text(CONFIG.format(port=port))
    with Exporter(folder / "exporter.yml") as running:
        yield running.wait_ready(port)


def paths(exporter: Exporter, task: str = "nightly_etl", more: str = "") -> tuple[str, str]:
    """Where it pings: by UUID, and by key."""
    _, answer = post(f"{exporter.url}/api/v1/tasks/{task}/ping-url{more}", exporter.token)
    return answer["path"], answer["key_path"]


def newest(exporter: Exporter, task: str = "nightly_etl") -> dict[str, Any]:
    """The task as the API shows it."""
    tasks = json.loads(get(f"{exporter.url}/api/v1/tasks"))["tasks"]
    return next(each for each in tasks if each["name"] == task)


def run_of(exporter: Exporter, answer: Any, task: str = "nightly_etl") -> dict[str, Any]:
    """The run that a ping's answer names."""
    place = f"{exporter.url}/api/v1/tasks/{task}/runs/{answer.headers['Ping-Run']}"
    return dict(json.loads(get(place)))


def ask(url: str, method: str = "GET", body: bytes | None = None) -> Any:
    """The answer, whatever its status."""
    request = urllib.request.Request(url, method=method, data=body)
    try:
        return urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        return error


def test_a_client_of_healthchecks_io_works_unchanged(exporter: Exporter, tmp_path: Path) -> None:
    """It runs commands, and reports with their output whether all of them succeeded."""
    (tmp_path / "job.py").write_text(
        "import sys\nfrom runchecked import HealthCheckedContext\n"
        "with HealthCheckedContext(sys.argv[1], enable_tty_output=False) as job:\n"
        "    job.run(['sh', '-c', sys.argv[2]])\n"
    )
    for address in paths(exporter, "orders"):
        for script, outcome, words in (
            ("echo 12 rows", "success", "12 rows"),
            ("echo no broker; exit 3", "failure", "no broker"),
        ):
            url = exporter.url + address
            subprocess.run([sys.executable, "job.py", url, script], cwd=tmp_path, timeout=30,
                           check=True, capture_output=True)  # fmt: skip
            assert newest(exporter, "orders")["last_outcome"] == outcome
            pages = get(f"{exporter.url}/tasks/orders").decode()
            run = re.findall(r"runs/([0-9a-f-]+)", pages)[0]
            assert words in get(f"{exporter.url}/runs/{run}").decode()


def test_runitor_works_unchanged(exporter: Exporter, tmp_path: Path) -> None:
    """It runs the command, sends start, output and exit status, each run with its own rid."""
    runitor = [built_runitor(tmp_path), "-api-url", f"{exporter.url}/ping"]
    by_uuid, by_key = (path.split("/") for path in paths(exporter))
    for place in (["-uuid", by_uuid[2]], ["-ping-key", by_key[2], "-slug", by_key[3]]):
        for script, status, outcome in (
            ("echo working; echo FATAL no broker >&2; exit 4", 4, "failure"),
            ("echo 3 rows", 0, "success"),
        ):
            done = subprocess.run([*runitor, *place, "--", "sh", "-c", script], timeout=30,
                                  capture_output=True, text=True, check=False)  # fmt: skip
            assert done.returncode == status, done.stderr
            assert newest(exporter)["last_outcome"] == outcome
            page = get(f"{exporter.url}/tasks/nightly_etl").decode()
            assert status == 0 or "exit status 4: FATAL no broker" in page


def built_runitor(folder: Path) -> str:
    """Installed, or built of its source in var/bench/runitor, or where Go's proxy has it; skips the
    test otherwise."""
    if found := shutil.which("runitor"):
        return found
    go, source = shutil.which("go"), Path(__file__).parents[2] / "var/bench/runitor"
    if go is None:
        pytest.skip("neither runitor is installed, nor Go to build it")
    what = "./cmd/runitor" if source.is_dir() else "bdd.fi/x/runitor/cmd/runitor@latest"
    built = subprocess.run(
        [go, "install", what], cwd=source if source.is_dir() else folder,
        capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "GOBIN": str(folder)},
    )  # fmt: skip
    if built.returncode:
        pytest.skip(f"runitor cannot be built here: {built.stderr.strip()[-200:]}")
    return str(folder / "runitor")


def test_curl_reports_as_ping_url_says(exporter: Exporter) -> None:
    """The printed lines, run by a shell."""
    need("curl")
    config = exporter.folder / "exporter.yml"
    printed = subprocess.run(
        [sys.executable, "-m", "exporter", "ping-url", "orders", "--config", config],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    line = next(line for line in printed.splitlines() if "curl" in line and "cron" not in line)
    for status, outcome in ((7, "failure"), (0, "success")):
        subprocess.run(["sh", "-c", f"(exit {status}); {line}"], check=True, timeout=30)
        assert newest(exporter, "orders")["last_outcome"] == outcome
    page = get(f"{exporter.url}/tasks/orders").decode()
    assert "quant-exporter ping-url orders" in page
    assert "/$?" in page
    assert paths(exporter, "orders")[0] not in page  # whoever reads a page may not ping


def test_an_output_is_kept_from_its_end_and_masked(exporter: Exporter) -> None:
    """Whatever its encoding is; the line that tells why is the error."""
    url = exporter.url + paths(exporter)[0]
    secret = f"Authorization: Bearer {exporter.token}\n".encode()
    body = b"first\n" + b"\xff x\n" * 9_000 + secret + b"ERROR login refused\nbye\n"
    run = run_of(exporter, ask(url + "/fail", "POST", body))
    assert run["outcome"] == "error"
    assert run["error"] == "ERROR login refused"
    assert 9_000 < len(run["tail"]) <= 10_010
    assert run["tail"].endswith("ERROR login refused\nbye")
    assert exporter.token not in run["tail"]
    assert "first" not in run["tail"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_report_counts_however_much_the_program_printed(
    exporter: Exporter, encoding: str
) -> None:
    """A log that has grown; a refusal would look like a task that never ran."""
    uuid_path, _ = paths(exporter)
    body = ("line of a log\n" * 200_000 + "ERROR: no space left\n").encode(encoding)
    run = run_of(exporter, ask(f"{exporter.url}{uuid_path}/fail", "POST", body))
    assert (run["outcome"], run["error"]) == ("error", "ERROR: no space left")
    assert len(run["tail"]) > 9000
    assert ask(f"{exporter.url}{uuid_path}", "POST", b"x" * (16 * 1024 * 1024 + 1)).status == 413


def test_an_output_is_kept_as_a_terminal_shows_it(exporter: Exporter) -> None:
    """Colours and the thousand states of a progress bar say nothing."""
    uuid_path, _ = paths(exporter)
    body = b"sent 1%\rsent 2%\rsent 3%\n\x1b[31mERROR: \x1b[1mquota\x1b[0m used up\x1b[0m\n"
    run = run_of(exporter, ask(f"{exporter.url}{uuid_path}/1", "POST", body))
    assert run["error"] == "exit status 1: ERROR: quota used up"
    assert run["tail"] == "sent 3%\nERROR: quota used up"


def test_runs_that_overlap_are_told_apart_by_rid(exporter: Exporter) -> None:
    """Each end belongs to its own start; one that is repeated counts once."""
    url, one, other = exporter.url + paths(exporter)[0], uuid.uuid4(), uuid.uuid4()
    for rid in (one, other):
        assert ask(f"{url}/start?rid={rid}").status == 200
    first = run_of(exporter, ask(f"{url}/1?rid={one}"))
    again = run_of(exporter, ask(f"{url}?rid={one}"))
    second = run_of(exporter, ask(f"{url}?rid={other}", "HEAD"))
    assert [run["outcome"] for run in (first, again, second)] == ["error", "error", "success"]
    assert first["run_id"] == again["run_id"] != second["run_id"]
    wait_for(lambda: "starts while 1 other run is open" in exporter.output(), "the warning")


def test_a_report_that_comes_late_has_its_own_times(exporter: Exporter) -> None:
    """Sent from a spool when the exporter is back."""
    url, now = exporter.url + paths(exporter)[0], time.time()
    answer = ask(f"{url}/0?rid={uuid.uuid4()}&started={now - 900}&ended={now - 300:.3f}")
    run = run_of(exporter, answer)
    assert run["started_at"] == pytest.approx(now - 900, abs=0.01)
    assert run["ended_at"] == pytest.approx(now - 300, abs=0.01)
    for wrong in (f"ended={now + 9e5}", "ended=1", "started=inf"):
        assert ask(f"{url}?{wrong}").status == 400


def test_a_report_is_not_lost_because_a_clock_is_wrong(exporter: Exporter) -> None:
    """Ten minutes fast, or set back between start and end: it counts as of now."""
    url, now = exporter.url + paths(exporter)[0], time.time()
    for times in (f"started={now + 590}&ended={now + 600}", f"started={now}&ended={now - 60}"):
        run = run_of(exporter, ask(f"{url}/3?{times}", "POST", b"no broker"))
        assert run["error"] == "exit status 3: no broker"
        assert run["started_at"] <= run["ended_at"] < now + 60
    wait_for(lambda: "ahead of this machine's clock" in exporter.output(), "the warning")


def test_a_log_ping_is_a_line_of_the_log_and_no_run(exporter: Exporter) -> None:
    """As `/log` is with healthchecks.io."""
    before = newest(exporter, "orders")
    url = exporter.url + paths(exporter, "orders")[0]
    assert ask(url + "/log", "POST", b"half of it is done").status == 200
    wait_for(lambda: "reports: half of it is done" in exporter.output(), "the line")
    assert newest(exporter, "orders") == before | {"next_slot": before["next_slot"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"},
        {"User-Agent": "TelegramBot (like TwitterBot)"},
        {"Sec-Purpose": "prefetch;prerender", "User-Agent": "Mozilla/5.0"},
    ],
)
def test_a_preview_of_the_address_is_not_a_success(
    exporter: Exporter, headers: dict[str, str]
) -> None:
    """A chat looks at each address that is posted in it, some every day."""
    url = exporter.url + paths(exporter, "orders")[0]
    before = newest(exporter, "orders")
    request = urllib.request.Request(url, headers=headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
    assert newest(exporter, "orders") == before | {"next_slot": before["next_slot"]}


def test_a_wrong_key_learns_nothing(exporter: Exporter) -> None:
    """Which tasks exist, and which are external, is answered alike; and no address can do more."""
    by_uuid, by_key = paths(exporter)
    key = by_key.split("/")[2]
    wrong = [f"/ping/{uuid.uuid4()}", "/ping/wrong/nightly_etl", "/ping/wrong/nobody",
             "/ping/wrong/inside/start", f"/ping/{key}x/nobody"]  # fmt: skip
    answers = [ask(exporter.url + path, "POST", b"x" * 100) for path in wrong]
    assert {(a.status, a.read(), a.headers["Content-Type"]) for a in answers} == {
        (404, b'{"error": "not found"}\n', "application/json; charset=utf-8")
    }
    for path, text in (("nobody", "no external task 'nobody'"), ("inside", "there are "),
                       ("nightly_elt", "did you mean nightly_etl?")):  # fmt: skip
        answer = ask(f"{exporter.url}/ping/{key}/{path}", "POST")  # who has the key may know
        assert answer.status == 404 and text in answer.read().decode()
    assert ask(exporter.url + by_uuid, "PUT", b"").status == 405
    for path in ("/api/v1/pause", "/api/v1/tasks/inside/run"):
        assert ask(f"{exporter.url}{path}?token={key}", "POST", b"{}").status == 401
    assert not re.search("|".join((key, by_uuid.rpartition("/")[2])), exporter.output())


def test_a_renewed_address_ends_the_old_one(exporter: Exporter) -> None:
    """At once."""
    before, _ = paths(exporter, "orders")
    after, _ = paths(exporter, "orders", "/renew")
    assert ask(exporter.url + before).status == 404
    assert ask(exporter.url + after).status == 200
