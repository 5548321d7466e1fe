"""Exact comparison of all pairs against a plain matrix product of the same size."""

import measuring

import os

import numpy as np

from dp_fedemb.evaluation import verification

COUNT_VARIABLE = 'DP_FEDEMB_BENCHMARK_EMBEDDINGS'


def main():
    quick = measuring.quick()
    # The variable is for a test of the program itself.
    count = int(os.environ.get(COUNT_VARIABLE, 20_000 if quick else 100_000))
    generator = np.random.default_rng(0)
    identities = np.arange(count) // 10
    embeddings = generator.standard_normal((count // 10, 128))[identities]
    embeddings += 0.7 * generator.standard_normal(embeddings.shape)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings.astype(np.float32)
    pairs = count * (count - 1) // 2

    def product():
        """Every unordered pair once, in blocks, as the evaluation does."""
        block = 2000
        out = np.empty((block, block), np.float32)
        for row in range(0, count, block):
            for column in range(row, count, block):
                left = embeddings[row : row + block]
                right = embeddings[column : column + block]
                np.matmul(left, right.T, out=out[: len(left), : len(right)])
        return pairs

    def verify():
        verification.verify(embeddings, identities)
        return pairs

    base = measuring.resident()
    with measuring.PeakMemory() as memory:
        verify()
    rates = measuring.interleaved(
        {'evaluation': verify, 'matrix_product': product}, 3 if quick else 5
    )
    result = measuring.ratio(rates, 'evaluation', 'matrix_product')
    result['peak_mib_above_start'] = memory.peak - base
    measuring.report({'eval_pairs_per_s': result})


if __name__ == '__main__':
    main()
