"""The built-in task: sizes as asked, parts disjoint, limits kept."""

import numpy as np
import pytest

import tasks
from tasks import synthetic

SMALL = {
    'num_users': '30',
    'image_size': '12',
    'images_per_identity': '3',
    'identities_per_user': '2',
    'test_identities': '10',
    'public_identities': '5',
    'validation_identities': '4',
}


def build(tmp_path, limit=None, **options):
    config = tasks.TaskConfig(
        cache_dir=str(tmp_path), max_examples_per_user=limit, options={**SMALL, **options}
    )
    return tasks.build_task('synthetic', config)


def test_sizes_and_disjoint_parts(tmp_path):
    task = build(tmp_path)
    sizes = {n: (s.num_users, s.num_identities, s.num_examples) for n, s in task.stores.items()}
    assert sizes == {
        'train': (30, 60, 180),
        'validation': (4, 4, 12),
        'test': (10, 10, 30),
        'public': (5, 5, 15),
    }
    for names in ('user_names', 'identity_names'):
        every = [name for store in task.stores.values() for name in getattr(store, names)]
        assert len(every) == len(set(every))
    assert task.train.example_spec.shape == (12, 12, 1)
    # Both identities of a user stay with the user.
    assert list(task.train.identities[:6]) == [0, 0, 0, 1, 1, 1]
    assert '30 users' in task.summary()


def test_parts_that_are_not_asked_for(tmp_path):
    task = build(tmp_path, public_identities='0', validation_identities='0')
    assert task.public is None and task.validation is None


def test_cache_is_used_and_options_are_part_of_its_key(tmp_path):
    first = build(tmp_path).train
    assert build(tmp_path).train.path == first.path
    assert build(tmp_path, style='print').train.path != first.path
    assert build(tmp_path, public_style='handwriting').train.path == first.path


def test_limit_per_user(tmp_path):
    whole, cut = build(tmp_path).train, build(tmp_path, limit=4).train
    assert np.all(np.diff(cut.user_splits) == 4)
    assert cut.meta['users_cut'] == 30 and cut.meta['examples_dropped'] == 60
    rows = {image.tobytes() for image in whole.examples[:6]}
    assert {image.tobytes() for image in cut.examples[:4]} < rows
    assert 'left out' in build(tmp_path, limit=4).summary()
    # Evaluation is not cut.
    assert build(tmp_path, limit=1).test.num_examples == 30


def test_styles_as_text():
    style = synthetic.parse_style('handwriting:noise=0.2,clutter=0')
    assert style.noise == 0.2 and style.clutter == 0
    for text, words in [
        ('cursive', 'expected one of handwriting, print'),
        ('print:slant=1', 'expected one of rotation'),
        ('print:noise=much', "noise='much' is no number"),
    ]:
        with pytest.raises(ValueError, match=words):
            synthetic.parse_style(text)


def test_nothing_is_left_of_an_impossible_request(tmp_path):
    with pytest.raises(ValueError, match='num_users=0'):
        build(tmp_path, num_users='0')
    assert not list(tmp_path.iterdir())
