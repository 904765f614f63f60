"""The command ``mmsa``: a file a wing, each of whose commands imports its own when it runs.

Nothing heavy is imported before it is needed, so that ``mmsa --help`` answers at once.
"""

from mmsa_lightning.cli import data, experiment, inference, report  # in the order of ``mmsa --help``
from mmsa_lightning.cli.parser import app, main

__all__ = ["app", "data", "experiment", "inference", "main", "report"]
