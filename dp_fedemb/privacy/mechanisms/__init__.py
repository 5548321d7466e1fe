"""What each mechanism costs; `dp_fedemb.aggregation` holds what it computes."""

from dp_fedemb.privacy.mechanisms import base
from dp_fedemb.privacy.mechanisms import clip_only
from dp_fedemb.privacy.mechanisms import gaussian
from dp_fedemb.privacy.mechanisms import none

Mechanism = base.Mechanism
NoPrivacy = none.NoPrivacy
ClipOnly = clip_only.ClipOnly
Gaussian = gaussian.Gaussian

# Name (as in --mechanism) -> class.
MECHANISMS = {cls.name: cls for cls in (NoPrivacy, ClipOnly, Gaussian)}
