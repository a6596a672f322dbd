"""The secrets that this process knows, for the mask: what the config names, systemd's credentials,
and environment variables whose names say that they are secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from exporter.config import Config

MOST_BYTES = 64_000
"""A larger file is not a secret of ours."""
SHORTEST_LINE = 16
"""Lines of a secret (a private key) from this length on are secret on their own, too."""
SHORTEST_PATH = 12
SHORTEST_PIECE = 12
_HOST = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?|localhost:\d+")
_SECRET_WORDS = frozenset(
    (
        "KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASS", "PASSPHRASE", "PWD",
        "WEBHOOK", "CREDENTIAL", "CREDS", "CRED", "DSN", "MNEMONIC", "JWT",
    )
)  # fmt: skip
_SECRET_ENDINGS = ("APIKEY", "SECRET", "TOKEN", "PASSWORD", "PASSPHRASE")
_PLACES = frozenset(("FILE", "PATH", "DIR", "DIRECTORY", "SOCK", "ENV", "NAME", "ID"))
"""A variable with such an ending says where a secret is, not what it is."""


def known_secrets(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """Every secret that can be found now, and its parts; what cannot be read is skipped: the part
    that needs it reports that."""
    for text in _texts(config, environ):
        yield from _parts(text.strip())


def _texts(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    named: set[str] = set()
    files: list[Path] = []
    for source in config.sources.values():
        named |= {*source.secret_variables()}
        files += source.secret_files()
    for strategy in config.strategies.values():
        if strategy.equity:
            named |= {*strategy.equity.secret_variables()}
            files += strategy.equity.secret_files()
    named |= {name for task in config.tasks.values() for name in task.secrets}
    for channel in config.channels.values():
        variables = (channel.url_env, channel.email.password_env if channel.email else None)
        places = (channel.url_file, channel.email.password_file if channel.email else None)
        named |= {variable for variable in variables if variable}
        files += [place for place in places if place]
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for name, value in environ.items():
        if name in named or _is_secret_name(name):
            yield value
        elif "://" in value and "@" in value:
            yield from _passwords(value)
    yield from _read(files)
    if folder:
        yield from _read(_listed(Path(folder)))


def _is_secret_name(name: str) -> bool:
    words = re.split(r"[^A-Z0-9]+", name.upper())
    if name in ("PWD", "OLDPWD") or (words[-1] in _PLACES and words[-2:] != ["KEY", "ID"]):
        return False
    # With a plural or a number: API_KEYS, TOKEN2.
    roots = {root for word in words for root in (word, word.rstrip("S0123456789"))}
    return not _SECRET_WORDS.isdisjoint(roots) or any(
        root.endswith(_SECRET_ENDINGS) for root in roots
    )


def _passwords(address: str) -> Iterator[str]:
    """Of an address such as ``DATABASE_URL``."""
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return
    yield password
    yield unquote(password)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        try:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) <= MOST_BYTES:
                yield content.decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def _parts(text: str) -> Iterator[str]:
    """The secret, and the pieces of it that are secret on their own."""
    yield text
    lines = [line.strip() for line in text.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= SHORTEST_LINE)
    elif "://" in text:  # a webhook's address: libraries log host and path apart
        try:
            address = urlsplit(text)
            password = address.password or ""
        except ValueError:
            return
        path = address.path + (f"?{address.query}" if address.query else "")
        if len(path) >= SHORTEST_PATH:
            yield path
            yield address.path
        yield password
        yield from _pieces(text.partition("://")[2])


def _pieces(rest: str) -> Iterator[str]:
    """Of an address: libraries put its parts together in other ways, as
    ``tgram://TOKEN/CHAT`` becomes ``https://api.telegram.org/botTOKEN``."""
    for piece in re.split(r"[/?&=@#]+", rest):
        for part in {piece, *piece.split(":")}:
            if len(part) >= SHORTEST_PIECE and not _HOST.fullmatch(part):
                yield part
                yield unquote(part)
