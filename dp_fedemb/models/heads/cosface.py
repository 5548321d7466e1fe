"""CosFace: a margin on the cosine.

Wang et al. 2018, arXiv 1801.09414, equation 4:

    loss = -log( exp(s (cos_y - m)) / (exp(s (cos_y - m)) + sum_{j != y} exp(s cos_j)) )
"""

import dataclasses

import tensorflow as tf

from dp_fedemb import validate
from dp_fedemb.models.heads import base


@dataclasses.dataclass(frozen=True)
class CosFace(base.CosineHead):
    """Additive cosine margin.

    Attributes:
        margin: m, taken off the cosine of the right identity.
    """

    margin: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        validate.non_negative(head_margin=self.margin)

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        right = tf.cast(base.at_label(scores, labels), scores.dtype)
        return base.mean_cross_entropy(labels, self.scale * (scores - self.margin * right))
