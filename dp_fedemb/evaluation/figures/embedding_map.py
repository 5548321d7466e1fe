"""A map of embeddings in two dimensions."""

from matplotlib import figure
import numpy as np

from dp_fedemb.evaluation.figures import drawing

_IDENTITIES = len(drawing.MARKERS)
_IMAGES_OF_EACH = 20
_OTHERS = 200
# t-SNE says nothing of fewer.
_LEAST = 12


def embedding_map(
    embeddings: np.ndarray, identities: np.ndarray, seed: int = 0
) -> figure.Figure:
    """Draws a few identities, each with a mark of its own, among other images.

    By t-SNE (van der Maaten and Hinton 2008), which keeps near what is near and says
    nothing of large distances; of a dozen images or fewer by principal components.

    Args:
        embeddings: float32 [n, D].
        identities: [n].
        seed: of the drawn identities and images.
    """
    from sklearn import decomposition
    from sklearn import manifold

    generator = np.random.default_rng(seed)
    picture, axes = drawing.axes(3.9)
    _, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    several = np.nonzero(counts > 1)[0]
    if not len(several):
        return drawing.nothing(axes, 'no identity has two images')
    # Those of many images show most; among equals it is drawn.
    many = several[np.lexsort((generator.random(len(several)), -counts[several]))]
    chosen = [
        generator.permutation(np.nonzero(labels == name)[0])[:_IMAGES_OF_EACH]
        for name in many[:_IDENTITIES]
    ]
    rest = np.nonzero(~np.isin(labels, many[:_IDENTITIES]))[0]
    rows = np.concatenate([*chosen, generator.permutation(rest)[:_OTHERS]])
    vectors = embeddings[rows].astype(np.float64)
    if len(rows) <= _LEAST or not np.ptp(vectors, axis=0).any():
        places = decomposition.PCA(1 if vectors.shape[1] < 2 else 2).fit_transform(vectors)
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    else:
        perplexity = min(20, (len(rows) - 1) / 3)
        start = 'pca' if vectors.shape[1] > 1 else 'random'
        # Of so few images the exact method is the fastest.
        found = manifold.TSNE(
            2, perplexity=perplexity, init=start, random_state=seed, method='exact'
        )
        places = found.fit_transform(vectors)
    shown = sum(map(len, chosen))
    axes.plot(*places[shown:].T, '.', color='#c3cbd0', ms=3.5, label='others')
    first = 0
    for place, of_one in enumerate(chosen):
        axes.plot(
            *places[first : first + len(of_one)].T,
            drawing.MARKERS[place],
            color=drawing.CURVES[place % len(drawing.CURVES)],
            mfc=drawing.CURVES[place % len(drawing.CURVES)] if place % 2 == 0 else 'white',
            mew=1.3,
            ms=6,
        )
        first += len(of_one)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return picture
