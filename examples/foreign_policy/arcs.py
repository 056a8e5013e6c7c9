"""A tiny driver of another school: x to the right, y forward, points every half second for 3 s.

It knows nothing of Detour. It goes on with the present speed and yaw rate, and brakes when the road some 12 m ahead of the
front camera has many colours (a road without anything on it is of one). Only numpy is needed.
"""

import math

import numpy as np

FRAME = "x-right-y-forward"
RATE_HZ = 2
STEPS = 6
BRAKE_MPS2 = 3.0
PLAIN = 36.0  # grey levels that a free road and its markings differ by


def busy(front: np.ndarray) -> bool:
    """Whether something stands on the road: uint8 picture [height, width, 3] of a camera that looks ahead."""
    height, width = front.shape[:2]
    road = front[int(0.47 * height) : int(0.60 * height), int(0.46 * width) : int(0.54 * width)].astype(float)
    return bool(road.std(axis=(0, 1)).mean() > PLAIN)


def drive(front: np.ndarray, speed_mps: float, to_the_left_radps: float) -> list[list[float]]:
    """Points [STEPS, 2] to the right and forward, metres."""
    points, x, y, heading, speed = [], 0.0, 0.0, 0.0, speed_mps
    brake = BRAKE_MPS2 if busy(front) else 0.0
    fine = 10
    for step in range(STEPS * fine):
        seconds = 1 / RATE_HZ / fine
        middle = heading + to_the_left_radps * seconds / 2
        x -= speed * seconds * math.sin(middle)
        y += speed * seconds * math.cos(middle)
        heading += to_the_left_radps * seconds
        speed = max(speed - brake * seconds, 0.0)
        if (step + 1) % fine == 0:
            points.append([x, y])
    return points
