"""What a run measures and says at its end."""

import json
import math

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb import models
from dp_fedemb import privacy
from dp_fedemb.runs import directory as directory_lib
from dp_fedemb.runs import evaluator
from dp_fedemb.runs import summary

NAME = 'recall@FAR=0.01'


def points(*warnings):
    return [
        {'target_far': 10.0**-place, 'reason': '', 'warning': warning}
        for place, warning in enumerate(warnings, start=1)
    ]


@pytest.mark.parametrize(
    'more, said',
    [
        ({'points': points('', '', 'rests on 2 of')}, 'verify --far=...: 0.1, 0.01'),
        ({'points': points('rests on 2 of')}, 'no thresholds for bin/embed.py verify: too few'),
        ({}, 'no thresholds for bin/embed.py verify: too few'),
    ],
)
def test_it_says_whether_verify_can_do_with_the_run(tmp_path, more, said):
    directory = directory_lib.RunDirectory(tmp_path)
    # Identities of one image have no recall, which is null in JSON.
    scores = {'untrained': {NAME: None}, 'trained': {NAME: None}, **more}
    directory.write_json('evaluation.json', scores)
    plan = privacy.PrivacyPlan(40, 4, 2, 3, privacy.NoPrivacy())
    directory.write_json('privacy.json', privacy.statement(plan, 3))
    text = summary.text(directory)
    assert any(line.endswith(said) or said in line for line in text.splitlines())
    assert 'WORSE' not in text


@pytest.mark.parametrize('identities', [20, 1])
def test_what_cannot_be_resolved_is_null(tmp_path, identities):
    """Identities of one image each, or one identity of all: no pair of one kind."""
    with data.UserStoreWriter(tmp_path / 'store', (12, 12, 1)) as writer:
        images = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 1), np.uint8)
        for place in range(identities):
            shown = images[place::identities]
            writer.add_user(shown, [str(place)] * len(shown))
    model = models.build_embedding_model('small_conv', (12, 12, 1), 8)
    evaluate = evaluator.Evaluator(model, data.UserStore.open(tmp_path / 'store'))
    weights = model.initial_weights(1)
    assert math.isnan(evaluate(*weights)[NAME])
    scores, values = evaluate.in_full(*weights, {'part': 'test'})
    assert scores[NAME] is None and values['headline_far'] is None
    assert values['genuine_pairs'] == (0 if identities == 20 else 190)
    assert values['impostor_pairs'] == (190 if identities == 20 else 0)
    json.dumps(values, allow_nan=False)
