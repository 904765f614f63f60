"""From a video to words, sound and face: the same source that an import makes."""
