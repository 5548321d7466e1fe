"""Per-virtual-client classification heads, one file each."""

from dp_fedemb.models.heads import base
from dp_fedemb.models.heads import linear

Head = base.Head

# Name (as in --head) -> class; a class takes its options as keywords.
HEADS = {
    'linear': linear.Linear,
}
