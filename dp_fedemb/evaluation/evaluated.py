"""A model on a part of a task: all figures, tables and arrays of one evaluation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import os
import pathlib
from typing import Any, Optional

import numpy as np

from dp_fedemb import json_files
from dp_fedemb.data import store as store_lib
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.data.images import reading
from dp_fedemb.evaluation import baselines
from dp_fedemb.evaluation import breakdown as breakdown_lib
from dp_fedemb.evaluation import breakdown_tables
from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import embedded_images
from dp_fedemb.evaluation import evaluation_tables
from dp_fedemb.evaluation import face_bins
from dp_fedemb.evaluation import grouping
from dp_fedemb.evaluation import inference
from dp_fedemb.evaluation import pair_protocol
from dp_fedemb.evaluation import result_table


@dataclasses.dataclass(frozen=True)
class Questions:
    """What to find out.

    Attributes:
        metrics: keys of `dp_fedemb.evaluation.METRICS`.
        fars: false accept rates to state the recall at.
        far: the one to speak of first, see `comparison.headline`.
        groups: of `grouping.groups`, or None.
        pairs_files: `.bin` files of `face_bins`.
        batch_size: images in the model at once.
    """

    metrics: Sequence[str]
    fars: Sequence[float]
    far: float = collection.FAR
    groups: Optional[str] = None
    pairs_files: Sequence[str] = ()
    batch_size: int = 512


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The answers.

    Attributes:
        values: JSON values, see `collection.collect`; `protocols` (accuracy over folds of
            each list of pairs) and `breakdown` (of `breakdown.summarise`, or None).
        images: the embedded images.
        rivals: the baselines.
        tables: all of them, also those that name people.
    """

    values: dict[str, Any]
    images: embedded_images.EmbeddedImages
    rivals: Sequence[collection.Rival]
    tables: Sequence[result_table.Table]


def evaluate(
    model: Callable[[np.ndarray], Any],
    store: store_lib.UserStore,
    rivals: Sequence[collection.Rival],
    questions: Questions,
    about: dict[str, Any],
    pairs: Optional[pair_protocol.VerificationPairs] = None,
    on_batch: Optional[Callable[[int], None]] = None,
) -> Evaluated:
    """Embeds a store's images, and answers the questions.

    Args:
        model: see `inference.embed`.
        store: people whom training never saw.
        rivals: baselines, of `rivals_of`.
        questions: what to find out.
        about: JSON values that say what is evaluated, put first.
        pairs: the task's own protocol for the store, or None.
        on_batch: see `inference.embed`.

    Raises:
        HostError: if the store has changed since it was opened.
        FileNotFoundError, ValueError: for groups, metrics or pairs that cannot be had.
    """
    groups = None
    if questions.groups is not None:
        groups = grouping.groups(store, questions.groups)
    protocols = [_protocol(model, path, questions) for path in questions.pairs_files]
    vectors = inference.embed_store(model, store, questions.batch_size, on_batch)
    images = embedded_images.EmbeddedImages(vectors, store.identities, questions.fars, pairs)
    values = collection.collect(images, questions.metrics, about, questions.far, rivals)
    values['embedding_dim'] = vectors.shape[1]
    values['protocols'] = json_files.finite(protocols)
    values['breakdown'] = None
    tables = list(evaluation_tables.all_tables(values))
    if values['headline_far'] is not None:
        tables += _break_down(values, images, store, groups)
    return Evaluated(values, images, rivals, tables)


def rivals_of(
    store: store_lib.UserStore, others: Mapping[str, store_lib.UserStore], fars: Sequence[float]
) -> tuple[list[collection.Rival], str]:
    """Returns the baselines in their own embeddings, and why one is missing, or nothing.

    Args:
        store: people whom training never saw.
        others: the task's other parts, which PCA may be fitted on.
        fars: false accept rates to state the recall at.
    """
    found, missing = baselines.of_parts(store, others)
    rivals = []
    for baseline in found:
        vectors = baseline.embed(store.examples)
        images = embedded_images.EmbeddedImages(vectors, store.identities, fars)
        rivals.append(collection.Rival(baseline.name, baseline.description, images))
    return rivals, missing


def _break_down(
    values: dict[str, Any],
    images: embedded_images.EmbeddedImages,
    store: store_lib.UserStore,
    groups: Optional[np.ndarray],
) -> Iterator[result_table.Table]:
    far = values['headline_far']
    found = breakdown_lib.of_images(images, far)
    summary = breakdown_lib.summarise(found, store.users, groups)
    values['breakdown'] = json_files.finite({'far': far, **summary})
    yield from breakdown_tables.tables(values['breakdown'])
    for kind, labels, names in (
        ('identities', store.identities, store.identity_names),
        ('users', store.users, store.user_names),
    ):
        yield breakdown_tables.by_name(kind, found.by(labels), names)


def _protocol(model: Any, path: str, questions: Questions) -> dict[str, Any]:
    """Accuracy of a `.bin` file."""
    from dp_fedemb.models import saved_model  # Takes seconds: TensorFlow.

    content = face_bins.read(path)
    pairs = content.pairs()
    shape = model.example_spec.shape
    if not model.example_spec.is_image or shape[0] != shape[1]:
        raise ValueError(
            f'pairs_files={path!r}: the model takes examples of {model.example_spec}, not'
            ' square images'
        )
    preprocessing = saved_model.read_preprocessing(model.path)
    if preprocessing is None:
        preprocessing = preprocessing_lib.Preprocessing(shape[0], shape[2], 'stretch')
    broken = reading.Broken(0)
    blocks = []
    places = range(len(content.images))

    def decode(place: int) -> np.ndarray:
        return preprocessing(content.images[place])

    for block in reading.decoded(places, decode, questions.batch_size):
        for place, pixels, reason in block:
            if pixels is None:
                broken.add(f'image {place} of {os.path.basename(path)}', reason)
        pictures = np.stack([pixels for _, pixels, _ in block if pixels is not None])
        blocks.append(inference.embed(model, pictures, questions.batch_size))
    result = pair_protocol.evaluate(np.concatenate(blocks), pairs, questions.fars)
    return {
        'name': pathlib.Path(path).stem,
        'pairs': len(pairs.same),
        'folds': pairs.num_folds,
        'accuracy': result.accuracy,
        'accuracy_std': result.accuracy_std,
        'accuracy_stderr': result.accuracy_stderr,
        'points': [dataclasses.asdict(point) for point in result.points],
    }
