"""Each release starts its own helper for tasks, whatever unit file the machine was set up with."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import switch  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("module", "kill_mode"),
    [("exporter.runner.worker.forkserver", "process"), ("exporter.worker.zygote", "mixed")],
)
def test_a_deploy_and_a_rollback_name_the_helper_of_their_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, kill_mode: str
) -> None:
    """A VPS that was set up by an older release may run a newer one, and the other way round."""
    reloads: list[tuple[str, ...]] = []
    drop_in = tmp_path / "quant-programs@.service.d/config.conf"
    monkeypatch.setattr(switch, "PROGRAMS_LIMITS", drop_in)
    monkeypatch.setattr(switch, "attempt", lambda *words: reloads.append(words))
    file = tmp_path / "release" / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(parents=True)
    file.touch()
    limits = {"memory": "3G", "processes": 99, "write": []}
    release = SimpleNamespace(folder=tmp_path / "release", about=SimpleNamespace(programs=limits))
    switch._limit_programs(release)
    assert drop_in.read_text().splitlines()[1:] == [
        "[Service]",
        "ExecStart=",
        f"ExecStart=/opt/quant/current/venv/bin/python -P -m {module} 3",
        f"KillMode={kill_mode}",
        "MemoryMax=3G",
        "TasksMax=99",
    ]
    assert reloads == [("systemctl", "daemon-reload")]


def test_alertmanager_gets_the_zone_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages say "firing since" in it. It restarts when that changed alone; an older release,
    which does not say its zone, leaves it."""
    reloads: list[tuple[str, ...]] = []
    drop_in = tmp_path / "prometheus-alertmanager.service.d/zone.conf"
    monkeypatch.setattr(switch, "ALERTMANAGER_ZONE", drop_in)
    monkeypatch.setattr(switch, "attempt", lambda *words: reloads.append(words))

    def release(zone: str) -> SimpleNamespace:
        return SimpleNamespace(about=SimpleNamespace(timezone=zone))

    assert not switch._set_zone(release(""))
    assert not drop_in.exists()
    assert switch._set_zone(release("Asia/Hong_Kong"))
    assert drop_in.read_text().splitlines()[1:] == ["[Service]", "Environment=TZ=Asia/Hong_Kong"]
    assert not switch._set_zone(release("Asia/Hong_Kong"))
    assert reloads == [("systemctl", "daemon-reload")]


def test_grafana_keeps_no_exporter_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its links are written before the exporter starts; what Grafana needs, and may refuse, comes
    after that."""
    done: list[str] = []

    def attempt(*words: str, **_: object) -> SimpleNamespace:
        done.append(" ".join(words))
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    def refuse(*_: object, **__: object) -> None:
        done.append("page")
        raise switch.ProblemError("grafana-server does not start")

    boards = tmp_path / "quant-exporter.service.d/quant-boards.conf"
    monkeypatch.setattr(switch.grafana_server, "BOARDS", boards)
    monkeypatch.setattr(switch, "ALERTMANAGER_ZONE", tmp_path / "zone.conf")
    monkeypatch.setattr(switch, "PROGRAMS_LIMITS", tmp_path / "limits.conf")
    monkeypatch.setattr(switch, "attempt", attempt)
    monkeypatch.setattr(switch, "bring_about", refuse)
    monkeypatch.setattr(switch, "load_credentials", lambda: None)
    monkeypatch.setattr(switch.prometheus_file, "write_copy", lambda folder: None)
    monkeypatch.setattr(switch.settings, "read", lambda: SimpleNamespace(servers=()))
    about = SimpleNamespace(timezone="", programs={}, public_url="https://vps/")
    switch.start(SimpleNamespace(folder=tmp_path, about=about))
    assert "Environment=QUANT_DASHBOARDS_URL=https://vps/grafana" in boards.read_text().split("\n")
    started = done.index("systemctl start quant-exporter.service")
    assert done.index("systemctl daemon-reload") < started < done.index("page")
    assert done[-1] == "systemctl restart --no-block grafana-server.service"


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A disk that is full, whatever is written; what systemd is asked to do all the same."""
    asked: list[str] = []

    def attempt(*words: str, **_: object) -> SimpleNamespace:
        asked.append(" ".join(words))
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(switch, "attempt", attempt)
    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(switch, "load_credentials", full)
    monkeypatch.setattr(switch, "bring_about", full)
    monkeypatch.setattr(switch.prometheus_file, "write_copy", full)
    monkeypatch.setattr(switch.settings, "read", lambda: SimpleNamespace(servers=()))
    return asked


def test_a_disk_that_fills_up_keeps_no_release_from_starting(
    tmp_path: Path, no_room: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each drop-in that cannot be written stays as it is, and that is said."""
    for module, name in (
        (switch, "ALERTMANAGER_ZONE"), (switch, "PROGRAMS_LIMITS"),
        (switch.grafana_server, "BOARDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, tmp_path / name)
    limits = {"memory": "3G", "processes": 99, "write": []}
    about = SimpleNamespace(timezone="UTC", programs=limits, public_url="https://vps/")
    switch.start(SimpleNamespace(folder=tmp_path, about=about))
    assert "systemctl start quant-exporter.service" in no_room
    said = capsys.readouterr().out
    for what in ("secrets stays", "limits of your programs stay", "messages stays", "boards stay"):
        assert what in said


def test_the_unit_and_this_release_have_the_same_helper() -> None:
    """What is written down here is there."""
    module, kill_mode = switch._HELPERS[0]
    unit = (ROOT / "deploy/systemd/quant-programs@.service").read_text()
    assert f"-m {module} 3\n" in unit
    assert f"KillMode={kill_mode}\n" in unit
    assert (ROOT / f"{module.replace('.', '/')}.py").exists()
