"""Recall of a round's weights on unseen identities."""

from collections.abc import Sequence
from typing import Optional

from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import inference
from dp_fedemb.evaluation import verification
from dp_fedemb.models import embedding_model
from dp_fedemb.models import weight_values


class Evaluator:
    """Embeds a store with given backbone weights and compares all pairs.

    Keeps one model, so that its graph is traced once; `serving_model` is what is
    released.
    """

    def __init__(
        self,
        model: embedding_model.EmbeddingModel,
        store: Optional[store_lib.UserStore],
        fars: Sequence[float] = verification.FARS,
    ) -> None:
        """Builds the model.

        Args:
            model: whose backbone the weights are of.
            store: identities that no training user holds; None for no metrics.
            fars: false accept rates to state the recall at.
        """
        self.serving_model = model.serving_model()
        self._store = store
        self._fars = tuple(fars)

    def set_weights(self, trainable: Sequence, non_trainable: Sequence) -> None:
        """Loads backbone weights into the serving model."""
        weight_values.assign(self.serving_model.backbone, trainable, non_trainable)

    def __call__(self, trainable: Sequence, non_trainable: Sequence) -> dict[str, float]:
        """Returns `recall@FAR=...` for each rate."""
        self.set_weights(trainable, non_trainable)
        if self._store is None:
            return {}
        embeddings = inference.embed(self.serving_model, self._store.examples)
        points = verification.recall_at_far(embeddings, self._store.identities, self._fars)
        return {verification.recall_name(point.target_far): point.recall for point in points}
