"""What the tests of pages and figures look at."""

import json
import types

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.evaluation import evaluated
from dp_fedemb.evaluation.report import writing

FARS = (0.1, 0.01, 1e-3, 1e-4, 1e-5)
STATEMENT = {'private': True, 'epsilon_user': 2.0, 'delta': 1e-5}
METRICS_CSV = (
    'round,epsilon_user,recall@FAR=0.001,recall@FAR=0.01\n'
    '0,0.0,0.1,0.2\n5,1.1,0.25,0.4\n10,2.0,0.3,0.5\n'
)


@pytest.fixture(scope='session')
def report_pages():
    """Functions that make evaluations, and what is written of them."""
    return types.SimpleNamespace(evaluate=_evaluate, single=_single)


class Model:
    """Embeds by the mean over blocks of pixels, with noise where it is the worse one."""

    def __init__(self, example_spec, noise):
        self.example_spec = example_spec
        self._noise = noise

    def __call__(self, examples):
        flat = examples.reshape(len(examples), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(-1, 64)
        generator = np.random.default_rng(len(examples))
        return (
            flat
            - flat.mean(axis=1, keepdims=True)
            + self._noise * generator.normal(size=flat.shape)
        )


def write_store(path):
    """60 people: a random pattern of each, the first with 2 images, the last with 16."""
    generator = np.random.default_rng(0)
    with data.UserStoreWriter(path, (16, 16, 1), {}) as writer:
        for person in range(60):
            own = generator.normal(size=(8, 8)).repeat(2, 0).repeat(2, 1)
            count = (2, 3, 4, 7, 16)[person // 12]
            drawn = 128 + 30 * own + 45 * generator.normal(size=(count, 16, 16))
            images = np.clip(drawn, 0, 255).astype(np.uint8)[..., None]
            names = [f'hall {person % 3}/person {person}'] * count
            writer.add_user(images, names, name=f'person {person}')
    return data.UserStore.open(path)


def _evaluate(path, noises=(5.0,)):
    """Returns the store and an evaluation of a model of each noise."""
    store = write_store(path / 'store')
    questions = evaluated.Questions(('verification', 'retrieval'), FARS, groups='parent')
    rivals, _ = evaluated.rivals_of(store, {}, FARS)
    about = {
        'title': 'Drawn people <of the tests>',
        'about': ['Patterns & noise.', 'A second line.'],
        'model': 'run',
        'model_fingerprint': '0' * 64,
        'task': 'patterns',
        'part': 'test',
    }
    models = [Model(store.example_spec, noise) for noise in noises]
    return store, [evaluated.evaluate(m, store, rivals, questions, about) for m in models]


def _single(path, **options):
    """Returns what is written of a run with metrics and a statement."""
    run = path / 'run'
    run.mkdir(exist_ok=True)
    (run / 'metrics.csv').write_text(METRICS_CSV)
    (run / 'privacy.json').write_text(json.dumps(STATEMENT))
    (run / 'privacy.txt').write_text('PRIVACY STATEMENT\n\n' + 'a long line ' * 40)
    store, (found,) = _evaluate(path)
    return writing.Single(found, store, run, 'Attacks:\n  none', **options)
