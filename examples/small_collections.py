"""Makes small collections of pictures of three shapes, to try `--auto` on.

    python examples/small_collections.py portraits OUTPUT
    python examples/small_collections.py photos OUTPUT --omniglot=images_evaluation.zip

*   portraits: 40 people of 10 grey pictures, 24 of them to train; OUTPUT/person/*.png;
*   digits: writers of three characters each, with three pictures of each, of 28x28 pixels;
    what is told apart is writer and character; OUTPUT/writer/character/*.png;
*   photos: 420 people of about 11 colour pictures, not cut out: what is told apart stands
    anywhere, in any size, before anything; OUTPUT/person/*.jpg.

People are drawn glyphs, or the characters of an archive of Omniglot (and writers its
drawers). OUTPUT.txt becomes the list for `--task_option=split_file`.
"""

import argparse
from collections.abc import Callable
import pathlib
import zipfile

import numpy as np
from PIL import Image
from PIL import ImageFilter

from dp_fedemb.data import synthetic

# ink[character][drawer]: uint8 [105, 105], and the alphabet of each character.
Ink = tuple[list[list[np.ndarray]], list[str]]
_SIDE = 105
_DRAWERS = 20
_CHARACTERS = 3


def of_omniglot(archive: pathlib.Path) -> Ink:
    """Reads the drawings of an official archive of Omniglot."""
    drawings: dict[tuple[str, str], list[np.ndarray]] = {}
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if name.endswith('.png'):
                _, alphabet, character, _ = name.split('/')
                with opened.open(name) as file:
                    ink = 255 - np.asarray(Image.open(file).convert('L'))
                drawings.setdefault((alphabet, character), []).append(ink)
    return list(drawings.values()), [alphabet for alphabet, _ in drawings]


def of_glyphs(seed: int, characters: int = 440) -> Ink:
    """Draws glyphs; twenty of them are an alphabet."""
    part = synthetic.Part(
        'collections', characters, images_per_identity=_DRAWERS, image_size=_SIDE
    )
    drawn = [list(of_one[..., 0]) for users in synthetic.draw(part, seed) for of_one in users]
    return drawn, [f'alphabet{index // 20:02d}' for index in range(characters)]


def portraits(ink: Ink, output: pathlib.Path, generator: np.random.Generator) -> dict[str, str]:
    """40 people of 10 grey pictures: returns the part of each."""
    parts = {}
    for index, which in enumerate(generator.permutation(len(ink[0]))[:40]):
        person = f's{index:02d}'
        parts[person] = 'train' if index < 24 else 'test'
        for number, drawer in enumerate(generator.permutation(_DRAWERS)[:10]):
            drawing = _changed(ink[0][which][drawer], generator, 0.05).resize((92, 92))
            blurred = drawing.filter(ImageFilter.GaussianBlur(1.5))
            strength = generator.uniform(0.5, 0.9)
            light = _shade(92, 112, generator)
            light[10:102] -= strength * np.asarray(blurred)
            _save(output / person / f'{number}.png', light + generator.normal(0, 6, (112, 92)))
    return parts


def digits(ink: Ink, output: pathlib.Path, generator: np.random.Generator) -> dict[str, str]:
    """Writers of three characters: returns the part of each."""
    parts = {}
    for alphabet in sorted(set(ink[1])):
        of_it = [which for which, name in enumerate(ink[1]) if name == alphabet]
        for drawer in range(_DRAWERS):
            writer = f'{alphabet}-{drawer:02d}'
            parts[writer] = 'test' if generator.random() < 0.2 else 'train'
            for which in of_it[:_CHARACTERS]:
                for number in range(3):
                    drawing = _changed(ink[0][which][drawer], generator, 0.12)
                    small = drawing.resize((28, 28), Image.Resampling.BOX)
                    level = np.asarray(small) * 1.5 + generator.normal(0, 8, (28, 28))
                    _save(output / writer / f'character{which}' / f'{number}.png', level)
    return parts


def photos(ink: Ink, output: pathlib.Path, generator: np.random.Generator) -> dict[str, str]:
    """420 people before anything: returns the part of each."""
    parts = {}
    for index, which in enumerate(generator.permutation(len(ink[0]))[:420]):
        person = f'person{index:03d}'
        parts[person] = 'test' if generator.random() < 0.2 else 'train'
        for number in range(generator.integers(8, 15)):
            picture = np.stack([_shade(128, 96, generator) for _ in range(3)], axis=-1)
            for _ in range(3):
                other = ink[0][generator.integers(len(ink[0]))][generator.integers(_DRAWERS)]
                _place(picture, other, generator, (20, 40), 0.3)
            drawing = ink[0][which][generator.integers(_DRAWERS)]
            _place(picture, drawing, generator, (56, 84), 1.0)
            _save(output / person / f'{number}.jpg', picture + generator.normal(0, 5))
    return parts


SHAPES: dict[str, Callable[[Ink, pathlib.Path, np.random.Generator], dict[str, str]]] = {
    'portraits': portraits,
    'digits': digits,
    'photos': photos,
}


def _changed(drawing: np.ndarray, generator: np.random.Generator, most: float) -> Image.Image:
    """Turns, stretches, leans and shifts a drawing, by up to `most`."""
    across, lean, turn, down = generator.uniform(-most, most, 4)
    shift = generator.uniform(-most, most, 2) * _SIDE / 2
    centre = _SIDE / 2
    a, b, d, e = 1 + across, lean - turn, turn, 1 + down
    values = (
        a,
        b,
        centre * (1 - a - b) + shift[0],
        d,
        e,
        centre * (1 - d - e) + shift[1],
    )
    picture = Image.fromarray(drawing)
    return picture.transform(picture.size, Image.Transform.AFFINE, values, Image.BILINEAR)


def _shade(width: int, height: int, generator: np.random.Generator) -> np.ndarray:
    """A soft pattern, float [height, width], bright."""
    rough = generator.uniform(130, 255, (4, 4)).astype(np.uint8)
    soft = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(soft).astype(float)


def _place(
    picture: np.ndarray,
    drawing: np.ndarray,
    generator: np.random.Generator,
    sides: tuple[int, int],
    strength: float,
) -> None:
    """Draws something dark anywhere in a picture [H, W, 3]."""
    side = int(generator.integers(*sides))
    ink = np.asarray(_changed(drawing, generator, 0.1).resize((side, side)))[..., None] / 255
    top = generator.integers(picture.shape[0] - side + 1)
    left = generator.integers(picture.shape[1] - side + 1)
    colour = generator.uniform(0, 90, 3)
    under = picture[top : top + side, left : left + side]
    under += strength * ink * (colour - under)


def _save(path: pathlib.Path, levels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(path)


def main() -> None:
    """Writes one collection and its list."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('shape', choices=SHAPES)
    parser.add_argument('output', type=pathlib.Path)
    parser.add_argument('--omniglot', type=pathlib.Path, help='an archive; drawn if left out')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    ink = of_omniglot(options.omniglot) if options.omniglot else of_glyphs(options.seed)
    if options.output.exists():
        parser.error(f'{options.output}: exists already')
    generator = np.random.default_rng(options.seed)
    parts = SHAPES[options.shape](ink, options.output, generator)
    lines = ''.join(f'{part} {name}\n' for name, part in parts.items())
    pathlib.Path(f'{options.output}.txt').write_text(lines)


if __name__ == '__main__':
    main()
