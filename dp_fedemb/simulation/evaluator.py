"""Recall of a round's weights on unseen identities."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from dp_fedemb import evaluation
from dp_fedemb.data import store as store_lib
from dp_fedemb.models import embedding_model


class Evaluator:
    """Embeds a store with given backbone weights and compares all pairs.

    Keeps one model, so that its graph is traced once; `serving_model` is what is
    released.
    """

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        store: store_lib.UserStore,
        fars: Sequence[float] = (1e-3, 1e-2),
    ):
        """Builds the model.

        Args:
            model: whose backbone the weights are of.
            store: identities that no training user holds.
            fars: false accept rates to state the recall at.
        """
        self.serving_model = embedding_model.ServingModel(
            model.build_serving_backbone(), model.image_shape
        )
        self._store = store
        self._fars = tuple(fars)

    def set_weights(self, trainable: Sequence, non_trainable: Sequence) -> None:
        """Loads backbone weights into the serving model."""
        backbone = self.serving_model.backbone
        for variable, value in zip(backbone.trainable_variables, trainable):
            variable.assign(value)
        for variable, value in zip(backbone.non_trainable_variables, non_trainable):
            variable.assign(value)

    def __call__(self, trainable: Sequence, non_trainable: Sequence) -> dict[str, float]:
        """Returns `recall@FAR=...` for each rate."""
        self.set_weights(trainable, non_trainable)
        embeddings = evaluation.embed(self.serving_model, self._store.images)
        return evaluation.recall_at_fars(embeddings, self._store.identities, self._fars)
