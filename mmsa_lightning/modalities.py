"""The modalities, by name."""

MODALITIES = ("text", "audio", "vision")  # in the order in which everything shows them
