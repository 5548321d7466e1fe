"""Pixels and whitened PCA: what they are, and that they never saw who is evaluated."""

import numpy as np
import pytest

from dp_fedemb import data
from dp_fedemb.evaluation import baselines
from dp_fedemb.evaluation import verification


def make_store(path, names, examples_of):
    """A store of one identity a user, `examples_of(name)` being its images."""
    images = {name: examples_of(name) for name in names}
    shape = next(iter(images.values())).shape[1:]
    with data.UserStoreWriter(path, shape, {}) as writer:
        for name, examples in images.items():
            writer.add_user(examples, [name] * len(examples), name=f'user {name}')
    return data.UserStore.open(path)


def faces(seed, count=6, side=8):
    """Function from a name to its images: own low-rank pattern, noise of large variance."""
    mixing = np.random.default_rng(99).normal(size=(12, side * side))
    loud = np.random.default_rng(98).normal(size=(2, side * side))

    def draw(name):
        generator = np.random.default_rng([seed, *name.encode()])
        own = generator.normal(size=12) @ mixing
        disturbed = 12 * generator.normal(size=(count, 2)) @ loud
        values = 128 + 4 * (own + disturbed + 0.5 * generator.normal(size=disturbed.shape))
        return np.clip(values, 0, 255).astype(np.uint8).reshape(count, side, side, 1)

    return draw


@pytest.fixture(scope='module')
def stores(tmp_path_factory):
    path = tmp_path_factory.mktemp('stores')
    draw = faces(0)
    return {
        'train': make_store(path / 'train', [f'a{i}' for i in range(60)], draw),
        'test': make_store(path / 'test', [f'b{i}' for i in range(40)], draw),
    }


def recall(baseline, store):
    embeddings = baseline.embed(store.examples)
    return verification.recall_at_far(embeddings, store.identities, [0.01])[0].recall


def test_pixels_are_compared_by_correlation():
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), np.uint8)
    rows = baselines.pixels().embed(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows @ rows.T, np.corrcoef(images.reshape(5, -1)), atol=1e-6)
    assert not baselines.pixels().embed(np.full((1, 6, 4, 3), 77, np.uint8)).any()


@pytest.mark.parametrize(
    'shape, most, expected', [((64, 64, 1), 1024, 1024), ((33, 20, 3), 300, 198)]
)
def test_large_pictures_are_averaged_over_blocks(shape, most, expected):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    found = baselines.features(images, most)
    assert found.shape == (2, expected)
    if shape == (64, 64, 1):
        assert found[1, 33] == images[1, 2:4, 2:4, 0].mean()
    assert baselines.features(images[:, :5, :5], 10_000).shape == (2, 25 * shape[2])


def test_pca_finds_what_pixels_drown(stores):
    found, missing = baselines.of_parts(stores['test'], {'train': stores['train']})
    assert [baseline.name for baseline in found] == ['pixels', 'whitened PCA'] and not missing
    assert recall(found[0], stores['test']) < 0.5 < recall(found[1], stores['test'])
    assert 'of the 360 images of other people in the part train' in found[1].description
    # Whitened: on what it was fitted on, all directions are of the same variance.
    values = found[1].function(stores['train'].examples)
    np.testing.assert_allclose(np.cov(values.T), np.eye(values.shape[1]), atol=0.02)
    # 14 directions have a meaning; more of them are noise blown up to the same size.
    assert found[1].description.startswith('20 components, chosen of 10, 20, 50')


def test_pca_does_not_see_who_is_evaluated(stores, tmp_path):
    """With the evaluated people in the other part, too, and then with others in their place."""
    names = [f'a{i}' for i in range(60)]
    fitted = []
    for other in (0, 1):
        both = make_store(
            tmp_path / f'both{other}',
            [*names, *(f'b{i}' for i in range(40))],
            lambda name, other=other: faces(other if name[0] == 'b' else 0)(name),
        )
        assert list(baselines.unseen_rows(both, stores['test'])) == list(range(360))
        (_, pca), _ = baselines.of_parts(stores['test'], {'train': both})
        fitted.append(pca.embed(stores['test'].examples))
    np.testing.assert_array_equal(fitted[0], fitted[1])
    found, missing = baselines.of_parts(stores['test'], {'train': stores['test']})
    assert len(found) == 1
    assert (
        missing
        == 'no whitened PCA: part train: 0 images of other people: PCA needs at least two'
    )


def test_public_images_come_first(stores, tmp_path):
    public = make_store(tmp_path / 'public', ['p1', 'p2', 'p3'], faces(0))
    found, _ = baselines.of_parts(stores['test'], {**stores, 'public': public})
    assert 'in the part public' in found[1].description
    assert 'not chosen, for want of images' in found[1].description
    flat = make_store(tmp_path / 'flat', ['p1', 'p2'], lambda _: np.full((3, 8, 8, 1), 9, 'u1'))
    found, missing = baselines.of_parts(stores['test'], {'public': flat})
    assert len(found) == 1 and 'without any difference' in missing
    large = make_store(tmp_path / 'large', ['p1', 'p2'], faces(0, side=16))
    assert (
        'no images of other people' in baselines.of_parts(stores['test'], {'public': large})[1]
    )
