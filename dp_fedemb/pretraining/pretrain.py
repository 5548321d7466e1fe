"""Pretraining into a directory, once: public start or non-private baseline.

    config.json       what it was made from; another one is refused
    metrics.csv       one row per pass over the images
    saved_model/      the backbone, which `models.pretrained.load` reads
    privacy.json, .txt   that nothing here is protected, and whose images it saw

The directory appears when all of it is there, so an interrupted training leaves
nothing that a later run would take for a result.
"""

from collections.abc import Callable
import csv
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any, Optional, Union

import numpy as np

from dp_fedemb import configured_directory
from dp_fedemb import data
from dp_fedemb import files
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.models import embedding_model
from dp_fedemb.models import pretrained
from dp_fedemb.models import saved_model
from dp_fedemb.models import weight_values
from dp_fedemb.pretraining import settings
from dp_fedemb.pretraining import simclr
from dp_fedemb.pretraining import supervised

_Result = tuple[weight_values.WeightValues, list[dict[str, Any]]]


def _supervised(config: settings.PretrainingConfig) -> Callable[..., _Result]:
    return functools.partial(supervised.train, config=config.training)


def _simclr(config: settings.PretrainingConfig) -> Callable[..., _Result]:
    return functools.partial(
        simclr.train,
        config=config.training,
        temperature=config.temperature,
        projection_dim=config.projection_dim,
    )


# Name (as in --method) -> function(config) -> function(model, store, seed=, initial=).
METHODS = {
    'simclr': _simclr,
    'supervised': _supervised,
}

PUBLIC_NOTICE = (
    'Pretrained on public images without differential privacy: the weights may reveal those'
    ' images, and no private user was looked at.'
)
NOT_PRIVATE_NOTICE = (
    'NOT PRIVATE: trained on the images of the training users without differential privacy.'
    ' The weights may reveal any of them; use them to compare, do not release them.'
)


def pretrain(
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.PretrainingConfig = settings.PretrainingConfig(),
    seed: int = 0,
    initial: Optional[weight_values.WeightValues] = None,
) -> _Result:
    """Trains the backbone on a store, without privacy.

    Args:
        model: what is trained; its frozen weights keep their value, so to freeze only
            what comes after, give the model without freezing.
        store: the images; users are ignored, identities too with SimCLR.
        config: how.
        seed: of the fresh weights, the order and the augmentation. Not the secret seed
            of a private run: the result is public.
        initial: start of the backbone; fresh by default.

    Returns:
        (trainable, non_trainable) values of the backbone, and one row per pass over
        the images (see `training_loop.fit`).

    Raises:
        ValueError: for images of another shape, or training that diverges.
    """
    config = config.resolved(store.example_spec.shape[-1])
    return METHODS[config.method](config)(model, store, seed=seed, initial=initial)


def pretrain_once(
    directory: Union[str, os.PathLike],
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.PretrainingConfig = settings.PretrainingConfig(),
    seed: int = 0,
    initial: Optional[weight_values.WeightValues] = None,
    users_images: bool = False,
) -> bool:
    """Pretrains into a directory, unless it holds the result of the same call.

    Args:
        directory: made by this function; its SavedModel goes to
            `models.pretrained.load`.
        model: as in `pretrain`.
        store: as in `pretrain`.
        config: as in `pretrain`.
        seed: as in `pretrain`; written into the directory.
        initial: as in `pretrain`.
        users_images: whether the images are those of training users, the baseline
            that is NOT PRIVATE, instead of public ones. The directory says so.

    Returns:
        Whether training took place; False if the result was there already.

    Raises:
        FileExistsError: if there is something else at the path.
        ValueError: if it holds a result made otherwise, or see `pretrain`.
    """
    result = configured_directory.ConfiguredDirectory(directory, 'pretraining')
    config = config.resolved(store.example_spec.shape[-1])
    source = _source(model, store, config, seed, initial, users_images)
    result.check(source)
    if result.read_json(configured_directory.CONFIG) is not None:
        return False
    # Only what a killed writer left can be in there.
    shutil.rmtree(result.path, ignore_errors=True)
    # Made before training, so that a path that cannot be written costs no time.
    with files.appearing_directory(result.path) as draft:
        weights, history = pretrain(model, store, config, seed, initial)
        _save_model(model, weights, draft / saved_model.NAME, store.preprocessing)
        with open(draft / 'metrics.csv', 'w', newline='') as file:
            writer = csv.DictWriter(file, list(history[0]))
            writer.writeheader()
            writer.writerows(history)
        notice = NOT_PRIVATE_NOTICE if users_images else PUBLIC_NOTICE
        statement = {
            'private': False,
            'public_images_only': not users_images,
            'epsilon_user': None,
            'notice': notice,
        }
        written = configured_directory.ConfiguredDirectory(draft)
        written.write_json(configured_directory.CONFIG, source)
        written.write_json(pretrained.STATEMENT, statement)
        written.write_text('privacy.txt', f'{notice}\n')
    return True


def _save_model(
    model: embedding_model.EmbeddingModel,
    weights: weight_values.WeightValues,
    path: pathlib.Path,
    preprocessing: Optional[preprocessing_lib.Preprocessing],
) -> None:
    backbone = model.build_backbone()
    weight_values.assign(backbone, *weights)
    serving = embedding_model.ServingModel(backbone, model.example_spec, model.preprocess)
    serving.save(str(path), preprocessing)


def describe(model: embedding_model.EmbeddingModel) -> dict[str, Any]:
    """Returns what tells a model from another one, as JSON values."""
    description = {
        'image_shape': model.example_spec.shape,
        'embedding_dim': model.embedding_dim,
        'head': type(model.head).__name__,
        'head_options': vars(model.head),
        'precision': model.precision,
        'weights': dataclasses.asdict(model.weight_counts()),
    }
    return json.loads(json.dumps(description, default=str))


def _source(
    model: embedding_model.EmbeddingModel,
    store: data.UserStore,
    config: settings.PretrainingConfig,
    seed: int,
    initial: Optional[weight_values.WeightValues],
    users_images: bool,
) -> dict[str, Any]:
    """All that decides the result, as JSON values."""
    source = {
        'pretraining': dataclasses.asdict(config),
        'seed': seed,
        'users_images': users_images,
        'initial': None if initial is None else _digest(initial),
        'data': {name: value for name, value in store.meta.items() if name != 'format_version'},
        'model': describe(model),
    }
    return json.loads(json.dumps(source, default=str))


def _digest(weights: weight_values.WeightValues) -> str:
    digest = hashlib.sha256()
    for value in (*weights[0], *weights[1]):
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]
