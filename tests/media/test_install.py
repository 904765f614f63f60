"""What a user without the extra reads."""

from __future__ import annotations

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.media.install import required


def test_a_package_of_the_extra_that_is_missing() -> None:
    with (
        pytest.raises(UserError, match=r"^videos need the package av; install it with: pip install .*\[media\]"),
        required(),
    ):
        raise ModuleNotFoundError("No module named 'av.audio'", name="av.audio")


def test_another_package_that_is_missing_is_no_mistake_of_theirs() -> None:
    with pytest.raises(ModuleNotFoundError), required():
        raise ModuleNotFoundError("No module named 'average'", name="average")
