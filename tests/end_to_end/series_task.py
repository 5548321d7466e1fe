"""A task of float32 series and its backbone, as somebody else would add them.

Run as a script: `series_task.py BINARY FLAG...` runs a binary that knows both.
"""

import dataclasses
import pathlib
import runpy
import sys

import numpy as np
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb.data import cache
from dp_fedemb.models import backbones
import tasks
from tasks.shared import base

SPEC = data.ExampleSpec((12, 3), 'float32')
USERS = {'train': 60, 'test': 30}


@dataclasses.dataclass(frozen=True)
class Options:
    """No options."""


def build(config: base.TaskConfig) -> base.Task:
    """Draws series around a random walk of each identity; a user has two."""

    def draw(directory: pathlib.Path) -> None:
        for part, users in USERS.items():
            generator = np.random.default_rng(len(part))
            with data.UserStoreWriter(directory / part, SPEC) as writer:
                for user in range(users):
                    walks = generator.normal(size=(2, 1, *SPEC.shape)).cumsum(axis=2)
                    series = walks + 0.3 * generator.normal(size=(2, 4, *SPEC.shape))
                    names = [f'{part} {user} {identity}' for identity in (0, 1)]
                    writer.add_user(
                        series.reshape(8, *SPEC.shape).astype(np.float32),
                        np.repeat(names, 4),
                        f'{part} {user}',
                    )

    stores = cache.cached_stores(config.cache_dir, 'series', {'seed': config.seed}, draw)
    return base.Task(name='series', default_backbone='series', **stores)


def backbone(shape: tuple[int, ...], embedding_dim: int) -> tf.keras.Model:
    """One convolution over time."""
    series = tf.keras.Input(shape)
    x = tf.keras.layers.Conv1D(8, 3, activation='relu', name='conv')(series)
    x = tf.keras.layers.GlobalAveragePooling1D()(x)
    embeddings = tf.keras.layers.Dense(embedding_dim, name='embedding')(x)
    return tf.keras.Model(series, embeddings, name='series')


def main() -> None:
    """Runs a binary in this process."""
    sys.modules['series_task'] = sys.modules['__main__']
    tasks.TASKS['series'] = 'series_task'
    backbones.BACKBONES['series'] = backbone
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    main()
