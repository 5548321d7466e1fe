"""Exact comparison of all pairs against a plain matrix product of the same size."""

import os

import measuring
import numpy as np

from dp_fedemb.evaluation import verification

COUNT_VARIABLE = 'DP_FEDEMB_BENCHMARK_EMBEDDINGS'


def main():
    quick = measuring.quick()
    # The variable is for a test of the program itself.
    count = int(os.environ.get(COUNT_VARIABLE, 10_000 if quick else 40_000))
    embeddings, identities = _embeddings(count)
    rates = measuring.interleaved(
        {
            'evaluation': lambda: _verify(embeddings, identities),
            'matrix_product': lambda: _product(embeddings),
        },
        3 if quick else 5,
    )
    result = measuring.ratio(rates, 'evaluation', 'matrix_product')
    if not quick:
        embeddings, identities = _embeddings(100_000)
        before = measuring.resident()
        with measuring.PeakMemory() as memory:
            result['rate_of_100000_per_s'] = measuring.rate(
                lambda: _verify(embeddings, identities)
            )
        result['peak_mib_above_start_of_100000'] = memory.peak - before
    measuring.report({'eval_pairs_per_s': result})


def _embeddings(count):
    """Unit norm, ten of each identity."""
    generator = np.random.default_rng(0)
    identities = np.arange(count) // 10
    embeddings = generator.standard_normal((-(-count // 10), 128))[identities]
    embeddings += 0.7 * generator.standard_normal(embeddings.shape)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), identities


def _verify(embeddings, identities):
    verification.verify(embeddings, identities)
    return _num_pairs(embeddings)


def _product(embeddings, block=2000):
    """Scores of every unordered pair once, in blocks, and nothing done with them."""
    out = np.empty((block, block), np.float32)
    for row in range(0, len(embeddings), block):
        for column in range(row, len(embeddings), block):
            left = embeddings[row : row + block]
            right = embeddings[column : column + block]
            np.matmul(left, right.T, out=out[: len(left), : len(right)])
    return _num_pairs(embeddings)


def _num_pairs(embeddings):
    return len(embeddings) * (len(embeddings) - 1) // 2


if __name__ == '__main__':
    main()
