"""Lightning and transformers without what their metrics and losses of other tasks need."""

from __future__ import annotations

from unittest import mock

from lightning_utilities.core import imports

UNUSED = ("matplotlib", "scipy")  # a second of imports, for plots and for metrics of sound


class _Requirement(imports.RequirementCache):
    """Not met by what is :data:`UNUSED`. torchmetrics keeps it, and asks it again when a metric is used."""

    def __bool__(self) -> bool:
        return self.requirement not in UNUSED and super().__bool__()


def import_lean() -> None:
    """Import torchmetrics, which Lightning needs, as if :data:`UNUSED` were not installed, and so the losses of DETR.

    Both import them wherever they are. A metric that needs one of them then says that it does; no figure changes. Call
    this before Lightning is imported, and only in a process that trains.
    """
    available = imports.package_available
    with (
        mock.patch.object(imports, "RequirementCache", _Requirement),
        mock.patch.object(imports, "package_available", lambda name: name not in UNUSED and available(name)),
    ):
        import torchmetrics  # noqa: F401
    import transformers.utils

    with mock.patch.object(transformers.utils, "is_scipy_available", lambda: False):
        import transformers.loss.loss_utils
