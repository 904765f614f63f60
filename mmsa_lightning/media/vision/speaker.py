"""Which of several faces speaks: the largest and longest seen, unless the sound moves another one's mouth."""

from __future__ import annotations

import numpy as np

RATE = 16_000  # of the sound, in samples a second
CLEARER = 0.2  # by which a smaller face's mouth must follow the sound better, in correlation
SMOOTH = 5  # frames that are averaged: a third of a second, about a word
SHORTEST = 15  # frames without which a correlation says nothing


def choose(size: np.ndarray, mouth: np.ndarray, energy: np.ndarray | None) -> tuple[list[int], tuple[str, ...]]:
    """The faces that are taken, in order, and lines that say why.

    After the one that speaks come those that were never in the picture together with one that is taken: the same
    person after a cut or a turned head, as far as one can tell.

    Args:
        size: (faces, t), the height of each face in each frame, NaN where it is not seen.
        mouth: (faces, t), how far its mouth is open, NaN alike.
        energy: (t,), of the sound; None without sound.
    """
    seen = ~np.isnan(size)
    if not len(seen):
        return [], ()
    order = np.argsort(-np.nansum(size, axis=1), kind="stable").tolist()
    main, reason = order[0], "the largest and longest seen"
    rivals = [n for n in order if (seen[n] & seen[main]).any() and seen[n].sum() >= seen[main].sum() / 2]
    if energy is not None and len(rivals) > 1:
        follows = {n: agreement(mouth[n], energy) for n in rivals}
        best = max(rivals, key=follows.__getitem__)
        if follows[best] - follows[main] >= CLEARER:
            reason = f"its mouth moves with the sound (r {follows[best]:.2f}; the largest one's {follows[main]:.2f})"
            main = best
    taken = [main]
    for n in order:
        if not (seen[n] & seen[taken].any(axis=0)).any():
            taken.append(n)
    several = seen.sum(axis=0)
    lines = []
    if several.max() > 1:
        lines.append(f"up to {several.max()} faces at once, in {(several > 1).sum()} frames; one is taken: {reason}")
    if len(taken) > 1:
        lines.append(f"{len(taken)} stretches with a face, never two at once, are taken to be of one person")
    return taken, tuple(lines)


def agreement(mouth: np.ndarray, energy: np.ndarray) -> float:
    """Correlation of a mouth's movement with the sound's energy, both means of five frames; 0 where it says nothing.

    Args:
        mouth: (t,), how far it is open, NaN where it is not seen.
        energy: (t,).
    """
    moved = np.abs(np.diff(mouth))
    known = ~np.isnan(moved)
    if known.sum() < SHORTEST:
        return 0.0
    moved, loud = (np.convolve(x, np.full(SMOOTH, 1 / SMOOTH), "same") for x in (moved[known], energy[1:][known]))
    return float(np.corrcoef(moved, loud)[0, 1]) if moved.std() > 0 and loud.std() > 0 else 0.0


def energies(sound: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The root mean square of the sound in each frame, (t,); 0 where there is no sound.

    Args:
        sound: float32 at 16 kHz, mono, from the second 0 of ``times`` on.
        times: (t, 2), start and end of each frame in seconds.
    """
    edges = np.clip(np.round(times * RATE).astype(int), 0, len(sound))
    total = np.concatenate([[0], np.cumsum(np.square(sound, dtype=np.float64))])
    return np.sqrt((total[edges[:, 1]] - total[edges[:, 0]]) / np.maximum(edges[:, 1] - edges[:, 0], 1))
