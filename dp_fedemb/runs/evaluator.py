"""Recall of a round's weights on unseen identities."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from dp_fedemb.data import store as store_lib
from dp_fedemb.evaluation import collection
from dp_fedemb.evaluation import division
from dp_fedemb.evaluation import embedded_images
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
        embeddings = inference.embed_store(self.serving_model, self._store)
        points = verification.recall_at_far(embeddings, self._store.identities, self._fars)
        return {verification.recall_name(point.target_far): point.recall for point in points}

    def in_full(
        self, trainable: Sequence, non_trainable: Sequence, about: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the same, and all that `bin/embed.py verify` takes from an evaluation.

        All pairs are compared once for both. The intervals cost beside that what pairs of
        one identity do.

        Args:
            trainable: weights of the backbone.
            non_trainable: others of it.
            about: JSON values that say what is evaluated.

        Returns:
            Recalls by name, and what `collection.collect` returns; both None for NaN.
        """
        self.set_weights(trainable, non_trainable)
        if self._store is None:
            return {}, {}
        embeddings = inference.embed_store(self.serving_model, self._store)
        fars = tuple(dict.fromkeys((*verification.MANY_FARS, *self._fars)))
        images = embedded_images.EmbeddedImages(embeddings, self._store.identities, fars)
        about = {
            **about,
            'num_users': self._store.num_users,
            'image_shape': list(self._store.example_spec.shape),
            'embedding_dim': embeddings.shape[1],
            'evaluated': division.fingerprint(self._store),
        }
        values = collection.collect(images, ['verification'], about)
        names = map(verification.recall_name, self._fars)
        return {name: values['metrics'][name] for name in names}, values
