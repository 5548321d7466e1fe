"""A folder is embedded as the training's images were prepared, by what the model says."""

import numpy as np
from PIL import Image
import tensorflow as tf

from dp_fedemb import data
from dp_fedemb import evaluation
from dp_fedemb import models
from dp_fedemb.data.images import conversion
from dp_fedemb.data.images import preprocessing as preprocessing_lib
from dp_fedemb.evaluation import folder
from dp_fedemb.models import saved_model

FRAMES = '1 pictures have further frames or pages, which are left out: 4.gif'


def test_pictures_embed_as_in_training(tmp_path):
    random = np.random.default_rng(0)
    examples = []
    for name in ('1.png', '2.png', '3.jpg'):
        path = tmp_path / 'ann' / name
        path.parent.mkdir(exist_ok=True)
        small = random.integers(0, 256, (4, 6, 3), np.uint8)
        Image.fromarray(small).resize((60, 40)).save(path)
        examples.append(conversion.Example('train', 'ann', 'ann', path, name))
    (tmp_path / 'ann' / 'notes.txt').write_text('no picture')
    frames = [Image.new('L', (60, 40), level) for level in (9, 200)]
    frames[0].save(tmp_path / 'ann/4.gif', save_all=True, append_images=frames[1:])
    examples.append(conversion.Example('train', 'ann', 'ann', tmp_path / 'ann/4.gif', '4.gif'))
    way = preprocessing_lib.Preprocessing(12, 1, 'pad', invert=True, background=255)
    (tmp_path / 'stores').mkdir()
    source = {'preprocessing': way.record()}
    notes = conversion.convert(examples, tmp_path / 'stores', way, None, source)
    assert [note for note in notes if 'further' in note] == [FRAMES]
    store = data.UserStore.open(tmp_path / 'stores' / 'train')

    tf.keras.utils.set_random_seed(0)
    serving = models.build_embedding_model('small_conv', (12, 12, 1), 8).serving_model()
    serving.save(str(tmp_path / 'model'), store.preprocessing)
    model = evaluation.load_model(tmp_path / 'model')
    preprocessing = saved_model.preprocessing_of(model.path, model.example_spec.shape)
    found = folder.embed_folder(model, tmp_path / 'ann', preprocessing)
    assert found.paths == ['1.png', '2.png', '3.jpg', '4.gif'] == store.example_names
    expected = evaluation.embed(model, store.examples)
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-6)
    # What was done before: another preparation, another embedding.
    default = preprocessing_lib.Preprocessing(12, 1)
    other = folder.embed_folder(model, tmp_path / 'ann', default)
    assert np.sum(other.embeddings * expected, axis=1).max() < 0.98
    assert any('notes.txt' in note for note in found.notes) and FRAMES in found.notes
