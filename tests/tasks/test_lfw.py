"""LFW from a small official archive and pairs.txt, and through TFDS."""

import numpy as np
import pytest

import tasks
from tasks import lfw
from tasks.shared import tfds_archives


def build(data_dir, cache_dir, **options):
    options = {'partial': 'true', 'image_size': '16', **options}
    config = tasks.TaskConfig(data_dir=str(data_dir), cache_dir=str(cache_dir), options=options)
    return tasks.build_task('lfw', config)


@pytest.fixture(scope='module')
def data_dir(official, tmp_path_factory):
    directory = tmp_path_factory.mktemp('lfw')
    official.lfw(directory)
    return directory


@pytest.fixture(scope='module')
def task(data_dir):
    return build(data_dir, data_dir / 'cache')


def test_people_of_the_protocol_are_tested_and_others_train(task):
    assert task.train.user_names == ['Ed_Eve', 'Fay_Fox']
    assert task.test.user_names == ['Ann_Ash', 'Bo', 'Cy_de_Coe', 'Di_Dow']
    assert task.test.num_examples == 3 + 2 + 2 + 1
    facts = {fact.what: (fact.found, fact.published) for fact in task.expected_facts}
    assert facts == {
        'images': (13, 13_233),
        'people': (6, 5_749),
        'pairs': (4, 6_000),
        'folds': (2, 10),
    }


def test_pairs_are_rows_of_the_test_store(task):
    rows = np.array(task.test.example_names)
    assert rows[task.pairs.first].tolist() == [
        'Ann_Ash/0001',
        'Bo/0002',
        'Cy_de_Coe/0001',
        'Ann_Ash/0002',
    ]
    assert rows[task.pairs.second].tolist() == [
        'Ann_Ash/0003',
        'Di_Dow/0001',
        'Cy_de_Coe/0002',
        'Bo/0001',
    ]
    assert task.pairs.same.tolist() == [True, False, True, False]
    assert task.pairs.fold.tolist() == [0, 0, 1, 1]
    identities = task.test.identities
    same = identities[task.pairs.first] == identities[task.pairs.second]
    assert same.tolist() == task.pairs.same.tolist()


def test_the_centre_of_the_image_is_kept(data_dir, task, tmp_path, official):
    whole = build(data_dir, tmp_path, centre='1')
    assert np.any(whole.test.examples != task.test.examples)
    row = task.test.example_names.index('Bo/0001')
    expected = official.picture([2, 1], 250, 250)[45:205, 45:205]
    expected = expected.reshape(16, 10, 16, 10, 3).mean(axis=(1, 3))
    assert np.abs(task.test.examples[row] - expected).mean() < 4


def test_pairs_of_missing_images(official, tmp_path):
    official.lfw(tmp_path)
    text = (tmp_path / 'pairs.txt').read_text()
    (tmp_path / 'pairs.txt').write_text(text.replace('Ann_Ash\t1\t3', 'Ann_Ash\t1\t4'))
    task = build(tmp_path, tmp_path / 'cache')
    assert len(task.pairs.first) == 3
    assert '1 of 4 pairs name images that are missing' in task.notes


def test_folds_that_lost_all_pairs(official, tmp_path):
    official.lfw(tmp_path)
    path = tmp_path / 'pairs.txt'
    lines = path.read_text().splitlines()
    gone = ['Ann_Ash\t7\t8', 'Ann_Ash\t7\tBo\t7']
    path.write_text('\n'.join(['3\t1', *lines[1:3], *gone, *lines[3:]]))
    task = build(tmp_path, tmp_path / 'cache')
    assert task.pairs.fold.tolist() == [0, 0, 1, 1]
    assert any('no pair is left in fold(s) 1 of 3' in note for note in task.notes)
    path.write_text('\n'.join(['2\t1', *lines[1:3], *gone]))
    with pytest.raises(ValueError, match=r'pairs are left in 1 fold\(s\) of 2.*all_pairs'):
        build(tmp_path, tmp_path / 'cache')


@pytest.mark.parametrize('text', ['', '2 1\n', '2\t1\nAnn_Ash\t1\n' * 3, 'x y\n'])
def test_damaged_pairs(text, tmp_path):
    path = tmp_path / 'pairs.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match='pairs.txt: damaged.*fetch it again.*lfw/pairs.txt'):
        lfw.read_pairs(path)


def test_damaged_archive(data_dir, tmp_path):
    (tmp_path / 'pairs.txt').write_bytes((data_dir / 'pairs.txt').read_bytes())
    with pytest.raises(FileNotFoundError, match='finds no lfw.tgz'):
        build(tmp_path, tmp_path / 'cache')
    (tmp_path / 'lfw.tgz').write_bytes((data_dir / 'lfw.tgz').read_bytes()[:-3000])
    with pytest.raises(ValueError, match='lfw.tgz: damaged'):
        build(tmp_path, tmp_path / 'cache')


def test_through_tfds(data_dir, tmp_path):
    builder = tfds_archives.builder_from_archives('lfw', data_dir, tmp_path, 'here')
    assert builder.info.splits['train'].num_examples == 13
    task = build(tmp_path, tmp_path / 'cache', protocol='all_pairs', test_users='0.4')
    assert task.pairs is None
    assert (task.train.num_users, task.test.num_users) == (3, 3)
    assert task.train.num_examples + task.test.num_examples == 13
    with pytest.raises(ValueError, match='protocol=pairs: .*does not number'):
        build(tmp_path, tmp_path / 'cache')
