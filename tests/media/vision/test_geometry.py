"""Features of a made-up face: by hand, the same however it is turned, and moved by what they are named after."""

from __future__ import annotations

import numpy as np
import pytest

from mmsa_lightning.media.vision import geometry

SPREAD = np.array([1.0, -1.0, -1.0])  # from x, y up, z forwards to an image's x, y down, z away


def in_picture(head: np.ndarray, scale: float = 50, at: tuple[float, float] = (160, 120)) -> np.ndarray:
    return (head * scale * SPREAD + [*at, 3.0]).astype(np.float32)


def named(points: np.ndarray) -> dict[str, float]:
    return dict(zip(geometry.NAMES, geometry.features(points, 240, 320).tolist(), strict=True))


def turn(axis: int, degrees: float) -> np.ndarray:
    """Right-handed about x (left), y (up) or z (forwards)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
    return matrix


def test_by_hand(head: np.ndarray) -> None:
    found = named(in_picture(head))
    expected = {
        "eye_open": (0.1 + 0.12 + 0.1) / 3 / 0.4,
        "brow_inner": 0.35,
        "brow_middle": 0.45,
        "brow_outer": 0.35,
        "nose_wing": 0.7,
        "cheek": np.sqrt(0.1**2 + 0.54**2 + 0.05**2),
        "mouth_corner": -0.4,
    }
    for name, value in expected.items():
        assert found.pop(f"{name}_left") == pytest.approx(value, abs=1e-4), name
        assert found.pop(f"{name}_right") == pytest.approx(value, abs=1e-4), name
    expected = {
        "brow_gap": 0.4,
        "nose_width": 0.6,
        "mouth_open": 0.1,
        "mouth_width": 0.9,
        "mouth_curve": 0.0,
        "mouth_shift": 0.0,
        "lip_pucker": 0.2,
        "lip_upper_raise": np.hypot(0.2, 0.3),
        "lip_upper": np.hypot(0.15, 0.05),
        "lip_lower": np.hypot(0.15, 0.05),
        "lip_to_chin": np.hypot(0.6, 0.2),
        "jaw_open": 1.2,
        "jaw_shift": 0.0,
        "gaze_left_x": 0.0,
        "gaze_left_y": 0.0,
        "gaze_right_x": 0.0,
        "gaze_right_y": 0.0,
        "face_height": 3.4 * 50 / 240,
        "face_x": 0.5,
        "face_y": (120 + 0.3 * 50) / 240,
        "head_yaw": 0.0,
        "head_pitch": 0.0,
        "head_roll": 0.0,
        "head_yaw_speed": 0.0,
        "head_pitch_speed": 0.0,
        "head_roll_speed": 0.0,
    }
    assert found == pytest.approx(expected, abs=1e-4)


def test_the_same_however_the_head_is_turned(head: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    head = head + rng.normal(scale=0.02, size=head.shape)  # no longer the same on both sides
    still, moved = named(in_picture(head)), head @ (turn(1, 35) @ turn(0, -20) @ turn(2, 15)).T
    turned = named(in_picture(moved, scale=20, at=(40, 200)))
    outside = {name for name in geometry.NAMES if name.startswith(("face_", "head_"))}
    for name in set(geometry.NAMES) - outside:
        assert turned[name] == pytest.approx(still[name], abs=1e-4), name


@pytest.mark.parametrize("yaw", [-50.0, 0.0, 30.0])
@pytest.mark.parametrize("pitch", [-25.0, 40.0])
@pytest.mark.parametrize("roll", [-100.0, 20.0])
def test_pose(yaw: float, pitch: float, roll: float, head: np.ndarray) -> None:
    """The head is tilted to a shoulder, then lifted, then turned."""
    moved = head @ (turn(1, yaw) @ turn(0, -pitch) @ turn(2, -roll)).T
    found = named(in_picture(moved))
    assert [found[f"head_{name}"] for name in ("yaw", "pitch", "roll")] == pytest.approx([yaw, pitch, roll], abs=1e-2)


def test_the_heads_directions_are_at_right_angles(head: np.ndarray) -> None:
    head[geometry.LEFT_SIDE] += [0, 0.2, 0.1]  # one eye higher
    turned = geometry.upright(in_picture(head))[1]
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)


def test_signs_of_the_pose(head: np.ndarray) -> None:
    """In the picture: the nose goes right, or up; the person's left eye, which is on the right, goes down."""
    tip = np.array([0, -0.5, 0.5])
    for name, axis, degrees in (("yaw", 1, 20), ("pitch", 0, -20), ("roll", 2, -20)):
        matrix = turn(axis, degrees)
        moved = in_picture(head @ matrix.T)
        assert named(moved)[f"head_{name}"] == pytest.approx(20, abs=1e-2)
        x, y, _ = (matrix @ tip - tip) * SPREAD
        assert {"yaw": x > 0, "pitch": y < 0, "roll": moved[263, 1] > moved[33, 1]}[name]


@pytest.mark.parametrize(
    ("changed", "shift", "more", "less"),
    [
        ([386, 385, 387], (0, -0.04, 0), [], ["eye_open_left"]),
        ([158, 159, 160], (0, -0.04, 0), [], ["eye_open_right"]),
        ([55, 107], (0, 0.1, 0), ["brow_inner_right"], []),
        ([285, 336], (0, 0.1, 0), ["brow_inner_left"], []),
        ([276, 300], (0, 0.1, 0), ["brow_outer_left"], []),
        ([291], (0.1, 0.2, 0), ["mouth_corner_left", "mouth_width", "mouth_curve", "mouth_shift"], []),
        ([61], (-0.1, 0.2, 0), ["mouth_corner_right", "mouth_width", "mouth_curve"], ["mouth_shift"]),
        ([0, 17], (0, 0, 0.2), ["lip_pucker", "lip_upper_raise", "lip_to_chin"], []),
        ([14, 17, 152], (0, -0.3, 0), ["mouth_open", "jaw_open", "mouth_curve"], []),
        ([64], (0, 0.1, 0), [], ["nose_wing_right"]),
        ([280], (0, 0.1, 0), [], ["cheek_left"]),
        ([473], (0.1, 0, 0), ["gaze_left_x"], []),
        ([468], (-0.1, 0.05, 0), ["gaze_right_y"], ["gaze_right_x"]),
    ],
)
def test_what_moves_a_feature(
    changed: list[int], shift: tuple[float, ...], more: list[str], less: list[str], head: np.ndarray
) -> None:
    before = named(in_picture(head))
    head[changed] += shift
    after = named(in_picture(head))
    assert all(after[name] > before[name] + 0.02 for name in more)
    assert all(after[name] < before[name] - 0.02 for name in less)
    assert all(after[f"head_{name}"] == pytest.approx(before[f"head_{name}"]) for name in ("yaw", "pitch", "roll"))


def test_speeds() -> None:
    values = np.zeros((4, len(geometry.NAMES)), np.float32)
    values[:, geometry.POSE] = [[170, 0, 0], [-170, 5, 1], [0, 0, 0], [10, 0, 0]]
    starts = np.array([0.0, 0.1, 0.3, 0.4])
    times = np.stack([starts, starts + 0.1], axis=1)
    geometry.add_speeds(values, times, np.array([True, True, False, True]))
    np.testing.assert_allclose(values[:, geometry.SPEED], [[0, 0, 0], [200, 50, 10], [0, 0, 0], [0, 0, 0]], rtol=1e-5)
