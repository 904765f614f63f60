"""A pytest plugin: files, and the tests in each, in an order drawn from the seed in ``ORDER_SEED``."""

from __future__ import annotations

import os
import random

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rng = random.Random(int(os.environ["ORDER_SEED"]))
    files = sorted({item.path for item in items})
    rng.shuffle(files)
    place = {path: i for i, path in enumerate(files)}
    rng.shuffle(items)
    items.sort(key=lambda item: place[item.path])
