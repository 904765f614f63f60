import numpy as np

from mmsa_lightning.data.formats.align import EPSILON, averages, overlapping


def by_the_sdk(reference, intervals):
    """Rows that ``mmdataset.align`` finds: both ends past each other by more than -epsilon, then the long enough."""
    found = []
    for start, end in reference:
        rows = []
        if abs(start - end) >= 10e-6:
            for row, (begin, stop) in enumerate(intervals):
                touches = end - begin > -10e-6 and stop - start > -10e-6
                if touches and abs(max(begin, start) - min(stop, end)) > 10e-6:
                    rows.append(row)
        found.append(rows)
    return found


def test_overlaps_are_those_of_the_sdk_whatever_the_intervals():
    rng = np.random.default_rng(0)
    for _ in range(50):
        grid = np.round(rng.uniform(0, 3, (40, 2)), 1)  # many that touch, are equal, or have no duration
        near = grid + rng.choice([0, 5e-6, 2e-5], (40, 2))
        intervals = np.sort(near, axis=1)
        intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
        reference = np.sort(np.round(rng.uniform(-0.5, 3.5, (15, 2)), 1), axis=1)
        found = overlapping(reference, intervals)
        assert [rows.tolist() for rows in found] == by_the_sdk(reference, intervals)


def test_by_hand():
    frames = np.array([[0.0, 1.0], [1.0, 2.0], [1.0, 5.0], [2.0, 3.0], [4.0, 4.0]])
    words = np.array([[1.0, 2.0], [2.0, 2.0], [3.5, 4.5], [6.0, 7.0], [0.0, 1.0 + EPSILON / 2]])
    assert [rows.tolist() for rows in overlapping(words, frames)] == [[1, 2], [], [2], [], [0]]
    assert overlapping(words, np.zeros((0, 2)))[0].size == 0


def test_averages():
    features = np.array([[1, 2], [3, 6], [np.inf, 0]], np.float32)
    found = averages(features, [np.array([0, 1]), np.array([], int), np.array([1]), np.array([0, 2])])
    np.testing.assert_array_equal(found, np.array([[2, 4], [0, 0], [3, 6], [np.inf, 1]], np.float32))
    assert found.dtype == np.float32
