"""What an engine measured in a round, as values of its row."""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np

from dp_fedemb.evaluation import verification

Row = collections.OrderedDict[str, Any]


def training_metrics(metrics: Mapping[str, Any]) -> Row:
    """Returns flat floats; clients' sums become means over virtual clients."""
    flat: Row = collections.OrderedDict()
    for part in ('aggregator', 'finalizer', 'client_work'):
        for name, value in dict(metrics.get(part) or {}).items():
            flat[name] = float(value)
    raw = flat.get('virtual_clients')
    if raw:
        for name in ('loss', 'update_norm'):
            flat[name] /= raw
    if 'update_non_finite' in flat:
        if raw is None:
            # How many were zeroed is private; the server's part alone would say: none.
            del flat['update_non_finite']
        else:
            flat['update_non_finite'] += flat.pop('non_finite')
    return flat


def recall(row: Row) -> str:
    """Returns the first recall of a row, as text for the bar."""
    for name, value in row.items():
        if verification.is_recall(name) and np.isfinite(value):
            return f'{name} {value:.3f}'
    return ''
