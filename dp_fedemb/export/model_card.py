"""The model card: what a model is, what it was trained on, what it can do, what it costs.

After Mitchell et al. (2019, arXiv 1810.03993). Everything on it is from the run's own
files; what they do not say is said to be missing. Names of people, paths and settings
that may hold either are left out.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, Optional

from dp_fedemb import privacy
from dp_fedemb import version
from dp_fedemb.export import card_results
from dp_fedemb.export import checking
from dp_fedemb.export import runtime

_NO_STATEMENT = (
    '**No privacy statement is beside this model:** nothing is known about the privacy of the'
    ' people it was trained on.'
)
_NO_EVALUATION = (
    'No evaluation with thresholds was beside the model when it was exported'
    ' (`bin/evaluate.py` makes one).'
)
# Settings of a run that cannot hold a path or a name.
_SETTINGS = (
    'backbone',
    'embedding_dim',
    'head',
    'freeze',
    'precision',
    'plan.rounds',
    'plan.virtual_clients_per_round',
    'plan.users_per_virtual_client',
    'plan.mechanism.name',
    'plan.mechanism.clip_norm',
    'plan.mechanism.noise_multiplier',
    'plan.sampling.name',
    'plan.sampling.grouping',
    'training.algorithm',
    'training.client.learning_rate',
    'training.client.head_lr_scale',
    'training.client.head_only_steps',
    'training.client.local_epochs',
    'training.client.batch_size',
    'training.server_lr',
    'training.server_momentum',
)
_STAGES = ('untrained', 'pretrained', 'trained')


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known about a model; None where a file is missing.

    Attributes:
        fingerprint: of the SavedModel.
        example_spec: of its examples, as text.
        embedding_dim: numbers of an embedding.
        config: the run's config.json.
        statement: its privacy.json.
        statement_text: its privacy.txt.
        scores: recall by stage of the run's own evaluation.json.
        evaluation: of `card_results.released`.
        preprocessing: of pictures, by setting.
        formats: those that were written, by name.
        sizes: bytes of each.
        checks: of each.
        checked_on: examples that they were compared on.
        calibration: of 8-bit integers, as text; None if there are none.
        intended_use: the owner's word.
    """

    fingerprint: str
    example_spec: str
    embedding_dim: int
    config: Optional[Mapping[str, Any]]
    statement: Optional[Mapping[str, Any]]
    statement_text: Optional[str]
    scores: Optional[Mapping[str, Mapping[str, float]]]
    evaluation: Optional[Mapping[str, Any]]
    preprocessing: Optional[Mapping[str, Any]]
    formats: Mapping[str, runtime.Format]
    sizes: Mapping[str, int]
    checks: Mapping[str, checking.Check]
    checked_on: str
    calibration: Optional[str]
    intended_use: Optional[str]


def text(facts: Facts) -> str:
    """Returns the card as Markdown."""
    config = facts.config or {}
    sections = [
        '# Model card: image embeddings',
        *_model(facts, config),
        '## Intended use',
        *_intended_use(facts),
        '## Training data',
        *_data(facts, config),
        '## Privacy of the training users',
        *_privacy(facts),
        '## Results',
        *_results(facts),
        '## Preprocessing',
        *_preprocessing(facts),
        '## Files',
        *_files(facts),
        '## Settings of the training',
        *_settings(config),
    ]
    return '\n\n'.join(sections) + '\n'


def _model(facts: Facts, config: Mapping[str, Any]) -> list[str]:
    task = config.get('task')
    origin = f' Trained by the task `{task}`.' if task else ''
    return [
        f'Maps images ({facts.example_spec}, uint8) to {facts.embedding_dim} numbers of norm 1,'
        ' so that images of one identity lie close together: the similarity of two images is'
        f' the inner product of their embeddings.{origin}',
        f'Fingerprint `{facts.fingerprint}`, made with dp_fedemb {version.__version__}.',
    ]


def _intended_use(facts: Facts) -> list[str]:
    lines = [facts.intended_use or 'Its owner has stated none.']
    lines.append(
        'What the model can do was measured on the identities named under *Results*, and on'
        ' nothing else: for other kinds of images, other cameras and other groups of people'
        ' the figures and thresholds below do not hold until they are measured again.'
    )
    return lines


def _data(facts: Facts, config: Mapping[str, Any]) -> list[str]:
    users = (facts.statement or {}).get('num_users') or config.get('plan', {}).get('num_users')
    if users is None:
        return ['Not stated beside the model.']
    lines = [
        f'{users:,} users, a public number. How many images and identities they have is their'
        ' data, which the privacy guarantee does not cover, and is not stated here.'
    ]
    start = (facts.statement or {}).get('start')
    if start:
        lines.append(f'The weights began from: {start}.')
    return lines


def _privacy(facts: Facts) -> list[str]:
    statement = facts.statement
    if statement is None:
        return [_NO_STATEMENT]
    if 'hypothetical' not in statement:
        # Of pretraining, which has no plan.
        return [f'**{statement.get("notice", _NO_STATEMENT)}**']
    lines = [' '.join(f'**{line}**' for line in privacy.statement_headline(dict(statement)))]
    if facts.statement_text:
        lines.append(
            '<details><summary>The whole statement</summary>\n\n```\n'
            f'{facts.statement_text.strip()}\n```\n\n</details>'
        )
    return lines


def _results(facts: Facts) -> list[str]:
    lines = []
    values = facts.evaluation
    if values is None:
        lines.append(_NO_EVALUATION)
    else:
        lines += card_results.sections(values)
    scores = facts.scores or {}
    stages = [stage for stage in _STAGES if stage in scores]
    if stages:
        names = list(scores[stages[0]])
        rows = [
            [s, *(card_results.figure(scores[s].get(name)) for name in names)] for s in stages
        ]
        lines += ['What training measured itself:', card_results.table(['stage', *names], rows)]
    return lines


def _preprocessing(facts: Facts) -> list[str]:
    if facts.preprocessing is None:
        return [
            f'Not recorded beside the model. It takes images of {facts.example_spec}, uint8, 0'
            ' to 255; how pictures were brought to that size is not known here.'
        ]
    rows = [[name, f'`{value}`'] for name, value in facts.preprocessing.items()]
    return [
        'Pictures become the images that the model takes in this way'
        ' (`dp_fedemb.data.images.preprocessing`):',
        card_results.table(['setting', 'value'], rows),
    ]


def _files(facts: Facts) -> list[str]:
    fars = list(next(iter(facts.checks.values())).recall)
    rows = []
    for name, check in facts.checks.items():
        of_format = facts.formats[name]
        rows.append(
            [
                f'`{of_format.file}`',
                of_format.about,
                f'{facts.sizes[name] / 1e6:.2f}',
                f'{check.largest_difference:.1e}',
                f'{check.least_cosine:.6f}',
                *(card_results.figure(check.recall[far]) for far in fars),
            ]
        )
    head = ['file', 'what', 'MB', 'largest difference', 'least cosine']
    lines = [
        'Each was read again by its own runtime and compared with the model that it was made'
        f' from, on {facts.checked_on}. Differences are of single numbers of an embedding.',
        card_results.table([*head, *(f'recall at FAR {far}' for far in fars)], rows),
    ]
    if facts.calibration is not None:
        lines.append(f'Ranges of 8-bit integers were measured on {facts.calibration}.')
    return lines


def _settings(config: Mapping[str, Any]) -> list[str]:
    rows = []
    for name in _SETTINGS:
        value: Any = config
        for part in name.split('.'):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value not in (None, ''):
            rows.append([f'`{name}`', f'`{value}`'])
    if not rows:
        return ['Not stated beside the model.']
    return [card_results.table(['setting', 'value'], rows)]
