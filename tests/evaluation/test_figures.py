"""Figures whose words do not run into each other, and that are right in greyscale."""

import io
import itertools

import numpy as np
from PIL import Image
import pytest

from dp_fedemb import evaluation
from dp_fedemb.evaluation import figures as figures_lib
from dp_fedemb.evaluation.figures import drawing
from dp_fedemb.evaluation.report import tensorboard
from dp_fedemb.evaluation.report import words


@pytest.fixture(scope='module')
def result(report_pages, tmp_path_factory):
    return report_pages.single(tmp_path_factory.mktemp('figures'))


@pytest.fixture(scope='module')
def drawn(result):
    return result.figures()


def boxes(picture):
    """Of all words that are seen, legends and ticks included."""
    renderer = picture.canvas.get_renderer()
    picture.draw_without_rendering()
    found = []
    for axes in picture.axes:
        texts = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        low, high = sorted(axes.get_xlim())
        texts += [
            label
            for place, label in zip(axes.get_xticks(), axes.get_xticklabels())
            if low <= place <= high
        ]
        low, high = sorted(axes.get_ylim())
        texts += [
            label
            for place, label in zip(axes.get_yticks(), axes.get_yticklabels())
            if low <= place <= high
        ]
        if axes.get_legend():
            texts += axes.get_legend().get_texts()
        for text in texts:
            if text.get_visible() and text.get_text():
                found.append((text.get_text(), text.get_window_extent(renderer)))
    return found


def test_every_figure_is_drawn(drawn):
    assert set(drawn) == {
        'overview',
        'roc',
        'similarities',
        'embedding_map',
        'by_number_of_images',
        'by_group',
        'recall_by_round',
        'recall_by_epsilon',
    }


@pytest.mark.parametrize(
    'name',
    ['overview', 'roc', 'similarities', 'by_number_of_images', 'by_group', 'recall_by_round'],
)
def test_no_words_overlap_and_none_is_cut(drawn, name):
    found = boxes(drawn[name])
    assert len(found) > 4
    for (one, a), (other, b) in itertools.combinations(found, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)
    width, height = drawn[name].canvas.get_width_height()
    for text, box in found:
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= width + 1 and box.y1 <= height + 1, text


def test_close_rates_lose_labels_rather_than_collide(result):
    images = result.found.images
    fars = tuple(np.geomspace(0.01, 0.02, 12))
    close = evaluation.EmbeddedImages(images.embeddings, images.identities, fars)
    picture = figures_lib.roc(close.verification)
    found = boxes(picture)
    for (one, a), (other, b) in itertools.combinations(found, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)


def test_the_legend_of_the_roc_curve_hides_no_curve(drawn):
    (axes,) = drawn['roc'].axes
    drawn['roc'].draw_without_rendering()
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_curves_differ_in_greyscale():
    def lightness(color):
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    assert abs(lightness(drawing.DARK) - lightness(drawing.LIGHT)) > 60
    # What lightness does not tell apart, dashes do.
    assert len(set(map(str, drawing.DASHES))) == len(drawing.DASHES) >= 4


def test_figures_without_anything_to_show_say_so():
    lone = evaluation.EmbeddedImages(np.eye(3, dtype=np.float32), np.arange(3), (0.1,))
    for picture in (
        figures_lib.roc(lone.verification),
        figures_lib.embedding_map(lone.embeddings, lone.identities),
    ):
        assert picture.axes[0].texts
    few = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    picture = figures_lib.embedding_map(few, np.array([0, 1, 0]))
    with Image.open(io.BytesIO(drawing.png(picture))) as image:
        assert np.asarray(image.convert('L')).std() > 1


def test_projector_shows_the_right_picture_of_each_point(result, tmp_path):
    tensorboard.write(tmp_path, result.found, result.store)
    vectors = np.loadtxt(tmp_path / 'tensors.tsv', delimiter='\t')
    np.testing.assert_allclose(vectors, result.found.images.embeddings, atol=1e-5)
    lines = (tmp_path / 'metadata.tsv').read_text().splitlines()
    assert len(lines) == len(vectors) + 1 and lines[3] == 'hall 1/person 1\tperson 1'
    config = (tmp_path / 'projector_config.pbtxt').read_text()
    assert 'single_image_dim: 16' in config
    across = int(np.ceil(np.sqrt(len(vectors))))
    with Image.open(tmp_path / 'sprites.png') as whole:
        for place in (0, across, len(vectors) - 1):
            left, top = place % across * 16, place // across * 16
            small = np.asarray(whole.crop((left, top, left + 16, top + 16)).convert('L'))
            np.testing.assert_array_equal(small, result.store.examples[place, ..., 0])
    # As TensorBoard itself reads it.
    from google.protobuf import text_format
    from tensorboard.plugins import projector

    parsed = text_format.Parse(config, projector.ProjectorConfig())
    assert parsed.embeddings[0].sprite.image_path == 'sprites.png'


@pytest.mark.parametrize(
    'statement, said, meant',
    [
        (
            {'private': True, 'epsilon_user': 2.0, 'delta': 1e-5},
            'epsilon = 2 ',
            'at most 88.08%',
        ),
        (
            {'private': True, 'epsilon_user': 1.0, 'epsilon_user_total': 8.0, 'delta': 1e-6},
            'epsilon = 8 ',
            'weak promise',
        ),
        ({'private': False, 'epsilon_user': 1.0, 'delta': 1e-5}, 'NO differential', 'remember'),
        ({'private': True, 'epsilon_user': None, 'delta': 1e-5}, 'NO differential', 'remember'),
        ({'private': True, 'epsilon_user': 1.0, 'delta': 1.0}, 'NO differential', 'remember'),
    ],
)
def test_privacy_in_plain_words(statement, said, meant):
    assert said in words.protection(statement)
    assert meant in ' '.join(words.meaning(statement))


def test_best_guess_is_that_of_the_optimal_test():
    """For epsilon 1, delta 0: randomised response is told apart in e / (1 + e) of cases."""
    (sentence,) = [
        s
        for s in words.meaning({'private': True, 'epsilon_user': 1.0, 'delta': 0.0})
        if '%' in s
    ]
    assert f'{np.ceil(1e4 * np.e / (1 + np.e)) / 100:g}%' in sentence


def test_figures_on_training_people_are_not_called_unseen():
    values = {'num_images': 4, 'num_identities': 2, 'part': 'train'}
    assert 'WAS TRAINED ON' in words.audience(values)
    assert 'never saw' in words.audience({**values, 'part': 'test'})
    assert 'never saw' not in words.audience({**values, 'part': 'public'})


def test_rows_of_a_run_are_whole_or_named(tmp_path):
    path = tmp_path / 'metrics.csv'
    whole = 'round,recall@FAR=0.001\n0,0.25\n10,0.5\n'
    path.write_text(whole + '20,0.')
    # Torn by a crash, which the run itself mends when it goes on.
    (picture,) = figures_lib.training_curves(path).values()
    assert picture.axes[0].lines[0].get_ydata().tolist() == [0.25, 0.5]
    for more in ('20,0.5,7\n', '20\n', '20,half\n', '\0,0.5\n'):
        path.write_text(whole + more)
        with pytest.raises(ValueError, match='metrics.csv: damaged .*; restore it'):
            figures_lib.training_curves(path)
