"""How well groups found without names agree with the identities.

k-means with as many clusters as there are identities, and the normalised mutual
information of clusters and identities (arithmetic mean of the entropies; Manning et al.
2008, section 16.3), the convention of deep metric learning (Song et al. 2016, arXiv
1511.06452). Above `MOST_IMAGES` whole identities are drawn until there are as many.
"""

from typing import Any
import warnings

import numpy as np

MOST_IMAGES = 4000


def nmi(embeddings: np.ndarray, identities: np.ndarray, seed: int = 0) -> float:
    """Returns the normalised mutual information, in [0, 1]; NaN for a single identity.

    Args:
        embeddings: float32 [n, D].
        identities: [n], numbers or names.
        seed: of the drawn identities and of the first centres.
    """
    from sklearn import cluster
    from sklearn import exceptions
    from sklearn import metrics as sklearn_metrics

    _, labels, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(counts))
    enough = int(np.searchsorted(np.cumsum(counts[order]), MOST_IMAGES)) + 1
    kept = np.isin(labels, order[:enough])
    count = min(enough, len(counts))
    if count < 2:
        return np.nan
    with warnings.catch_warnings():
        # Of embeddings that are equal, fewer clusters can be made, and are.
        warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
        found = cluster.KMeans(count, n_init=1, random_state=seed).fit_predict(embeddings[kept])
    return float(sklearn_metrics.normalized_mutual_info_score(labels[kept], found))


def metrics(images: Any) -> dict[str, float]:
    """Returns the figure by name."""
    return {'clustering NMI': nmi(images.embeddings, images.identities)}
