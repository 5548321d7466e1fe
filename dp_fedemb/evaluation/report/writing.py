"""Puts an evaluation, or a comparison of several, into a directory."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import pathlib
from typing import Any, Optional, Protocol

from matplotlib import figure

from dp_fedemb import files
from dp_fedemb import json_files
from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import evaluated as evaluated_lib
from dp_fedemb.evaluation import figures as figures_lib
from dp_fedemb.evaluation import result_table
from dp_fedemb.evaluation import side_by_side
from dp_fedemb.evaluation.figures import drawing
from dp_fedemb.evaluation.report import comparison_page
from dp_fedemb.evaluation.report import neighbours
from dp_fedemb.evaluation.report import page
from dp_fedemb.evaluation.report import tensorboard
from dp_fedemb.models import saved_model


class Result(Protocol):
    """What can be written."""

    values: dict[str, Any]
    tables: Sequence[result_table.Table]
    show_images: bool

    def figures(self) -> dict[str, figure.Figure]:
        """Returns figures by name."""

    def report(self, drawn: Mapping[str, figure.Figure]) -> str:
        """Returns the page."""

    def write_more(self, directory: pathlib.Path) -> None:
        """Writes further files."""


def write(output: pathlib.Path, result: Result, plots: bool) -> list[str]:
    """Makes all files elsewhere and moves them when all are complete.

    What shows people, or names groups, which may be called as people are, is readable by
    its owner alone; `export` gives away what is left of an evaluation without names.

    Args:
        output: the directory; made if missing, other files in it stay.
        result: what to write.
        plots: whether pictures and report.html are made.

    Returns:
        Names of the files.
    """
    with files.appearing_files(output) as draft:
        drawn = result.figures() if plots else {}
        mode = 0o600 if (result.values.get('breakdown') or {}).get('groups') else 0o644
        if plots:
            drawing.save(drawn, draft, mode)
            shown = 0o600 if result.show_images else mode
            files.write_text(draft / 'report.html', result.report(drawn), shown)
        result.write_more(draft)
        json_files.write(draft / 'evaluation.json', result.values, mode)
        for table in result.tables:
            of_table = 0o600 if table.names_people else mode
            files.write_text(draft / f'{table.name}.csv', table.csv(), of_table)
        return sorted(path.name for path in draft.iterdir())


@dataclasses.dataclass(frozen=True)
class Single:
    """One model.

    Attributes:
        found: its evaluation.
        store: of the evaluated images.
        run: the directory that the model is in.
        audit: what attacks on the run showed, as HTML, or None.
        show_images: whether the report shows some of them.
        projector: whether TensorBoard gets them, with the embeddings and the ROC curve.
    """

    found: evaluated_lib.Evaluated
    store: store_lib.UserStore
    run: pathlib.Path
    audit: Optional[str] = None
    show_images: bool = False
    projector: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """Of the evaluation."""
        return self.found.values

    @property
    def tables(self) -> Sequence[result_table.Table]:
        """Of the evaluation."""
        return self.found.tables

    def figures(self) -> dict[str, figure.Figure]:
        """Returns figures by name."""
        images, values = self.found.images, self.values
        others = [(other.name, other.images.verification) for other in self.found.rivals]
        drawn = {
            'overview': figures_lib.overview(values),
            'roc': figures_lib.roc(images.verification, others),
            'similarities': figures_lib.similarities(images.verification),
            'embedding_map': figures_lib.embedding_map(images.embeddings, images.identities),
        }
        if values['breakdown'] is not None:
            drawn['by_number_of_images'] = figures_lib.by_number_of_images(values['breakdown'])
            drawn['by_group'] = figures_lib.by_group(values['breakdown'])
        if (self.run / 'metrics.csv').exists():
            drawn.update(figures_lib.training_curves(self.run / 'metrics.csv'))
        return {name: picture for name, picture in drawn.items() if picture is not None}

    def report(self, drawn: Mapping[str, figure.Figure]) -> str:
        """Returns the page."""
        shown = ''
        if self.show_images:
            images = self.found.images
            shown = neighbours.build(self.store.examples, images.embeddings, images.identities)
        statement = statement_of(self.run)
        return page.build(self.values, self.tables, drawn, *statement, shown, self.audit or '')

    def write_more(self, directory: pathlib.Path) -> None:
        """Writes what TensorBoard shows, if asked for."""
        if self.projector:
            tensorboard.write(directory, self.found, self.store)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several models.

    Attributes:
        found: the evaluation of each, on the same images.
        names: of the models.
        values: of `side_by_side.compare`.
        show_images: no report of several shows any.
    """

    found: Sequence[evaluated_lib.Evaluated]
    names: Sequence[str]
    values: dict[str, Any]
    show_images: bool = False

    @classmethod
    def of(
        cls,
        found: Sequence[evaluated_lib.Evaluated],
        paths: Sequence[str],
        runs: Sequence[pathlib.Path],
    ) -> 'Comparison':
        """Compares evaluations of models, which their directories name."""
        names = side_by_side.names_of(paths)
        statements = [statement_of(run)[0] for run in runs]
        return cls(found, names, side_by_side.compare(found, names, statements))

    @functools.cached_property
    def tables(self) -> Sequence[result_table.Table]:
        """All tables."""
        return list(side_by_side.tables(self.values))

    def figures(self) -> dict[str, figure.Figure]:
        """Returns figures by name."""
        first, *others = (one.images.verification for one in self.found)
        named = list(zip(self.names[1:], others))
        drawn = {'roc': figures_lib.roc(first, named, self.names[0])}
        compared = figures_lib.side_by_side(self.values)
        if compared is not None:
            drawn['overview'] = compared
        return drawn

    def report(self, drawn: Mapping[str, figure.Figure]) -> str:
        """Returns the page."""
        return comparison_page.build(self.values, self.tables, drawn)

    def write_more(self, directory: pathlib.Path) -> None:
        """Writes nothing more."""


def statement_of(run: pathlib.Path) -> tuple[Optional[dict[str, Any]], str]:
    """Returns the privacy statement of a run, and the same as text; None without one.

    Nor with a model in its place that the run did not publish.
    """
    if saved_model.is_published(run / saved_model.NAME) is False:
        return None, ''
    statement = _read_json(run / 'privacy.json')
    text = run / 'privacy.txt'
    if statement is None or not text.is_file():
        return None, ''
    with json_files.whole(text, 'restore it, or move it away'):
        return statement, text.read_text('utf-8')


def _read_json(path: pathlib.Path) -> Optional[dict[str, Any]]:
    return json_files.read(path, 'write it again') if path.exists() else None
