"""Procedurally drawn glyphs: no download, any number of users.

Private users write glyphs by hand; the public part shows a few other glyphs in
print, so that a backbone pretrained on it still has something to learn.
"""

import dataclasses
from typing import ClassVar

from dp_fedemb import data
from dp_fedemb import progress
from dp_fedemb import settings
from dp_fedemb import validate
from dp_fedemb.data import cache
from dp_fedemb.data import synthetic
from tasks.shared import base

NAME = 'synthetic'


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the task.

    Attributes:
        num_users: private training users.
        identities_per_user: identities that only this user has.
        images_per_identity: images of each identity, in every part.
        image_size: side in pixels.
        strokes: strokes of one glyph; some have one less.
        style: of private, validation and test drawings: a name of
            `dp_fedemb.data.synthetic.STYLES`, with changes after a colon, for
            instance 'handwriting:rotation=0.2,clutter=0'.
        test_identities: unseen identities to evaluate on.
        validation_identities: unseen identities to choose settings with; 0 for none.
        public_identities: identities to pretrain on; 0 for none.
        public_style: of the public part; with style=public_style no domain shift is
            left.
    """

    reads_data_dir: ClassVar[bool] = False
    default_backbone: ClassVar[str] = 'small_conv'

    num_users: int = 40_000
    identities_per_user: int = 4
    images_per_identity: int = 4
    image_size: int = 28
    strokes: int = 4
    style: str = 'handwriting'
    test_identities: int = 1_000
    validation_identities: int = 0
    public_identities: int = 200
    public_style: str = 'print'


def build(config: base.TaskConfig) -> base.Task:
    """Draws the parts, or finds them in the cache.

    Raises:
        ValueError: for an unknown option or an impossible value.
    """
    options = base.parse_options(Options, config, NAME)
    validate.positive(num_users=options.num_users, test_identities=options.test_identities)
    private = parse_style(options.style)
    public = parse_style(options.public_style)
    parts = {
        'train': _part('train', options.num_users, options, private),
        'test': _part('test', options.test_identities, options, private),
        'validation': _part('validation', options.validation_identities, options, private),
        'public': _part('public', options.public_identities, options, public),
    }
    stores = {name: _store(part, config) for name, part in parts.items() if part is not None}
    return base.Task(
        name=NAME,
        description=f'drawn glyphs, public part in style {options.public_style}',
        default_backbone=options.default_backbone,
        default_embedding_dim=32,
        **stores,
    )


def parse_style(text: str) -> synthetic.Style:
    """Returns the style of a text like 'print' or 'handwriting:noise=0.2,clutter=0'.

    Raises:
        ValueError: for an unknown style, an unknown field or no number.
    """
    return settings.parse_preset('style', text, synthetic.STYLES)


def _part(name, count, options, style):
    """The part of `count` users; outside training a user has one identity."""
    validate.non_negative(**{f'{name}_identities': count})
    if not count:
        return None
    return synthetic.Part(
        name=name,
        num_users=count,
        identities_per_user=options.identities_per_user if name == 'train' else 1,
        images_per_identity=options.images_per_identity,
        image_size=options.image_size,
        strokes=options.strokes,
        style=style,
    )


def _store(part, config):
    # Parts are cached one by one: another public style need not redraw the users.
    limit = config.max_examples_per_user if part.name == 'train' else None
    source = {
        'part': dataclasses.asdict(part),
        'seed': config.seed,
        'max_examples_per_user': limit,
    }

    def draw(directory):
        shape = (part.image_size, part.image_size, 1)
        writer = data.UserStoreWriter(directory / part.name, shape, source, limit, config.seed)
        with writer, progress.bar(part.num_users, f'drawing {part.name}', 'user') as bar:
            synthetic.write(part, config.seed, writer, bar.update)

    return cache.cached_stores(config.cache_dir, NAME, source, draw)[part.name]
