"""What a finished run says: recall before and after, epsilon, where things are."""

from typing import Any, Optional

from dp_fedemb import privacy
from dp_fedemb import tables
from dp_fedemb.runs import directory as run_directory_lib

_STAGES = {
    'untrained': 'untrained',
    'pretrained': 'pretrained',
    'last_iterate': 'last iterate',
    'average': 'average of the iterates',
    'trained': 'trained',
}


def text(directory: run_directory_lib.RunDirectory) -> str:
    """Returns a small table of a run and its privacy, from its files."""
    scores = directory.read_json('evaluation.json') or {}
    statement = directory.read_json('privacy.json') or {}
    stages = [stage for stage in _STAGES if stage in scores]
    names = list(scores[stages[0]]) if stages else []
    if 'average' in scores:
        stages.remove('trained')  # One of the two.
    rows = [
        [_STAGES[stage], *(_figure(scores[stage][name]) for name in names)] for stage in stages
    ]
    lines = ['', tables.text([['unseen identities', *names], *rows], 'lr')]
    choice = directory.read_json('released.json')
    if choice is not None:
        by = choice['chosen_by'] or 'no validation part to choose with'
        lines += [f'released: the {_STAGES[choice["released"]]} (by {by})']
    if names:
        lines.append(_thresholds(scores))
    lines += ['', *_privacy(statement), '', f'outputs: {directory.path}']
    outputs = (
        (directory.saved_model, 'the model: examples in, unit-norm embeddings out'),
        (directory.path / 'privacy.txt', 'the privacy statement (privacy.json for programs)'),
        (directory.metrics, 'a row a round (tensorboard/ shows the same)'),
        (directory.secrets, 'hold the secret seed: do not publish'),
    )
    lines.append(tables.text([(path.name, what) for path, what in outputs], indent=2))
    worse = _worse(scores)
    if worse:
        lines.append(f'\n{worse}')
    return '\n'.join(lines)


def _figure(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.4f}'


def _thresholds(scores: dict[str, Any]) -> str:
    """Says whether `bin/embed.py verify` can do with the evaluation of the run."""
    settled = [
        f'{point["target_far"]:g}'
        for point in scores.get('points', ())
        if not point['reason'] and not point['warning']
    ]
    if settled:
        return f'thresholds of bin/embed.py verify --far=...: {", ".join(settled)}'
    return 'no thresholds for bin/embed.py verify: too few pairs of unseen images'


def _worse(scores: dict[str, Any]) -> str:
    """Says where training has made the model worse; '' if nowhere."""
    start, trained = scores.get('pretrained', scores.get('untrained')), scores.get('trained')
    if not start or not trained:
        return ''
    lost = [
        f'{name} {trained[name]:.4f}'
        for name in start
        if None not in (start[name], trained[name]) and trained[name] < start[name]
    ]
    if not lost:
        return ''
    return (
        f'WORSE THAN ITS START: {", ".join(lost)}; take the start, more users, a smaller'
        ' learning rate or less noise'
    )


def _privacy(statement: dict[str, Any]) -> list[str]:
    if not statement.get('private') or statement.get('ancestors'):
        return privacy.statement_headline(statement)
    return [
        f'epsilon = {privacy.rounded_up_text(statement["epsilon_user"])} at delta ='
        f' {privacy.rounded_up_text(statement["delta"])}, unit:'
        f' one user; {statement["neighboring_relation_text"]}',
        f'  after {statement["rounds_completed"]} rounds of {statement["sampler"]} sampling'
        f' from {statement["num_users"]:,} users, sensitivity'
        f' {statement["sensitivity_over_clip"]:g} C',
    ]
