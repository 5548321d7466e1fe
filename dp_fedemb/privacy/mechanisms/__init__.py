"""What each mechanism costs; `dp_fedemb.aggregation` holds what it computes."""

from dp_fedemb.privacy.mechanisms import adaptive_gaussian
from dp_fedemb.privacy.mechanisms import banded
from dp_fedemb.privacy.mechanisms import base
from dp_fedemb.privacy.mechanisms import bisr
from dp_fedemb.privacy.mechanisms import blt
from dp_fedemb.privacy.mechanisms import clip_only
from dp_fedemb.privacy.mechanisms import correlated
from dp_fedemb.privacy.mechanisms import gaussian
from dp_fedemb.privacy.mechanisms import none
from dp_fedemb.privacy.mechanisms import tree
from dp_fedemb.privacy.mechanisms import tree_adaptive

Mechanism = base.Mechanism
NoPrivacy = none.NoPrivacy
ClipOnly = clip_only.ClipOnly
Gaussian = gaussian.Gaussian
AdaptiveGaussian = adaptive_gaussian.AdaptiveGaussian
Tree = tree.Tree
TreeAdaptive = tree_adaptive.TreeAdaptive
Correlated = correlated.Correlated
Banded = banded.Banded
Bisr = bisr.Bisr
Blt = blt.Blt

_ALL: tuple[type[Mechanism], ...] = (
    NoPrivacy,
    ClipOnly,
    Gaussian,
    AdaptiveGaussian,
    Tree,
    TreeAdaptive,
    Banded,
    Bisr,
    Blt,
)
# Name (as in --mechanism) -> class.
MECHANISMS = {cls.name: cls for cls in _ALL}
