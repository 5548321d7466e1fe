"""ArcFace: a margin on the angle.

Deng et al. 2019, arXiv 1801.07698, equation 3, with theta_j the angle between
embedding and w_j:

    loss = -log( exp(s cos(theta_y + m)) /
                 (exp(s cos(theta_y + m)) + sum_{j != y} exp(s cos theta_j)) )
"""

import dataclasses
import math

import tensorflow as tf

from dp_fedemb import known_names
from dp_fedemb.models.heads import base

# Cosines are kept this far from 1, where the sine's gradient is infinite.
_CLEARANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class ArcFace(base.CosineHead):
    """Additive angular margin.

    Where theta_y + m passes pi, the cosine would rise again and reward a larger
    angle; cos(theta_y) - m sin(m) goes on falling and takes its place, as in the
    authors' code.

    Attributes:
        margin: m, in radians.
    """

    margin: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        known_names.check_angle(self.margin)

    def loss_of_scores(self, scores: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        cosine = tf.clip_by_value(scores, -1 + _CLEARANCE, 1 - _CLEARANCE)
        sine = tf.sqrt(1 - tf.square(cosine))
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        falling = scores - self.margin * math.sin(self.margin)
        # theta + m <= pi is cos(theta) >= cos(pi - m).
        shifted = tf.where(scores >= -math.cos(self.margin), shifted, falling)
        scores = tf.where(base.at_label(scores, labels), shifted, scores)
        return base.mean_cross_entropy(labels, self.scale * scores)
