"""The door of one screen, as its docstring uses it."""

import numpy as np
import pytest

import dp_fedemb
from dp_fedemb import data
from dp_fedemb.runs import settings


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('store') / 'train'
    with data.UserStoreWriter(path, (16, 16, 1)) as writer:
        for user in range(60):
            images = generator.integers(0, 256, (3, 16, 16, 1), np.uint8)
            writer.add_user(images, [2 * user, 2 * user, 2 * user + 1])
    return data.UserStore.open(path)


def estimator(path, **changes):
    options = {
        'target_epsilon': 8.0,
        'rounds': 2,
        'virtual_clients_per_round': 4,
        'users_per_virtual_client': 2,
        'model': settings.ModelSettings(backbone='small_conv', embedding_dim=8),
        'engine': 'in_process',
    }
    return dp_fedemb.DPFedEmb(path, **{**options, **changes})


@pytest.fixture(scope='module')
def fitted(store, tmp_path_factory):
    return estimator(tmp_path_factory.mktemp('runs') / 'run').fit(store)


def test_embeds_with_a_statement_of_what_was_asked_for(fitted, store):
    embeddings = fitted.embed(store.examples[:5])
    assert embeddings.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert 7.9 < fitted.statement['epsilon_user'] <= 8
    assert fitted.statement['rounds_completed'] == 2 and fitted.statement['private']
    assert not fitted.statement['seed_given']


def test_again_is_the_same_run(fitted, store):
    before = (fitted.directory.saved_model / 'saved_model.pb').stat().st_mtime_ns
    again = estimator(fitted.directory.path).fit(store)
    assert (again.directory.saved_model / 'saved_model.pb').stat().st_mtime_ns == before
    with pytest.raises(ValueError, match='belongs to a run with plan'):
        estimator(fitted.directory.path, rounds=3).fit(store)


def test_too_few_users_and_too_early(store, tmp_path):
    with pytest.raises(ValueError, match='lower one of the first two'):
        estimator(tmp_path / 'run', virtual_clients_per_round=50).fit(store)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match='call fit first'):
        estimator(tmp_path / 'run').statement  # noqa: B018
