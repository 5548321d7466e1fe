"""Thresholds and how sure they make, against all pairs of an evaluation."""

import json

import numpy as np
import pytest

from dp_fedemb import evaluation
from dp_fedemb import gallery
from dp_fedemb.evaluation import collection
from dp_fedemb.gallery import thresholds as thresholds_lib

FARS = [0.5, 0.1, 0.01, 1e-6]


@pytest.fixture(scope='module')
def images():
    """2,000 embeddings of 400 identities, which overlap."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(400, 16)).repeat(5, axis=0)
    vectors = centres + 1.2 * generator.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return evaluation.EmbeddedImages(vectors.astype(np.float32), np.arange(400).repeat(5), FARS)


@pytest.fixture
def write(images, model, tmp_path):
    """Function that writes an evaluation.json, with changes, and returns its path."""

    def run(where='report', **changes):
        values = collection.collect(images, ['verification'], {})
        values['model_fingerprint'] = model.fingerprint
        path = tmp_path / where / 'evaluation.json'
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**values, **changes}))
        return path

    return run


@pytest.fixture
def thresholds(write, model):
    return gallery.find_thresholds(model.path, model.fingerprint, write())


def test_thresholds_are_those_of_the_evaluation(thresholds, images):
    for point in images.verification.points[:3]:
        found = thresholds.at(point.target_far)
        assert (found.threshold, found.far, found.recall) == (
            point.threshold,
            point.far,
            point.recall,
        )


def test_bounds_hold_for_every_score(thresholds, images):
    vectors = images.embeddings.astype(np.float64)
    scores = vectors @ vectors.T
    upper = np.triu(np.ones_like(scores, bool), 1)
    same = images.identities[:, None] == images.identities[None, :]
    genuine, impostor = scores[upper & same], scores[upper & ~same]
    widest = 0
    for score in np.linspace(-1, 1, 81):
        of_impostors = thresholds.impostors_at_least(score)
        share = (impostor >= score).mean()
        assert of_impostors.low <= share + 1e-9 and share <= of_impostors.high + 1e-9
        of_genuine = thresholds.genuine_at_least(score)
        share = (genuine >= score).mean()
        assert of_genuine.low <= share + 1e-9 and share <= of_genuine.high + 1e-9
        if share > 0.05:
            widest = max(widest, of_genuine.high - of_genuine.low)
    # They say something.
    assert widest < 0.2
    assert thresholds.impostors_at_least(1.0).high == 10 / len(impostor)


@pytest.mark.parametrize(
    'far, words',
    [
        (1e-6, 'of which that is 2; expected at least 10'),
        (1e-5, 'not measured in .* expected one of 0.01, 0.1, 0.5'),
        (0.05, 'not measured'),
        (0, 'far=0: expected'),
        (1.5, 'far=1.5: expected'),
    ],
)
def test_rates_that_the_evaluation_cannot_support(thresholds, far, words):
    assert thresholds.impostor_pairs == 1_995_000
    with pytest.raises(ValueError, match=words):
        thresholds.at(far)


def test_the_answer_changes_at_the_threshold(model, folder, preprocessing, thresholds):
    pictures = [folder / '02/3.png', folder / '02/4.png']
    verdict = gallery.verify(model, *pictures, 0.01, thresholds, preprocessing)
    assert verdict.same == (verdict.score >= verdict.threshold)
    itself = gallery.verify(model, *pictures[:1] * 2, 0.01, thresholds, preprocessing)
    assert itself.same and itself.score == pytest.approx(1, abs=1e-6)
    assert str(itself).startswith('same: similarity 1.0000, at or above the threshold')
    below = thresholds_lib.Point(0.2, verdict.score - 1e-9, 0.2, 0.9)
    above = thresholds_lib.Point(0.3, verdict.score + 1e-9, 0.3, 0.95)
    moved = thresholds_lib.Thresholds(thresholds.path, (below, above), 100, 1000)
    answers = [
        gallery.verify(model, *pictures, far, moved, preprocessing).same for far in (0.2, 0.3)
    ]
    assert answers == [True, False]
    assert json.loads(json.dumps(verdict.to_json()))['far'] == 0.01


def test_an_evaluation_is_found_beside_the_model(write, model, tmp_path):
    run = tmp_path / 'run'
    saved = run / 'saved_model'
    saved.mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match='no evaluation.json with thresholds beside it'):
        gallery.find_thresholds(saved, model.fingerprint)
    # What older versions wrote at the end of training has no thresholds.
    (run / 'evaluation.json').write_text('{"trained": {"recall@FAR=0.01": 0.5}}')
    with pytest.raises(FileNotFoundError, match='no evaluation.json with thresholds beside it'):
        gallery.find_thresholds(saved, model.fingerprint)
    expected = write('run/report')
    # One of an earlier model, or of those it was trained on, is not taken, though newer.
    write('run/training', part='train')
    write('run/later', model_fingerprint='0' * 32)
    assert gallery.find_thresholds(saved, model.fingerprint).path == expected


def test_another_evaluation_is_refused(write, model, tmp_path):
    def find(path):
        return gallery.find_thresholds(model.path, model.fingerprint, path)

    with pytest.raises(ValueError, match=r'is of another model \(fingerprint 000000000000\)'):
        find(write(model_fingerprint='0' * 32))
    with pytest.raises(ValueError, match='is of the training users themselves'):
        find(write(part='train'))
    with pytest.raises(ValueError, match='is of an unnamed model'):
        find(write(model_fingerprint=None))
    with pytest.raises(ValueError, match='is damaged'):
        find(write(genuine_pairs='many'))
    with pytest.raises(ValueError, match='is damaged'):
        find(write(points=[{'reason': ''}]))
    path = write()
    path.write_text(path.read_text()[:200])
    with pytest.raises(ValueError, match='damaged'):
        find(path)
    path.write_text('{"trained": {}}')
    with pytest.raises(ValueError, match='has no thresholds'):
        find(path.parent)
    with pytest.raises(FileNotFoundError, match='no such file, or no evaluation.json'):
        find(tmp_path / 'nowhere')
