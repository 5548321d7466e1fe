"""Procedurally drawn identities: glyphs of a few curved strokes.

An identity is a set of strokes; an image of it is one drawing, with its own pose,
stroke jitter, thickness, clutter and noise. Users cost nothing, so a run on this
data can sample from tens of thousands of them and be private for real.
"""

from collections.abc import Callable, Iterator
from concurrent import futures
import dataclasses
from typing import Optional

import numpy as np

from dp_fedemb import environment
from dp_fedemb import randomness
from dp_fedemb import validate
from dp_fedemb.data import store_writer

# Users drawn from one random stream. Part of the data's definition: with another
# number the same seed gives other drawings.
_USERS_PER_STREAM = 64
_POINTS_PER_STROKE = 18
_CLUTTER_STROKES = 2
# Strokes that are not there lie so far outside that the pen leaves no ink.
_NOWHERE = 99.0


@dataclasses.dataclass(frozen=True)
class Style:
    """How the drawings of one identity differ from each other.

    Attributes:
        rotation: largest turn, radians.
        scale: largest relative change of size, each axis by itself.
        shear: largest horizontal shear.
        shift: largest shift, fraction of the image side.
        jitter: standard deviation of the strokes' control points and of the strokes'
            places, fraction of the image side.
        thin: smallest pen radius, in pixels of a 28-pixel image.
        thick: largest pen radius.
        noise: standard deviation of the pixel noise, fraction of full ink.
        clutter: expected number of foreign strokes, at most 2.
    """

    rotation: float = 0.35
    scale: float = 0.2
    shear: float = 0.3
    shift: float = 0.07
    jitter: float = 0.025
    thin: float = 0.5
    thick: float = 1.0
    noise: float = 0.08
    clutter: float = 0.3

    def __post_init__(self) -> None:
        strengths = dataclasses.asdict(self)
        validate.within('(0, 14]', thin=strengths.pop('thin'), thick=strengths.pop('thick'))
        validate.probability(scale=strengths.pop('scale'))
        validate.within('[0, 10]', **strengths)
        if self.thick < self.thin:
            raise ValueError(f'thick={self.thick}: expected at least thin={self.thin}')
        if self.clutter > _CLUTTER_STROKES:
            raise ValueError(f'clutter={self.clutter}: expected at most {_CLUTTER_STROKES}')


# Public data as they are in life: other than the private ones, and tidier.
STYLES = {
    'handwriting': Style(),
    'print': Style(
        rotation=0.05,
        scale=0.05,
        shear=0.03,
        shift=0.03,
        jitter=0.004,
        thin=0.45,
        thick=0.55,
        noise=0.01,
        clutter=0.0,
    ),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the data. Parts of different names share no identity and no user.

    Attributes:
        name: for instance 'train' or 'test'; keys the random streams.
        num_users: users. The first n users of a larger part are those of a part
            with n users.
        identities_per_user: identities that only this user has.
        images_per_identity: drawings of each.
        image_size: side in pixels.
        strokes: strokes of one glyph; some have one less.
        style: how drawings differ.
    """

    name: str
    num_users: int
    identities_per_user: int = 1
    images_per_identity: int = 8
    image_size: int = 28
    strokes: int = 4
    style: Style = STYLES['handwriting']

    def __post_init__(self) -> None:
        validate.whole('[1, 1e9]', num_users=self.num_users)
        validate.whole(
            '[1, 1e6]',
            identities_per_user=self.identities_per_user,
            images_per_identity=self.images_per_identity,
        )
        validate.whole('[2, 100]', strokes=self.strokes)
        validate.whole('[8, 4096]', image_size=self.image_size)

    @property
    def images_per_user(self) -> int:
        """Images of each user."""
        return self.identities_per_user * self.images_per_identity


def draw(part: Part, seed: int) -> Iterator[np.ndarray]:
    """Draws a part, a few users at a time, on all cores.

    The result depends on the arguments alone, not on the number of cores.

    Args:
        part: what to draw.
        seed: of the data; not a run's secret seed, since stores carry it.

    Yields:
        uint8 [users, images_per_user, image_size, image_size, 1], ink near 255; the
        images of one identity next to each other.
    """
    starts = range(0, part.num_users, _USERS_PER_STREAM)
    cores = environment.usable_cores()
    with futures.ThreadPoolExecutor(cores) as pool:
        pending: list[futures.Future] = []
        for index, start in enumerate(starts):
            users = min(_USERS_PER_STREAM, part.num_users - start)
            pending.append(pool.submit(_draw_users, part, seed, index, users))
            # A short queue bounds the memory and keeps the cores busy.
            if len(pending) > 2 * cores:
                yield pending.pop(0).result()
        for task in pending:
            yield task.result()


def write(
    part: Part,
    seed: int,
    writer: store_writer.UserStoreWriter,
    on_users: Optional[Callable[[int], None]] = None,
) -> None:
    """Draws a part into a store.

    Args:
        part: what to draw.
        seed: of the data.
        writer: of image shape (image_size, image_size, 1).
        on_users: called with the number of users just written, for a progress bar.
    """
    user = 0
    local = np.repeat(np.arange(part.identities_per_user), part.images_per_identity)
    for images in draw(part, seed):
        for of_user in images:
            names = [f'{part.name}-{user}-{identity}' for identity in local]
            writer.add_user(of_user, names, name=f'{part.name}-{user}')
            user += 1
        if on_users is not None:
            on_users(len(images))


def _draw_users(part: Part, seed: int, index: int, users: int) -> np.ndarray:
    """Draws the first `users` users of stream `index`."""
    identities = _USERS_PER_STREAM * part.identities_per_user
    glyphs = _glyphs(
        identities,
        part.strokes,
        randomness.generator(seed, f'synthetic/{part.name}/glyphs', index),
    )
    generator = randomness.generator(seed, f'synthetic/{part.name}/drawings', index)
    images = [
        _drawings(glyphs, part.style, part.image_size, generator)
        for _ in range(part.images_per_identity)
    ]
    shape = (_USERS_PER_STREAM, part.images_per_user, *images[0].shape[1:])
    return np.stack(images, axis=1).reshape(shape)[:users]


def _glyphs(count: int, strokes: int, generator: np.random.Generator) -> np.ndarray:
    """Quadratic Bezier curves, float32 [count, strokes, 3, 2], within [-1, 1]."""
    shape = (count, strokes, 1)
    start = generator.uniform(-1, 1, (count, strokes, 2))
    angle = generator.uniform(0, 2 * np.pi, shape)
    length = generator.uniform(0.7, 1.8, shape)
    step = length * np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
    bend = generator.normal(0, 0.4, (count, strokes, 2))
    # Half of the strokes go on where the one before ended, as a pen does.
    joined = generator.random(shape) < 0.5
    end = np.empty_like(start)
    for stroke in range(strokes):
        if stroke:
            begin = np.where(joined[:, stroke], end[:, stroke - 1], start[:, stroke])
            start[:, stroke] = begin
        end[:, stroke] = _reflected(start[:, stroke] + step[:, stroke])
    curves = np.stack([start, (start + end) / 2 + bend, end], axis=2)
    present = np.arange(strokes) < generator.integers(strokes - 1, strokes + 1, (count, 1))
    present = present[:, :, None, None]
    # Every glyph fills its box, as a line of writing does: neither size nor place
    # gives an identity away.
    low = np.where(present, curves, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(present, curves, -np.inf).max(axis=(1, 2), keepdims=True)
    half = np.maximum((high - low) / 2, 0.5)
    fitted = (curves - (low + high) / 2) / half
    return np.where(present, fitted, _NOWHERE).astype(np.float32)


def _reflected(points: np.ndarray) -> np.ndarray:
    """Folds points outside [-1, 1] back inside."""
    return np.abs((points - 1) % 4 - 2) - 1


def _drawings(
    glyphs: np.ndarray, style: Style, size: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws each glyph once: uint8 [n, size, size, 1].

    The pen is a Gaussian blob, a product of one function of x and one of y, so that
    the ink of all points of a drawing is one matrix product.
    """
    count = len(glyphs)
    curves = np.concatenate([glyphs, _clutter(count, style, generator)], axis=1)
    jitter = np.float32(2 * style.jitter)
    curves += jitter * generator.standard_normal(curves.shape, np.float32)
    of_stroke = (*curves.shape[:2], 1, 2)
    curves += jitter * generator.standard_normal(of_stroke, np.float32)
    curves = _posed(curves, style, generator)
    t = np.linspace(0, 1, _POINTS_PER_STROKE, dtype=np.float32)[:, None]
    bezier = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
    points = (bezier @ curves).reshape(count, -1, 2)
    pixels = (points + 1) * np.float32((size - 1) / 2)
    radius = generator.uniform(style.thin, style.thick, (count, 1, 1)) * size / 28
    sharpness = (0.5 / radius**2).astype(np.float32)
    columns = _pen(pixels[..., :1], sharpness, size)
    rows = _pen(pixels[..., 1:], sharpness, size)
    ink = 1 - np.exp(-1.5 * (rows.transpose(0, 2, 1) @ columns))
    ink += np.float32(style.noise) * generator.standard_normal(ink.shape, np.float32)
    return (np.clip(ink, 0, 1) * 255).astype(np.uint8)[..., None]


def _pen(centres: np.ndarray, sharpness: np.ndarray, size: int) -> np.ndarray:
    """Ink of each point [n, points, 1] along one axis: float32 [n, points, size]."""
    exponent = np.arange(size, dtype=np.float32) - centres
    exponent *= exponent
    exponent *= sharpness
    # Far from the pen there is no ink; but not so little that products of it are
    # denormal numbers, which made the matrix product ten times slower.
    np.minimum(exponent, 30, out=exponent)
    np.negative(exponent, out=exponent)
    return np.exp(exponent, out=exponent)


def _clutter(count: int, style: Style, generator: np.random.Generator) -> np.ndarray:
    """Short foreign strokes [count, 2, 3, 2]."""
    start = generator.uniform(-1.1, 1.1, (count, _CLUTTER_STROKES, 1, 2))
    step = generator.normal(0, 0.3, (count, _CLUTTER_STROKES, 3, 2)).cumsum(axis=2)
    shape = (count, _CLUTTER_STROKES, 1, 1)
    present = generator.random(shape) < style.clutter / _CLUTTER_STROKES
    return np.where(present, start + step, _NOWHERE).astype(np.float32)


def _posed(curves: np.ndarray, style: Style, generator: np.random.Generator) -> np.ndarray:
    """Turns, leans, stretches and shifts each drawing."""
    count = len(curves)
    angle = generator.uniform(-style.rotation, style.rotation, count)
    stretch = 1 + generator.uniform(-style.scale, style.scale, (count, 2))
    lean = np.tile(np.eye(2), (count, 1, 1))
    lean[:, 0, 1] = generator.uniform(-style.shear, style.shear, count)
    shift = 2 * generator.uniform(-style.shift, style.shift, (count, 1, 1, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
    # A margin, so that most of a turned glyph stays inside.
    affine = 0.72 * turn @ lean * stretch[:, None, :]
    affine, shift = affine.astype(np.float32), shift.astype(np.float32)
    return curves @ affine.transpose(0, 2, 1)[:, None] + shift
