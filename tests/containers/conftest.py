"""One engine, one set of images and one running stack for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.engine import Engine, NoEngineError, engine
from tests.containers.images import where_missing
from tests.containers.stack import Stack


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    """An engine that has Compose."""
    try:
        with engine() as found:
            yield found
    except NoEngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def images(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """Every image of docker-compose.yml; the names of those that were made here."""
    try:
        with where_missing(docker, tmp_path_factory.mktemp("images")) as made:
            yield made
    except NoEngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def stack(
    docker: Engine, images: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """All profiles, started once by `make up` from a fresh checkout."""
    started = Stack(docker, tmp_path_factory.mktemp("stack") / "checkout", "logs,remote-write")
    started.clone()
    started.add_store()
    # What a run that was killed has left behind.
    started.down()
    try:
        started.up()
        yield started
    finally:
        started.down()
