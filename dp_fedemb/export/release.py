"""A folder that can be given away: the model in every format, its card, its statement."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import pathlib
from typing import Any, Optional

import numpy as np

from dp_fedemb import configured_directory
from dp_fedemb import evaluation as evaluation_lib
from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb.evaluation import inference
from dp_fedemb.export import card_results
from dp_fedemb.export import checking
from dp_fedemb.export import formats as formats_lib
from dp_fedemb.export import glyphs
from dp_fedemb.export import model_card
from dp_fedemb.gallery import thresholds
from dp_fedemb.models import pretrained
from dp_fedemb.models import saved_model

CARD = 'model_card.md'
_CHECKS = 'formats.json'
_EVALUATION = 'evaluation.json'
_STATEMENT_TEXT = 'privacy.txt'
_BESIDE = {CARD, _CHECKS, _EVALUATION, _STATEMENT_TEXT, pretrained.STATEMENT}
_GLYPHS = 'drawn glyphs, which are public'


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Examples on which ranges of 8-bit integers are measured; these are in the file then.

    Attributes:
        examples: [n, *shape], public ones.
        about: what they are, for people.
    """

    examples: np.ndarray
    about: str


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        sizes: bytes by format.
        checks: by format.
        note: why the card has no evaluation; empty if it has one.
    """

    path: pathlib.Path
    sizes: Mapping[str, int]
    checks: Mapping[str, checking.Check]
    note: str = ''


def export(
    model: inference.SavedEmbeddingModel,
    output_dir: files.PathLike,
    formats: Sequence[str] = tuple(formats_lib.FORMATS),
    checked_on: Optional[checking.CheckSet] = None,
    calibration: Optional[Calibration] = None,
    evaluation: Optional[files.PathLike] = None,
    intended_use: Optional[str] = None,
    on_format: Optional[Callable[[str], None]] = None,
) -> Exported:
    """Writes the folder; it appears whole, and replaces an earlier export.

    Args:
        model: of `evaluation.load_model`.
        output_dir: new, or of an earlier export.
        formats: keys of `formats.FORMATS`.
        checked_on: labelled examples to compare the formats on, no training users'; drawn
            glyphs by default.
        calibration: of 'tflite_int8'; drawn glyphs by default.
        evaluation: the evaluation.json for the card; that beside the model by default.
        intended_use: for the card.
        on_format: called with the name of each format that is written and compared.

    Raises:
        FileExistsError: if something else is at `output_dir`, or in it.
        OSError: naming `output_dir`, if it cannot be written; what was there stays.
        ValueError: for an unknown format, one that does not give the model's embeddings, an
            evaluation of another model, or a model that is not the one its run published.
        HostError: if the run published another one meanwhile.
    """
    formats_lib.check(formats)
    path = _output(output_dir)
    run = saved_model.described_in(model.path)
    if saved_model.is_published(model.path) is False:
        raise ValueError(
            f'model={str(model.path)!r}: is not the one that the run beside it published, so'
            ' that its privacy statement would go out with another model; run the training'
            ' again, which writes it anew, or move the SavedModel elsewhere to export it'
            ' without a statement'
        )
    preprocessing = saved_model.read_preprocessing(model.path)
    values, note = _evaluation(model, evaluation)
    checked_on = checked_on or checking.CheckSet(*glyphs.for_check(model.example_spec), _GLYPHS)
    quantised = 'tflite_int8' in formats
    if quantised and calibration is None:
        calibration = Calibration(glyphs.for_calibration(model.example_spec), _GLYPHS)
    if calibration is not None:
        model.example_spec.check(calibration.examples, 'calibration')
    model.example_spec.check(checked_on.examples)
    right = evaluation_lib.embed(model, checked_on.examples)
    sizes, checks = {}, {}
    with _naming(path), files.appearing_directory(path, replace=True) as draft:
        for name in dict.fromkeys(formats):
            made = _write(
                name, model.path, draft, calibration.examples if calibration else right[:0]
            )
            checks[name] = _compare(name, made, right, checked_on)
            parts = [made, *made.rglob('*')]
            sizes[name] = sum(part.stat().st_size for part in parts if part.is_file())
            if on_format is not None:
                on_format(name)
        facts = model_card.Facts(
            fingerprint=model.fingerprint,
            example_spec=str(model.example_spec),
            embedding_dim=right.shape[1],
            config=_json(run / configured_directory.CONFIG),
            statement=_json(run / pretrained.STATEMENT),
            statement_text=_text(run / _STATEMENT_TEXT),
            scores=_scores(run),
            evaluation=values,
            preprocessing=None if preprocessing is None else preprocessing.record(),
            formats=formats_lib.FORMATS,
            sizes=sizes,
            checks=checks,
            checked_on=checked_on.about,
            calibration=calibration.about if quantised and calibration else None,
            intended_use=intended_use,
        )
        files.write_text(draft / CARD, model_card.text(facts))
        json_files.write(draft / _CHECKS, _checks_json(facts))
        if values is not None:
            json_files.write(draft / _EVALUATION, values)
        if facts.statement is not None:
            json_files.write(draft / pretrained.STATEMENT, facts.statement)
        if facts.statement_text is not None:
            files.write_text(draft / _STATEMENT_TEXT, facts.statement_text)
        # What was copied and said is of the model that was loaded.
        model.check_unchanged()
    return Exported(path, sizes, checks, note)


def _output(output_dir: files.PathLike) -> pathlib.Path:
    path = pathlib.Path(output_dir).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise FileExistsError(f'output_dir={str(path)!r}: is a file; choose another directory')
    inside = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if inside and _CHECKS not in inside:
        raise FileExistsError(
            f'output_dir={str(path)!r}: is not empty and holds no export; choose another'
            ' directory'
        )
    ours = {known.file for known in formats_lib.FORMATS.values()} | _BESIDE
    for name in sorted(inside - ours):
        raise FileExistsError(
            f'output_dir={str(path)!r}: holds {name!r}, which is no part of an export and'
            ' would be deleted with the earlier one; move it away'
        )
    return path


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Names the folder, and no draft, where the system refuses something."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def _evaluation(
    model: inference.SavedEmbeddingModel, evaluation: Optional[files.PathLike]
) -> tuple[Optional[dict[str, Any]], str]:
    """The figures of the model that may be released; or None and why there are none."""
    try:
        found = thresholds.find(model.path, model.fingerprint, evaluation)
    except (FileNotFoundError, ValueError) as error:
        # Beside the model there may be none, or that of an earlier one; what somebody names
        # must be the right one.
        if evaluation is not None:
            raise
        return None, str(error)
    way_out = 'evaluate the model again'
    known = json_files.read(found.path, way_out)
    with json_files.whole(found.path, way_out):
        return card_results.released(known), ''


def _write(
    name: str, model: pathlib.Path, draft: pathlib.Path, calibration: np.ndarray
) -> pathlib.Path:
    of_format = formats_lib.FORMATS[name]
    of_format.write(model, draft / of_format.file, calibration)
    return draft / of_format.file


def _compare(
    name: str, path: pathlib.Path, right: np.ndarray, checked_on: checking.CheckSet
) -> checking.Check:
    of_format = formats_lib.FORMATS[name]
    found = checking.embeddings_of(of_format.load(path), checked_on.examples)
    try:
        check = checking.compare(found, right, checked_on)
    except ValueError as error:
        raise ValueError(f'format {name}: {error}; leave it out of the formats') from None
    if of_format.exact and check.largest_difference > checking.TOLERANCE:
        raise ValueError(
            f'format {name}: embeddings differ from those of the model by'
            f' {check.largest_difference:.2g}, expected at most {checking.TOLERANCE:g}; leave'
            ' it out of the formats'
        )
    return check


def _checks_json(facts: model_card.Facts) -> dict[str, Any]:
    return {
        'model_fingerprint': facts.fingerprint,
        'checked_on': facts.checked_on,
        'calibration': facts.calibration,
        'formats': {
            name: {
                'file': facts.formats[name].file,
                'bytes': facts.sizes[name],
                **check.to_json(),
            }
            for name, check in facts.checks.items()
        },
    }


def _scores(run: pathlib.Path) -> Optional[Mapping[str, Mapping[str, float]]]:
    values = _json(run / _EVALUATION)
    return values if values is not None and 'trained' in values else None


def _json(path: pathlib.Path) -> Optional[dict[str, Any]]:
    return json_files.read(path, 'restore it') if path.is_file() else None


def _text(path: pathlib.Path) -> Optional[str]:
    if not path.is_file():
        return None
    with json_files.whole(path, 'restore it'):
        return path.read_text('utf-8')
