"""What a few lines of linear algebra reach on the same images, without any training.

Nobody should ship a model that loses to these unseen:

*   **pixels**: the cosine of two pictures' pixels, each picture less its own mean
    (normalised correlation);
*   **whitened PCA**: the first principal components of pictures of other people, each
    divided by its standard deviation (Turk and Pentland 1991, "Eigenfaces for
    recognition"; whitened as in Jegou and Chum, ECCV 2012). How many components is
    decided among `COMPONENTS` on those other people, half of them against the other.

Larger pictures are averaged over blocks first. PCA is fitted without privacy: where the
pictures that it is fitted on are private, its figures are not covered by any epsilon.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
from typing import Optional

import numpy as np

from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import verification

COMPONENTS = (10, 20, 50, 100, 200)
PIXELS = 'pixels'
PCA = 'whitened PCA'
# Numbers of a picture: of the pixels as an embedding, and of what PCA starts from.
_MOST_PIXELS = 1024
_MOST_FEATURES = 3072
# Pictures that PCA is fitted on.
_MOST_FITTED = 4000
# What the number of components is chosen by: the first of these that can be resolved.
_CHOICE_FARS = (1e-3, 1e-2, 1e-1)
# Parts of a task, the first that there is: public images cost nobody's privacy.
_FITTED_ON = ('public', 'train', 'validation', 'test')
_BATCH = 512


@dataclasses.dataclass(frozen=True)
class Baseline:
    """An embedding that nobody trained.

    Attributes:
        name: what it is called in tables.
        description: one line: how it was made, and on what.
        function: examples [b, *shape] to float64 [b, D].
    """

    name: str
    description: str
    function: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)

    def embed(self, examples: np.ndarray) -> np.ndarray:
        """Returns float32 [n, D], each of norm 1, or 0 where a picture is of one colour."""
        blocks = []
        for start in range(0, len(examples), _BATCH):
            vectors = self.function(np.asarray(examples[start : start + _BATCH]))
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            # Rounding leaves a little of a picture of one colour.
            flat = norms <= 1e-9 * math.sqrt(vectors.shape[1])
            blocks.append((vectors / np.where(flat, np.inf, norms)).astype(np.float32))
        return np.concatenate(blocks)


def pixels() -> Baseline:
    """Returns the baseline of bare pixels."""

    def centred(examples: np.ndarray) -> np.ndarray:
        flat = features(examples, _MOST_PIXELS)
        return flat - flat.mean(axis=1, keepdims=True)

    return Baseline(PIXELS, 'correlation of the pixels of two pictures', centred)


def whitened_pca(
    store: store_lib.UserStore, rows: np.ndarray, where: str, seed: int = 0
) -> Baseline:
    """Fits PCA.

    Args:
        store: of the images.
        rows: int [n] of them, of people who are not evaluated.
        where: what these are called in the description.
        seed: of the choice of pictures, and of the two halves.

    Raises:
        ValueError: if there are fewer than two different pictures.
    """
    if len(rows) < 2:
        raise ValueError(f'{len(rows)} images of other people: PCA needs at least two')
    drawn = rows[_some(store.identities[rows], np.random.default_rng(seed))]
    flat = features(store.examples[drawn], _MOST_FEATURES)
    chosen, how = _choose(flat, store.identities[drawn], seed)
    basis = _Basis.fit(flat, chosen)
    description = (
        f'{basis.size} components, {how}; fitted without privacy on {len(drawn):,} of the'
        f' {len(rows):,} images of other people in {where}'
    )
    return Baseline(
        PCA, description, lambda batch: basis(features(batch, _MOST_FEATURES), basis.size)
    )


def of_parts(
    evaluated: store_lib.UserStore, parts: Mapping[str, store_lib.UserStore]
) -> tuple[list[Baseline], str]:
    """Returns the baselines of a store, and why one is missing, or nothing.

    Args:
        evaluated: whose images they are for.
        parts: other stores by name; the first of `_FITTED_ON` that has other people's
            images is what PCA is fitted on.
    """
    found, reasons = [pixels()], []
    for name in _FITTED_ON:
        part = parts.get(name)
        if part is None or part.example_spec != evaluated.example_spec:
            continue
        rows = unseen_rows(part, evaluated)
        try:
            found.append(whitened_pca(part, rows, f'the part {name}'))
            return found, ''
        except ValueError as error:
            reasons.append(f'part {name}: {error}')
    return found, f'no {PCA}: {"; ".join(reasons) or "no images of other people"}'


def unseen_rows(store: store_lib.UserStore, evaluated: store_lib.UserStore) -> np.ndarray:
    """Returns the rows of a store whose users and identities another one does not name."""
    users = np.isin(store.user_names, evaluated.user_names)
    names = np.isin(store.identity_names, evaluated.identity_names)
    return np.nonzero(~users[store.users] & ~names[store.identities])[0]


def features(examples: np.ndarray, most: int) -> np.ndarray:
    """Returns examples as float64 [n, d]; pictures with d at most `most` where possible.

    Args:
        examples: [n, *shape]; images [n, H, W, C] are averaged over square blocks, of the
            smallest side that will do (what is left over at the edges is cut off).
        most: numbers of an image.
    """
    values = examples.astype(np.float64)
    if values.ndim == 4:
        height, width, channels = values.shape[1:]
        side = 1
        while (height // side) * (width // side) * channels > most and side < min(
            height, width
        ):
            side += 1
        down, across = height // side, width // side
        top, left = (height - down * side) // 2, (width - across * side) // 2
        values = values[:, top : top + down * side, left : left + across * side]
        values = values.reshape(-1, down, side, across, side, channels).mean(axis=(2, 4))
    return values.reshape(len(values), -1)


@dataclasses.dataclass(frozen=True)
class _Basis:
    """Principal components, the strongest first, each divided by its deviation."""

    mean: np.ndarray
    directions: np.ndarray

    @property
    def size(self) -> int:
        return self.directions.shape[1]

    @classmethod
    def fit(cls, flat: np.ndarray, size: int) -> '_Basis':
        from sklearn import decomposition

        if not np.ptp(flat, axis=0).any():
            raise ValueError(f'{len(flat)} images without any difference: PCA finds nothing')
        size = min(size, len(flat) - 1, flat.shape[1])
        found = decomposition.PCA(size, svd_solver='randomized', random_state=0).fit(flat)
        # Directions without variance would only blow up rounding errors.
        kept = found.explained_variance_ > 1e-10 * found.explained_variance_[:1]
        deviations = np.sqrt(found.explained_variance_[kept])
        return cls(found.mean_, found.components_[kept].T / deviations)

    def __call__(self, flat: np.ndarray, size: int) -> np.ndarray:
        return (flat - self.mean) @ self.directions[:, :size]


def _some(identities: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows of whole identities, drawn until there are enough images."""
    names, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = generator.permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), _MOST_FITTED)) + 1
    return np.nonzero(np.isin(labels, order[:enough]))[0][: 2 * _MOST_FITTED]


def _choose(flat: np.ndarray, identities: np.ndarray, seed: int) -> tuple[int, str]:
    """The number of components that tells one half best apart with PCA of the other."""
    names, labels = np.unique(identities, return_inverse=True)
    if len(names) < 4 or len(labels) < 2 * len(names):
        return 50, 'not chosen, for want of images'
    half = np.random.default_rng(seed + 1).permutation(len(names))[labels] % 2 == 0
    totals: dict[int, float] = {}
    measure = None
    for fitted, judged in ((half, ~half), (~half, half)):
        basis = _Basis.fit(flat[fitted], COMPONENTS[-1])
        for size in COMPONENTS:
            if size > COMPONENTS[0] and size > basis.size:
                break
            vectors = basis(flat[judged], size)
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            unit = (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)
            result = verification.verify(unit, labels[judged], _CHOICE_FARS)
            if measure is None:
                measure = _measure(result)
            value = result.auc if measure is None else _recall(result, measure)
            totals[size] = totals.get(size, 0.0) + np.nan_to_num(value)
    best = max(totals, key=lambda size: totals[size])
    by = 'the area under the ROC curve' if measure is None else f'recall at FAR {measure:g}'
    return (
        best,
        f'chosen of {", ".join(map(str, totals))} by {by} of one half with PCA of the other',
    )


def _measure(result: verification.Verification) -> Optional[float]:
    for point in result.points:
        if (
            point.resolvable
            and point.target_far * result.impostor_pairs >= verification.SAFE_IMPOSTORS
        ):
            return point.target_far
    return None


def _recall(result: verification.Verification, far: float) -> float:
    return next(point.recall for point in result.points if point.target_far == far)
