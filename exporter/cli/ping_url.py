"""``quant-exporter ping-url``."""

from __future__ import annotations

from pathlib import Path

from exporter.cli import client
from exporter.cli.with_config import with_config
from exporter.config import Config


def ping_url(path: Path, name: str, *, renew: bool, renew_key: bool, plain: bool) -> int:
    """Show where an external task pings, and how; with `renew` the old address ends."""

    def show(config: Config) -> int:
        place = f"/api/v1/tasks/{name}/ping-url"
        if renew_key:
            client.call(config, "POST", "/api/v1/ping-key/renew")
        paths = client.call(config, "POST", f"{place}/renew" if renew else place)
        local, public = config.local_url, config.public_url
        url = local + paths["path"]
        if plain:
            print(url)
            return 0
        print(f"{name}: {url}")
        print(f"by the key of all tasks: {local}{paths['key_path']}")
        if public.partition("://")[2].split(":")[0] not in ("localhost", "127.0.0.1"):
            print(f"from elsewhere: {public}{paths['path']}")
        print("add /start, /fail, /log or /$? (an exit status); a body is the program's output")
        print("\nat the end of a script:")
        print(f"  curl -fsS -m 10 --retry 5 -o /dev/null {url}/$?")
        print("in a crontab:")
        print(f"  5 * * * * ./{name}.sh; curl -fsS -m 10 --retry 5 -o /dev/null {url}/$?")
        return 0

    return with_config(path, show, tolerant=True)
