"""The pencil behind `tfvae.data.faces`: many cartoon faces drawn at once with NumPy.

A shape is a signed distance (negative inside), so its edge is antialiased by the distance itself
and one expression draws a whole batch. The page spans [-1, 1] both ways, x to the right and y
down, with the eyes of an upright face at y = 0; a pixel at size 32 is 1/16 long.

The head turns as a ball does: the features are painted on coordinates that are rotated back by the
yaw, so they shift, and shrink towards the far cheek, without any rule of their own.

Pixels see only +, -, *, /, square root, minimum and maximum. IEEE 754 rounds those exactly, so the
bytes are the same on every machine, for any batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Real = np.ndarray | float

_SKIN = ((255, 226, 200), (247, 203, 164), (222, 166, 118), (168, 112, 72), (112, 72, 48))
_HAIR = ((38, 32, 36), (82, 52, 38), (132, 72, 40), (196, 108, 50), (238, 200, 116))
_IRIS = ((62, 40, 30), (92, 62, 34), (84, 104, 58), (64, 128, 140), (70, 124, 190))
_WALL = ((142, 190, 226), (150, 214, 196), (206, 222, 150), (248, 214, 146), (244, 172, 164))
_SHIRT = ((226, 104, 78), (128, 84, 150), (70, 110, 176), (52, 138, 132), (70, 84, 120))


class Canvas:
    """A batch of pictures that shapes are painted on, back to front."""

    def __init__(self, num_examples: int, size: int) -> None:
        centres = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
        self.x, self.y = centres[None, None, :], centres[None, :, None]
        self.pixel = 2 / size
        self.rgb = np.zeros((3, num_examples, size, size), np.float32)

    def paint(
        self,
        distance: np.ndarray,
        colour: np.ndarray,
        opacity: Real = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Cover the inside of a shape; `blur` is the width of a soft edge, at least a pixel."""
        width = max(self.pixel, blur)
        cover = np.clip(0.5 - distance / width, 0, 1) * opacity
        self.rgb += (colour - self.rgb) * cover

    def pictures(self) -> np.ndarray:
        """The pictures as uint8 `[N, size, size, 3]`."""
        rounded = np.clip(self.rgb + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(rounded.transpose(1, 2, 3, 0))


def ellipse(x: Real, y: Real, rx: Real, ry: Real) -> np.ndarray:
    """Distance to an ellipse, to first order: exact on the edge, where antialiasing looks."""
    px, py = x / rx, y / ry
    radius = np.sqrt(px * px + py * py) + 1e-6
    px, py = px / rx, py / ry
    return radius * (radius - 1) / (np.sqrt(px * px + py * py) + 1e-6)


def rounded_box(x: Real, y: Real, rx: Real, ry: Real, corner: float) -> np.ndarray:
    """Distance to a box of half-widths `rx`, `ry` whose corners have radius `corner`."""
    qx, qy = np.abs(x) - rx + corner, np.abs(y) - ry + corner
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - corner


def ramp(stops: Sequence[Sequence[int]], position: np.ndarray) -> np.ndarray:
    """The colour at `position` in [0, 1] along evenly spaced stops: `[3, N, 1, 1]`."""
    table = np.asarray(stops, np.float32)
    at = position * (len(table) - 1)
    low = np.minimum(at.astype(np.int64), len(table) - 2)
    share = (at - low).astype(np.float32)[..., None]
    colour = table[low] * (1 - share) + table[low + 1] * share
    return np.moveaxis(colour, -1, 0)


def _colour(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([red, green, blue], np.float32)[:, None, None, None]


def _rise(value: np.ndarray, start: float, stop: float) -> np.ndarray:
    """0 below `start`, 1 above `stop`, smooth in between."""
    t = np.clip((value - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)


def render(attributes: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Draw a batch of faces.

    Args:
        attributes: Every name of `tfvae.data.ATTRIBUTES`, each with `[N]` values in its range.
        size: Height and width in pixels.

    Returns:
        uint8 `[N, size, size, 3]`.
    """
    face = _Face({k: np.asarray(v, np.float32)[:, None, None] for k, v in attributes.items()}, size)
    for layer in (
        face.wall_and_shirt,
        face.back_hair,
        face.neck_and_ears,
        face.head,
        face.wrinkles,
        face.nose,
        face.beard,
        face.mouth,
        face.eyes,
        face.hair,
        face.brows,
        face.glasses,
    ):
        layer()
    return face.canvas.pictures()


class _Face:
    """The geometry that the layers share, and the layers, each painting one part."""

    def __init__(self, attributes: dict[str, np.ndarray], size: int) -> None:
        self.a = a = attributes
        self.canvas = Canvas(len(a["smile"]), size)

        grey = _rise(a["age"], 0.4, 0.9) * 0.85
        self.skin = ramp(_SKIN, a["skin_tone"])
        self.dim_skin = self.skin * _colour(0.74, 0.64, 0.60)
        dyed = ramp(_HAIR, a["hair_colour"])
        self.hair_colour = dyed + (_colour(206, 206, 212) - dyed) * grey

        # sin and cos by their rational parametrisation: a library's sine differs between machines.
        lean = 0.09 * a["head_tilt"]
        cos, sin = (1 - lean * lean) / (1 + lean * lean), 2 * lean / (1 + lean * lean)
        x, y = self.canvas.x, self.canvas.y - 0.55
        self.x, self.y = x * cos + y * sin, y * cos - x * sin + 0.5

        self.width = 0.54 + 0.07 * a["face_width"]
        half = 0.26 * a["head_turn"]
        cos, self.sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
        depth = np.sqrt(np.maximum(self.width**2 - self.x**2, 0))
        self.u = self.x * cos - depth * self.sin
        self.side = np.abs(self.u)

        # An egg: the width shrinks towards the chin.
        jaw = 1 - 0.24 * np.maximum(self.y, 0) ** 2
        self.outline = ellipse(self.x / jaw, self.y, self.width, 0.70)
        self.eye_scale = 1.12 - 0.22 * a["age"]

    def wall_and_shirt(self) -> None:
        x, y = self.canvas.x, self.canvas.y
        wall = ramp(_WALL, self.a["background"])
        self.canvas.rgb += wall * (1.02 - 0.10 * (y + x * x))
        shirt = ramp(_SHIRT, self.a["background"])
        shoulders = ellipse(x, y - 1.22, 0.86, 0.46)
        self.canvas.paint(shoulders, shirt * (1 - 0.25 * np.abs(x)))

    def back_hair(self) -> None:
        length = self.a["hair_length"]
        reach = 0.2 + 0.48 * length
        mass = rounded_box(
            self.x + self.sin * 0.10,
            self.y + 0.45 - reach,
            self.width + 0.02 + 0.13 * length,
            reach + 0.10,
            0.3,
        )
        self.canvas.paint(mass, self.hair_colour * 0.72, _rise(length, 0.2, 0.4))

    def neck_and_ears(self) -> None:
        neck = rounded_box(self.canvas.x, self.canvas.y - 0.75, 0.21, 0.22, 0.1)
        self.canvas.paint(neck, self.dim_skin)
        reach = np.abs(self.x + 0.09 * self.a["head_turn"]) - self.width
        ear = ellipse(reach, self.y - 0.06, 0.09, 0.13)
        self.canvas.paint(ear, self.skin * 0.9)

    def head(self) -> None:
        nx, ny = self.x / self.width, self.y / 0.75
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
        light = np.minimum(0.80 + 0.24 * nz - 0.07 * nx - 0.08 * ny, 1)
        # Shadows on skin are warm: red falls least.
        warm = _colour(0.72, 1.0, 1.14)
        self.canvas.paint(self.outline, self.skin * (1 - (1 - light) * warm))
        cheeks = ellipse(self.side - 0.30, self.y - 0.24, 0.13, 0.10)
        glow = 0.28 + 0.22 * self.a["smile"]
        blush = self.skin * _colour(1.0, 0.68, 0.66)
        self.canvas.paint(np.maximum(cheeks, self.outline), blush, glow, blur=0.16)

    def wrinkles(self) -> None:
        age = _rise(self.a["age"], 0.35, 1.0)
        line = 0.016
        bend = 0.25 * self.u * self.u
        for y in (-0.27, -0.36):
            brow = np.abs(self.y - y - bend) - line
            self.canvas.paint(np.maximum(brow, self.side - 0.24), self.dim_skin, age * 0.7)
        # Folds from the nose to the corners of the mouth, then the bags under the eyes.
        fold = np.abs(self.side - 0.13 - 0.55 * (self.y - 0.2))
        fold = np.maximum(fold - line, np.abs(self.y - 0.29) - 0.11)
        self.canvas.paint(fold, self.dim_skin, age * 0.8)
        bag = ellipse(self.side - 0.23, self.y - 0.06, 0.13, 0.10)
        bag = np.maximum(np.abs(bag) - line, 0.1 - self.y)
        self.canvas.paint(bag, self.dim_skin, age * 0.8)

    def nose(self) -> None:
        # The tip stands before the cheeks, so it travels further when the head turns.
        x = self.u - 0.12 * self.sin
        y = self.y - 0.19
        shade = ellipse(x - 0.02, y, 0.095, 0.075)
        self.canvas.paint(shade, self.dim_skin, 0.75)
        tip = ellipse(x + 0.005, y + 0.045, 0.075, 0.085)
        self.canvas.paint(tip, np.minimum(self.skin * 1.04, 255))

    def beard(self) -> None:
        thick = self.a["beard"]
        colour = self.hair_colour * 0.78
        edge = 0.40 - 1.2 * self.side * self.side
        cheeks = np.maximum(self.outline - 0.02, edge - self.y)
        self.canvas.paint(cheeks, colour, thick, blur=0.1)
        lip = self.y - 0.315 - 0.6 * self.u * self.u
        lip = np.maximum(np.abs(lip) - 0.035, self.side - 0.24)
        self.canvas.paint(lip, colour, thick, blur=0.08)

    def mouth(self) -> None:
        smile = self.a["smile"]
        half = 0.22 + 0.05 * np.maximum(smile, 0)
        t = np.minimum((self.u / half) ** 2, 1)
        bend = 0.14 * smile + 0.02 * np.maximum(smile, 0)
        top = 0.42 + bend * (0.45 - t)
        gape = 0.21 * _rise(smile, 0.05, 1.0) * (1 - t * t)
        slope = np.sqrt(1 + (2 * bend * self.u / (half * half)) ** 2)
        inside = np.maximum(top - self.y, self.y - top - gape) / slope
        beyond = np.maximum(self.side - half, 0)
        inside = np.sqrt(np.maximum(inside, 0) ** 2 + beyond**2) + np.minimum(inside, 0)

        self.canvas.paint(inside - 0.048 * (1 - 0.5 * t), self.skin * _colour(0.80, 0.46, 0.44))
        self.canvas.paint(inside - 0.016, _colour(88, 22, 28))
        teeth = np.maximum(inside, self.y - top - 0.62 * gape)
        teeth = np.maximum(teeth, 0.03 - gape)
        self.canvas.paint(teeth, _colour(252, 250, 244))

    def eyes(self) -> None:
        a, scale = self.a, self.eye_scale
        x, y = self.side - 0.23, self.y
        # A broad smile pushes the cheeks up and narrows the eyes a little.
        opening = 0.10 + 0.90 * a["eye_openness"]
        opening = opening * (1 - 0.15 * np.maximum(a["smile"], 0))
        ball = ellipse(x, y, 0.135 * scale, 0.138 * scale * opening)
        self.canvas.paint(ball, _colour(250, 250, 250))
        round_ = np.sqrt(x * x + y * y)
        iris = ramp(_IRIS, a["hair_colour"])
        self.canvas.paint(np.maximum(round_ - 0.085 * scale, ball), iris)
        pupil = np.maximum(round_ - 0.048 * scale, ball)
        self.canvas.paint(pupil, _colour(18, 14, 16))
        # One lamp, so the sparks are not mirror images.
        spark = np.sqrt((np.abs(self.u + 0.03) - 0.23) ** 2 + (y + 0.035) ** 2)
        spark = np.maximum(spark - 0.026, ball)
        self.canvas.paint(spark, _colour(255, 255, 255))
        lid = np.maximum(np.abs(ball) - 0.016, y)
        self.canvas.paint(lid, _colour(46, 30, 30))

    def hair(self) -> None:
        a = self.a
        length, recede = a["hair_length"], _rise(a["age"], 0.3, 1.0)
        volume = 0.02 + 0.07 * length
        x = self.x + 0.05 * self.sin
        cap = ellipse(x, self.y + 0.06, self.width + volume, 0.68 + volume)
        # The face looks out of an opening; a parting tilts its upper edge.
        high = 0.66 + 0.10 * recede - 0.05 * length
        window = ellipse(self.u - 0.05, self.y - 0.26 + 0.16 * self.u, self.width - 0.05, high)
        ends = self.y + 0.10 - 0.80 * length - 0.7 * np.maximum(self.side - 0.45, 0)
        light = 1 - 0.20 * (self.x + self.y + 0.5)
        colour = np.minimum(self.hair_colour * light, 255)
        mass = np.maximum(np.maximum(cap, -window), ends)
        self.canvas.paint(mass, colour)
        shine = ellipse(x + 0.20, self.y + 0.56, 0.18, 0.07)
        self.canvas.paint(np.maximum(shine, mass), colour * 0.7 + 76, 0.45, blur=0.12)

    def brows(self) -> None:
        mood = self.a["brows"]
        x = (self.side - 0.23) / 0.14
        y = -0.195 - 0.05 * mood
        y = y + 0.045 * x * (mood + 0.2) + 0.025 * x * x
        brow = np.maximum(np.abs(self.y - y) - 0.028, np.abs(x) * 0.14 - 0.14)
        self.canvas.paint(brow, self.hair_colour * 0.62)

    def glasses(self) -> None:
        worn = self.a["glasses"]
        x, y = self.side - 0.235, self.y - 0.015
        lens = rounded_box(x, y, 0.185, 0.155, 0.10)
        bridge = np.maximum(np.abs(y + 0.03) - 0.022, self.side - 0.06)
        arm = np.maximum(np.abs(y + 0.05) - 0.022, 0.17 - x)
        frame = np.minimum(np.minimum(np.abs(lens) - 0.024, bridge), arm)
        frame = np.maximum(frame, self.outline - 0.02)
        self.canvas.paint(lens, _colour(214, 236, 250), worn * 0.22)
        self.canvas.paint(frame, _colour(36, 34, 48), worn)
