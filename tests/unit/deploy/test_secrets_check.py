"""What looks like a secret does not leave the laptop."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts import load_script

PROJECT = Path(__file__).resolve().parents[3]


secrets_check = load_script("deploy/secrets_check.py")

# Put together here, so that no file of this project holds one.
SECRETS = {
    "a private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "a Slack webhook": "https://hooks.slack.com/" + "services/T0ABCDEFG/B0ABCDEFG/" + "x1Y2" * 6,
    "a Slack token": "xoxb-" + "123456789012-abcdefghijkl",
    "a Discord webhook": "https://discord.com/api/" + "webhooks/123456789012345678/" + "aB3_" * 10,
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "a Telegram bot token": "123456789:" + "AA" + "b3-_" * 9,
    "an AWS key": "AKIA" + "IOSFODNN7ABCDEFG",
    "a Grafana token": "glsa_" + "a1B2" * 8,
    "a Google key": "AIza" + "aB3-_" * 7,
    "a Stripe key": "sk_live_" + "a1B2" * 6,
    "a password in an address": "postgres://me:" + "hunter22@db.example.com/x",
    "a key of an AI service": "sk-" + "ant-" + "a1B2" * 8,
    "a signed token": "eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0." + "a1B2c3D4e5F6",
    "a bearer token": "Authorization: " + "Bearer " + "a1B2" * 8,
    "a secret's value": "tickdb_api_key: " + "'4f3a9c81d2e64b7f9a10c55e'",
}
# What a trader usually has in files, and how each is reported.
OF_A_TRADER = {
    "KRAKEN_KEY=" + "aB3" * 14: "a secret's value",
    "binance: {key: '" + "aB3" * 14 + "'}": "a secret's value",
    "FLEX = 'https://h.example/FlexWebService/SendRequest?t=" + "1000" * 6: "a key in an address",
    "rpc: https://mainnet.infura.io/v3/" + "0a1b" * 8: "a key in an address",
    "rpc: https://eth.quiknode.pro/" + "0a1b" * 10: "a key in an address",
    "mysqldump -u bot -p" + "Made2Up3P4ss": "a password",
    "wallet = '" + "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1j" + "vhTVqvbTLvyTJ'": "a private key",
    "private_key: 0x" + "4c0883a69102937d" * 4: "a secret's value",
    "{'op': 'auth', 'args': ['" + "aB3" * 8 + "', 17]}": "a login",
    "totp_seed: " + "JBSWY3DP" * 3: "a secret's value",
    "api = tradeapi.REST('x', '" + "aB3d" * 10 + "')": "a key passed to a client",
    "key PK" + "1A2B3C4D5E6F7G8H9I": "an Alpaca key",
}
NAMED_LIKE_SECRETS = (
    "APCA_API_KEY_ID=" + "CK1A2B3C4D" + "5E6F7G8H9I",
    "aws_secret_access_key = " + "wJalrXUtnFEMIK7MDENGbPxRfiCYkey0",
    "X-API-Key: " + "4f3a9c81d2e64b7f",
    'password="' + 'correct4horse4battery",',
    "api_key = " + '"s3cret-of-the-broker-4711"',
    "{routing_key: " + "0123456789abcdef0123456789abcdef}",
)
HARMLESS = (
    "api_key_env: TICKDB_API_KEY",
    "slack_api_url_file: /etc/alertmanager/secrets/slack_url",
    "https://hooks.slack.com/services/…",
    "password: ${PASSWORD}",
    "token = os.environ['BROKER_TOKEN']",
    "sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "https://user:***@example.com/",
    "api_key_file: /run/credentials/tickdb_api_key_2026",
    "broker_token_env: BROKER_TOKEN_0123456789",
    "token = secrets.token_urlsafe(24)",
    "an Authorization: Bearer header goes with every write",
)


def check(root: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (root / name).write_text(text)
    found: list[str] = secrets_check.check(root, files)
    return found


@pytest.mark.parametrize("line", OF_A_TRADER)
def test_what_a_trader_has_is_found(tmp_path: Path, line: str) -> None:
    """By the shapes that the exporter's logs mask."""
    assert check(tmp_path, a=line) == [f"a:1: {OF_A_TRADER[line]}"]


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_is_found_and_not_printed(tmp_path: Path, what: str) -> None:
    """By its shape, wherever it stands on its line; told by file, line and kind."""
    secret = SECRETS[what]
    found = check(tmp_path, a="first\n" + secret, b=f"{secret}  # why")
    assert [f for f in found if f.endswith(what)] == [f"a:2: {what}", f"b:1: {what}"]
    assert secret not in "".join(found)


@pytest.mark.parametrize("line", NAMED_LIKE_SECRETS)
def test_a_value_under_a_secret_s_name_is_found(tmp_path: Path, line: str) -> None:
    """In YAML, in shell, in Python, in a header."""
    assert check(tmp_path, a=line) == ["a:1: a secret's value"]


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_speaks_of_secrets_is_fine(tmp_path: Path, line: str) -> None:
    """Names of variables and files, hashes, and values that are masked."""
    assert check(tmp_path, a=line) == []


@pytest.mark.parametrize("name", [".env", "x/.env.live", "id_ed25519", "a/.netrc", "k.p12"])
def test_files_that_hold_secrets_by_their_name_are_found(tmp_path: Path, name: str) -> None:
    """Whatever is in them."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x")
    assert secrets_check.check(tmp_path, [name]) == [f"{name}: a file of secrets by its name"]


def test_an_example_is_allowed_by_a_comment_or_a_list(tmp_path: Path) -> None:
    """By a comment on its own line, or by name in .secrets-allowed; nothing else with it."""
    secret = SECRETS["a GitHub token"]
    lines = f"{secret}  # {secrets_check.EXAMPLE}\n{secret}\n"
    assert check(tmp_path, a=lines) == ["a:2: a GitHub token"]
    (tmp_path / ".secrets-allowed").write_text("a: a GitHub token  # made up\n")
    assert check(tmp_path, a=lines + SECRETS["an AWS key"]) == ["a:3: an AWS key"]


def test_what_is_shipped_is_what_is_checked() -> None:
    """An archive's own bytes, binary files and all."""
    secret = SECRETS["a Slack token"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("x.py", secret.encode()), ("x.png", b"\x89PNG\xff\xfe")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert secrets_check.check_archive(packed.getvalue()) == ["x.py:1: a Slack token"]


def packed(**files: str) -> bytes:
    """A tar file of them."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return whole.getvalue()


def test_what_had_no_secret_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next time, by its content; what has one is reported each time."""
    looked_at: list[str] = []
    look = secrets_check.secret_finder.secrets_by_line

    def looks(text: str) -> Iterator[tuple[int, str]]:
        looked_at.append(text)
        found: Iterator[tuple[int, str]] = look(text)
        return found

    monkeypatch.setattr(secrets_check.secret_finder, "secrets_by_line", looks)
    known, secret = tmp_path / "known", SECRETS["a Slack token"]
    archive = packed(a="nothing", b=secret)
    for expected in (["nothing", secret], [secret]):
        looked_at.clear()
        assert secrets_check.check_archive(archive, known) == ["b:1: a Slack token"]
        assert looked_at == expected
    assert secret not in known.read_text()
    looked_at.clear()
    assert secrets_check.check_archive(packed(a="other", c="nothing"), known) == []
    assert looked_at == ["other"]


def test_other_rules_look_at_everything_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a file that cannot be read."""
    secret = SECRETS["a Slack token"]
    archive, known, rules = packed(a=secret), tmp_path / "known", tmp_path / "rules"
    rules.write_text("old")
    monkeypatch.setattr(secrets_check, "_rules", lambda: [rules])
    with monkeypatch.context() as blind:
        blind.setattr(secrets_check.secret_finder, "secrets_by_line", lambda _: iter(()))
        assert secrets_check.check_archive(archive, known) == []
    assert secrets_check.check_archive(archive, known) == []
    rules.write_text("new")
    assert secrets_check.check_archive(archive, known) == ["a:1: a Slack token"]
    known.write_bytes(b"\xff\xfe")
    assert secrets_check.check_archive(archive, known) == ["a:1: a Slack token"]


def test_a_turkish_capital_moves_no_place(tmp_path: Path) -> None:
    """In lower case it is two characters."""
    line = "\u0130" * 40 + " api_key = " + '"s3cret-of-the-broker-4711"'
    assert check(tmp_path, a=line, b="\u0130" * 9 + " key") == ["a:1: a secret's value"]


def test_this_project_holds_none() -> None:
    """So that it can be deployed as it is."""
    listed = subprocess.run(
        ["git", "-C", PROJECT, "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git here: the files of the project are not known")
    assert secrets_check.check(PROJECT, [n for n in listed.stdout.split("\0") if n]) == []
