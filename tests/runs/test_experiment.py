"""Experiments: what is refused, and how a run is continued."""

import types

import pytest

from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.learning import client_config
from dp_fedemb.runs import experiment
from dp_fedemb.runs import settings as settings_lib


def experiment_of(mechanism, **settings):
    train = types.SimpleNamespace(num_identities=9)
    return experiment.Experiment(
        models.build_embedding_model('small_conv', (12, 12, 1), 8),
        privacy.PrivacyPlan(40, 4, 1, 3, mechanism),
        settings_lib.Settings(
            client_config.ClientConfig(), settings_lib.TrainingSchedule(3), **settings
        ),
        train,
        train,
    )


def test_fedavg_with_a_head_sized_by_private_users_has_no_epsilon():
    with pytest.raises(ValueError, match='set label_buckets to a public number'):
        experiment_of(privacy.Gaussian(1.0, 1.0), algorithm='fedavg')
    hashed = experiment_of(privacy.Gaussian(1.0, 1.0), algorithm='fedavg', label_buckets=7)
    assert hashed.trained_model.embedding_dim == 7
    # The baseline without privacy may have a label for each.
    plain = experiment_of(privacy.NoPrivacy(), algorithm='fedavg')
    assert plain.trained_model.embedding_dim == 9


def test_buckets_are_fedavgs():
    with pytest.raises(ValueError, match='only fedavg has a head that all share'):
        experiment_of(privacy.NoPrivacy(), label_buckets=7)
