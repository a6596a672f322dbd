"""Digests reach the channels, and their secrets reach nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.config import Digest as Settings
from exporter.config import Slack
from exporter.logs.digest.facts import Digest, Request
from exporter.logs.digest.process import build_apart
from exporter.logs.sending import NotSentError, read_secret, send


def digest() -> Digest:
    return Digest("2026-03-04", "UTC", 0.0, 86400.0, 0, 0.0, 0.0, 0, 0, 0)


@pytest.mark.parametrize("status", [200, 404])
async def test_slack_gets_the_text_and_no_error_tells_the_address(status: int) -> None:
    """What the webhook answers is said; where it is, is not."""
    got = []

    async def hook(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=status, text="no_service")

    app = web.Application()
    app.router.add_post("/services/T1/B1/verysecret", hook)
    async with TestServer(app) as server:
        url = str(server.make_url("/services/T1/B1/verysecret"))
        settings = Settings(to=("slack",), slack=Slack(url_env="HOOK"))
        error = (await send(digest(), settings, {"HOOK": url}))["slack"]
    assert got[0]["text"].startswith("2026-03-04: quiet.")
    assert (error is None) == (status == 200)
    assert "verysecret" not in str(error)


def test_a_secret_that_is_missing_is_said_with_its_place(tmp_path: Path) -> None:
    """Environment, file and systemd's credentials are tried; the sentence says what to do."""
    with pytest.raises(NotSentError, match=r"digest\.slack: the environment variable HOOK"):
        read_secret("digest.slack", "HOOK", None, {})
    (tmp_path / "HOOK").write_text("there\n")
    assert read_secret("x", "HOOK", None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "there"
    with pytest.raises(NotSentError, match="cannot be read"):
        read_secret("x", None, tmp_path / "none", {})


async def test_a_digest_is_made_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The same as made here, without DuckDB in this process' debt."""
    request = Request(tmp_path, "UTC", 0.0, 86400.0, "1970-01-01", tmp_path, now=5.0)
    made = await build_apart(request, 60.0)
    assert (made.title, made.made_at, made.quiet) == ("1970-01-01", 5.0, True)
