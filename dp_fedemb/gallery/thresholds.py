"""Thresholds of a model, from its own evaluation.

A similarity says nothing by itself: what it is worth was measured when the model was
evaluated, on pairs of identities that it had never seen (`bin/evaluate.py`). Those
figures hold for pictures like the evaluated ones.
"""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
from typing import Any, Optional, Union

from dp_fedemb import json_files
from dp_fedemb.evaluation import verification
from dp_fedemb.models import saved_model

_NAME = 'evaluation.json'
# Fewer accepted impostor pairs than this do not make a threshold.
LEAST_IMPOSTORS = 10
_MAKE = 'bin/evaluate.py --model=... --task=... --output_dir=REPORT --fars=...'


@dataclasses.dataclass(frozen=True)
class Point:
    """What was measured at one threshold.

    Attributes:
        target_far: the false accept rate that the threshold was chosen for, None where it
            was for none.
        threshold: the smallest similarity that is accepted.
        far: fraction of pairs of two identities that are accepted.
        recall: fraction of pairs of one identity that are accepted.
    """

    target_far: Optional[float]
    threshold: float
    far: float
    recall: float


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Between what two measured thresholds say.

    Attributes:
        low: at least this fraction of pairs.
        high: at most this fraction.
    """

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """An evaluation's operating points.

    Attributes:
        path: of the evaluation.json.
        points: by rising threshold.
        genuine_pairs: pairs of one identity that were compared.
        impostor_pairs: pairs of two.
    """

    path: pathlib.Path
    points: tuple[Point, ...]
    genuine_pairs: int
    impostor_pairs: int

    def at(self, far: float) -> Point:
        """Returns the operating point of a false accept rate.

        Raises:
            ValueError: if the evaluation cannot support it, or has not measured it.
        """
        verification.check_fars([far])
        measured = sorted({p.target_far for p in self.points if p.target_far is not None})
        supported = [value for value in measured if self._supports(value)]
        if not self._supports(far):
            least = f'ask for {supported[0]:g}, or ' if supported else ''
            raise ValueError(
                f'far={far:g}: {str(self.path)!r} compares {self.impostor_pairs:,} pairs of two'
                f' identities, of which that is {far * self.impostor_pairs:.2g}; expected at'
                f' least {LEAST_IMPOSTORS}; {least}evaluate on more people'
            )
        for point in self.points:
            if point.target_far == far:
                return point
        raise ValueError(
            f'far={far:g}: not measured in {str(self.path)!r}; expected one of'
            f' {", ".join(f"{value:g}" for value in supported) or "none"}, or evaluate again'
            f' with {_MAKE}'
        )

    def _supports(self, far: float) -> bool:
        return far * self.impostor_pairs >= LEAST_IMPOSTORS

    def impostors_at_least(self, score: float) -> Bounds:
        """Bounds of the fraction of pairs of two identities that are as similar or more.

        The upper one is never below `LEAST_IMPOSTORS` pairs: fewer were seen by chance.
        """
        bounds = self._between(score, 'far')
        floor = min(1.0, LEAST_IMPOSTORS / max(1, self.impostor_pairs))
        return Bounds(bounds.low, max(bounds.high, floor))

    def genuine_at_least(self, score: float) -> Bounds:
        """Bounds of the fraction of pairs of one identity that are as similar or more."""
        return self._between(score, 'recall')

    def _between(self, score: float, name: str) -> Bounds:
        below = [getattr(point, name) for point in self.points if point.threshold <= score]
        above = [getattr(point, name) for point in self.points if point.threshold > score]
        return Bounds(max(above, default=0.0), min(below, default=1.0))


def find(
    model: pathlib.Path,
    fingerprint: str,
    evaluation: Optional[Union[str, 'os.PathLike[str]']] = None,
) -> Thresholds:
    """Reads the thresholds of a model.

    Args:
        model: the SavedModel.
        fingerprint: of the model.
        evaluation: an evaluation.json or the directory it is in; None looks beside the
            model: in the SavedModel's directory, in that around it, and in the directories
            in that (as RUN/report).

    Raises:
        FileNotFoundError: if there is no evaluation with thresholds.
        ValueError: if it is damaged, of another model, or of its training users.
    """
    if evaluation is not None:
        path = pathlib.Path(evaluation).expanduser()
        path = path / _NAME if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(
                f'evaluation={str(evaluation)!r}: no such file, or no {_NAME} in it; make it'
                f' with {_MAKE}'
            )
        return _checked(path, _read(path), fingerprint)
    found: dict[pathlib.Path, Mapping[str, Any]] = {}
    around = saved_model.described_in(model)
    for path in (model / _NAME, around / _NAME, *sorted(around.glob(f'*/{_NAME}'))):
        if path.is_file() and 'points' in (values := _read(path)):
            found[path] = values
    # The newest of those that can be used, if there is one.
    fitting = [p for p, v in found.items() if _is_of(v, fingerprint) and not _on_training(v)]
    for path in sorted(fitting or found, key=lambda path: -path.stat().st_mtime_ns):
        return _checked(path, found[path], fingerprint)
    raise FileNotFoundError(
        f'model={str(model)!r}: no {_NAME} with thresholds beside it; evaluate the model'
        f' ({_MAKE}), and name the result with --evaluation=REPORT'
    )


def _is_of(values: Mapping[str, Any], fingerprint: str) -> bool:
    return values.get('model_fingerprint') == fingerprint


def _on_training(values: Mapping[str, Any]) -> bool:
    return values.get('part') == 'train'


def _read(path: pathlib.Path) -> Mapping[str, Any]:
    return json_files.read(path, 'evaluate the model again')


def _checked(path: pathlib.Path, values: Mapping[str, Any], fingerprint: str) -> Thresholds:
    where = f'evaluation={str(path)!r}'
    if 'points' not in values:
        raise ValueError(f'{where}: has no thresholds; make one that has, with {_MAKE}')
    if not _is_of(values, fingerprint):
        of = str(values.get('model_fingerprint') or '')
        whose = f'of another model (fingerprint {of[:12]})' if of else 'of an unnamed model'
        raise ValueError(
            f'{where}: is {whose}, expected {fingerprint[:12]}; evaluate this one with {_MAKE}'
        )
    if _on_training(values):
        raise ValueError(
            f'{where}: is of the training users themselves, whom the model knows and whose'
            ' figures no guarantee covers; evaluate on people that training has not seen'
        )
    try:
        names = ('target_far', 'threshold', 'far', 'recall')
        points = [
            Point(*(float(entry[name]) for name in names))
            for entry in values['points']
            if not entry['reason']
        ]
        for far, recall, threshold in values.get('roc', ()):
            points.append(Point(None, float(threshold), float(far), float(recall)))
        return Thresholds(
            path,
            tuple(sorted(points, key=lambda point: point.threshold)),
            int(values['genuine_pairs']),
            int(values['impostor_pairs']),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f'{where}: is damaged ({type(error).__name__}: {error}); evaluate the model again'
        ) from None
