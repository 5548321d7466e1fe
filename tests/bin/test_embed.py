"""bin/embed.py index, search, verify and cluster, as they are called."""

import csv
import json

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from dp_fedemb import evaluation
from dp_fedemb import models
from dp_fedemb.data import synthetic
from dp_fedemb.evaluation import collection

SHAPE = (16, 16, 1)


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A run with a small untrained model and its evaluation, and a folder of glyphs."""
    path = tmp_path_factory.mktemp('workspace')
    tf.keras.utils.set_random_seed(0)
    built = models.build_embedding_model('small_conv', SHAPE, 8)
    models.ServingModel(built.build_backbone(), SHAPE).save(str(path / 'run/saved_model'))
    part = synthetic.Part('embed', 12, images_per_identity=5, image_size=16)
    glyphs = np.concatenate(list(synthetic.draw(part, 0)))
    for identity, drawings in enumerate(glyphs):
        (path / f'photos/{identity:02}').mkdir(parents=True)
        for number, pixels in enumerate(drawings):
            Image.fromarray(pixels[..., 0]).save(path / f'photos/{identity:02}/{number}.png')
    model = evaluation.load_model(path / 'run')
    embeddings = evaluation.embed(model, glyphs.reshape(-1, *SHAPE))
    images = evaluation.EmbeddedImages(embeddings, np.arange(12).repeat(5), [0.1, 1e-3])
    values = collection.collect(
        images, ['verification'], {'model_fingerprint': model.fingerprint}
    )
    (path / 'run/report').mkdir()
    (path / 'run/report/evaluation.json').write_text(json.dumps(values))
    return path


@pytest.fixture(scope='module')
def embed(workspace, start_program):
    """Function from arguments to exit code, output and errors."""
    call = start_program('embed', workspace)
    return lambda *arguments: call('--model=run', *arguments)


def test_index_and_search(embed, workspace):
    code, output, errors = embed('index', 'photos', '--index=photos.index')
    assert code == 0, errors
    assert output.startswith('60 pictures: 60 new, 0 changed, 0 removed; 60 went through')
    assert '0 went through' in embed('index', 'photos', '--index=photos.index')[1]

    arguments = ['search', 'photos/03/1.png', 'photos/04/0.png', '--index=photos.index']
    code, table, _ = embed(*arguments, '--neighbours=3')
    lines = table.splitlines()
    assert code == 0 and len(lines) == 8 and lines[0] == 'photos/03/1.png'
    found = json.loads(embed(*arguments, '--neighbours=3', '--format=json')[1])
    assert [result['query'] for result in found] == ['photos/03/1.png', 'photos/04/0.png']
    first = found[0]['neighbours'][0]
    assert lines[1].split() == [f'{first["score"]:.4f}', first['path']]
    code, output, _ = embed(*arguments, '--format=html', '--output=pages/page.html')
    assert code == 0 and 'page.html' in output
    assert (workspace / 'pages/page.html').read_text().count('<img ') == 22


def test_verify(embed):
    code, output, errors = embed('verify', 'photos/03/1.png', 'photos/03/1.png', '--far=0.1')
    assert code == 0 and output.startswith('same: similarity 1.0000'), errors
    arguments = ['verify', 'photos/03/1.png', 'photos/04/1.png', '--far=0.1']
    values = json.loads(embed(*arguments, '--format=json')[1])
    assert values['same'] == (values['score'] >= values['threshold'])
    assert values['impostor_pairs'] == 1650


def test_cluster(embed, workspace):
    code, output, errors = embed('cluster', 'photos', '--far=0.1', '--output=groups.csv')
    assert code == 0 and output.startswith('60 pictures: '), errors
    rows = list(csv.DictReader((workspace / 'groups.csv').read_text().splitlines()))
    assert len(rows) == 60 and len({row['group'] for row in rows}) > 1
    code, _, errors = embed('cluster', 'photos', '--threshold=0.9', '--output=groups')
    assert code == 0, errors
    links = [path for path in (workspace / 'groups').rglob('*.png') if path.is_symlink()]
    assert len(links) == 60


@pytest.mark.parametrize(
    'arguments, words',
    [
        (['find'], "'find': expected one of index, search, verify, cluster"),
        (['index', '--index=i'], 'index with 0 arguments: expected index FOLDER'),
        (['verify', 'a.png', '--far=0.1'], 'verify with 1 arguments: expected verify A B'),
        (['search', '--index=i'], 'search with 0 arguments: expected search IMAGE...'),
        (['index', 'photos'], 'index: needs --index'),
        (['index', 'nowhere', '--index=i'], "folder='nowhere': no such directory"),
        (['index', 'run', '--index=i'], "folder='run': no picture in it or below"),
        (['index', 'photos', '--index=i', '--model=nowhere'], "model='nowhere': no such"),
        (['search', 'photos/03/1.png', '--index=i'], "index='i': no such file"),
        (['search', 'photos/03/1.png', '--index=i', '--format=html'], 'needs --output'),
        (['verify', 'photos/03/1.png', 'photos/03/2.png'], 'verify: needs --far'),
        (['verify', 'photos/03/1.png', 'x.png', '--far=0.1'], "picture 'x.png': no such file"),
        (['verify', 'photos/03/1.png', 'photos/03/2.png', '--far=0.2'], 'not measured'),
        (
            ['verify', 'photos/03/1.png', 'photos/03/2.png', '--far=1e-3'],
            'expected at least 10',
        ),
        (
            ['verify', 'photos/03/1.png', 'photos/03/2.png', '--far=0.1', '--evaluation=no'],
            "evaluation='no': no such file",
        ),
        (['cluster', 'photos', '--output=x.csv'], 'expected either --far'),
        (['cluster', 'photos', '--far=0.1'], 'cluster: needs --output'),
        (['cluster', 'photos', '--far=0.1', '--output=photos'], 'exists already'),
        (['cluster', 'photos', '--far=0.1', '--output=./photos/groups'], 'lies in'),
        ([], 'embed: needs --output'),
    ],
)
def test_bad_input_is_one_line(embed, workspace, arguments, words):
    before = sorted(workspace.rglob('*'))
    code, output, errors = embed(*arguments)
    assert code == 2 and not output
    assert words in errors.strip().splitlines()[-1] and 'Traceback' not in errors
    assert sorted(workspace.rglob('*')) == before
