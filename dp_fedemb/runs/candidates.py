"""Which model of a round is released: the last iterate, or the average of the iterates."""

import collections
from collections.abc import Callable
from typing import Any, Optional

from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import verification
from dp_fedemb.learning import server_optimizers
from dp_fedemb.models import embedding_model
from dp_fedemb.runs import directory as run_directory_lib
from dp_fedemb.runs import evaluator as evaluator_lib

LAST, AVERAGE = 'last_iterate', 'average'

_Weights = embedding_model.Weights
# Name -> trainable and non-trainable weights, the last iterate first.
Models = collections.OrderedDict[str, _Weights]


def of_state(state: Any) -> Models:
    """Returns the models that a server's state holds: one, or with averaging two."""
    last = state.global_model_weights
    models: Models = collections.OrderedDict()
    models[LAST] = (last.trainable, last.non_trainable)
    average = server_optimizers.averaged(state.finalizer)
    if average is not None:
        models[AVERAGE] = (average, last.non_trainable)
    return models


class Candidates:
    """Chooses what is released, on validation identities alone."""

    def __init__(
        self,
        ema: float,
        model: embedding_model.EmbeddingModel,
        validation: Optional[store_lib.UserStore],
        released: Callable[[_Weights], _Weights],
        directory: run_directory_lib.RunDirectory,
    ) -> None:
        """Keeps what a choice needs.

        Args:
            ema: decay of the average, for the note; 0 for none.
            model: whose backbone is evaluated.
            validation: identities to choose with; None for the average unseen.
            released: weights that are aggregated -> those of the backbone.
            directory: gets a note of the choice, `released.json`.
        """
        self._ema = ema
        self._released = released
        self._directory = directory
        self._evaluate: Optional[evaluator_lib.Evaluator] = None
        if ema and validation is not None:
            self._evaluate = evaluator_lib.Evaluator(model, validation)

    def choose(self, models: Models) -> _Weights:
        """Returns the weights to release, and notes which of the models they are."""
        if AVERAGE not in models:
            return models[LAST]
        note: dict[str, Any] = {'released': AVERAGE, 'ema': self._ema, 'chosen_by': None}
        if self._evaluate is not None:
            scores = {
                name: self._evaluate(*self._released(weights))
                for name, weights in models.items()
            }
            first = next(name for name in scores[LAST] if verification.is_recall(name))
            note['released'] = max(models, key=lambda name: scores[name][first])
            note['chosen_by'] = f'{first} of the validation part'
            note['validation'] = scores
        self._directory.write_json('released.json', note)
        return models[note['released']]
