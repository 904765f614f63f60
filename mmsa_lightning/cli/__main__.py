"""``python -m mmsa_lightning.cli``."""

from mmsa_lightning.cli import main

main()
