"""DP-FedEmb: image embeddings with user-level differential privacy.

The parts, in the order of the arrows between them (later ones import earlier ones):

    the ground   settings, files that appear whole, keyed randomness, checks
    privacy      plan, samplers, accounting, statement; no TensorFlow
    data         user-partitioned stores, virtual clients
    models       backbones and local heads
    evaluation   exact verification and retrieval metrics
    aggregation  partial aggregation; the mechanisms as DP queries
    learning     local fine-tuning and the learning process
    pretraining  centralised training, supervised or not
    engines      rounds on TFF's runtime, in this process, on other machines
    gallery      a trained model at work: index, search, verify, cluster
    export       a trained model in other formats, with its card
    runs         experiment, training program, run directory
    tuning       sweeps, searches, tables of cells
    auditing     attacks on our own releases

The names below are loaded when they are first used, so that `import dp_fedemb.privacy`
needs no TensorFlow, only NumPy and SciPy. The packages that do need it
check the environment first and say in one line what is missing.
"""

import importlib
from typing import Any

from dp_fedemb.version import __version__

# Public name -> module that defines it.
_NAMES = {
    'ClientConfig': 'dp_fedemb.learning.client_config',
    'DPFedEmb': 'dp_fedemb.runs.estimator',
    'EmbeddingModel': 'dp_fedemb.models',
    'InProcessEngine': 'dp_fedemb.engines.in_process',
    'LocalRuntime': 'dp_fedemb.engines.runtime',
    'PartialAggregationFactory': 'dp_fedemb.aggregation.partial',
    'PrivacyPlan': 'dp_fedemb.privacy',
    'PrivateRun': 'dp_fedemb.privacy',
    'ServingModel': 'dp_fedemb.models',
    'UserStore': 'dp_fedemb.data',
    'UserStoreWriter': 'dp_fedemb.data',
    'build_dp_fedemb': 'dp_fedemb.learning.process',
    'build_embedding_model': 'dp_fedemb.models',
    'build_query': 'dp_fedemb.aggregation',
}
_PACKAGES = (
    'aggregation',
    'data',
    'engines',
    'evaluation',
    'export',
    'gallery',
    'learning',
    'models',
    'pretraining',
    'privacy',
    'runs',
)

__all__ = [*_NAMES, *_PACKAGES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f'dp_fedemb.{name}')
    raise AttributeError(f'module dp_fedemb has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
