"""Tiny files in the official format of each data set, made for the tests.

Each maker fills a directory and returns the options with which the task reads it.
"""

import io
import zipfile

import numpy as np
from PIL import Image


def encode(pixels, kind='PNG', **options):
    """An encoded image of uint8 or bool pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def picture(seed, height, width, channels=3):
    """A smooth random picture, uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 3, channels), np.uint8)
    image = Image.fromarray(small if channels == 3 else small[..., 0])
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def omniglot(directory, drawers=2):
    """All 1,623 characters, for TFDS accepts no fewer, each drawn by `drawers` people."""
    random = np.random.default_rng(0)
    parts = {'images_background': (30, 964), 'images_evaluation': (20, 659)}
    parts |= {'images_background_small1': (1, 3), 'images_background_small2': (1, 2)}
    label = 0
    for folder, (alphabets, characters) in parts.items():
        number = 1 if 'small' in folder else label + 1
        with zipfile.ZipFile(directory / f'{folder}.zip', 'w') as archive:
            per_alphabet = np.full(alphabets, characters // alphabets)
            per_alphabet[: characters % alphabets] += 1
            for alphabet, count in enumerate(per_alphabet):
                name = f'{folder[7:12] if "small" not in folder else "backg"}{alphabet:02d}'
                for character in range(count):
                    for drawer in range(1, drawers + 1):
                        # White paper, a black blot; 1 bit a pixel.
                        pixels = np.ones((105, 105), bool)
                        x, y = random.integers(10, 80, 2)
                        pixels[y : y + 15, x : x + 15] = False
                        archive.writestr(
                            f'{folder}/{name}/character{character + 1:02d}/'
                            f'{number:04d}_{drawer:02d}.png',
                            encode(pixels),
                        )
                    number += 1
        if 'small' not in folder:
            label = number - 1
    return {'partial': 'true'}
