"""Installs the `dp_fedemb` library; `tasks/` and `bin/` run from a checkout.

`pip install .` alone cannot succeed: TensorFlow Federated 0.87 pins a jaxlib
release that the package index no longer has. Install the hash-pinned lock first
(README, "Into your own environment"), then this package with `--no-deps`.
"""

import pathlib

import setuptools

_HERE = pathlib.Path(__file__).parent

setuptools.setup(
    name='dp_fedemb',
    version='0.1.0',
    description='Image embeddings with user-level differential privacy on TensorFlow Federated',
    long_description=(_HERE / 'README.md').read_text()
    if (_HERE / 'README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=setuptools.find_packages(include=['dp_fedemb', 'dp_fedemb.*']),
    python_requires='>=3.9,<3.12',
    install_requires=[
        'absl-py',
        'dp-accounting>=0.6',
        'matplotlib',
        'numpy<2',
        'pillow',
        'tensorflow==2.14.*',
        'tensorflow-datasets',
        'tensorflow-federated==0.87.0',
        'tensorflow-privacy==0.9.0',
        'tqdm',
    ],
)
