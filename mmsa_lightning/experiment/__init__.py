"""One run from its config to its ``result.json``: Hydra composes, the parts are built, trained and tested."""
