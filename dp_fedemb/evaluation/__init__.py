"""Figures of embeddings on identities that training never saw.

A metric is a file with `metrics(images: EmbeddedImages) -> dict[str, float]` and a line
in `METRICS`. Nothing here loads TensorFlow before it computes something.
"""

from dp_fedemb.evaluation import clustering
from dp_fedemb.evaluation import pair_protocol
from dp_fedemb.evaluation import retrieval
from dp_fedemb.evaluation import verification
from dp_fedemb.evaluation.embedded_images import EmbeddedImages
from dp_fedemb.evaluation.inference import embed
from dp_fedemb.evaluation.inference import embed_store
from dp_fedemb.evaluation.inference import load_model
from dp_fedemb.evaluation.pair_protocol import VerificationPairs
from dp_fedemb.evaluation.retrieval import Retrieval
from dp_fedemb.evaluation.retrieval import retrieve
from dp_fedemb.evaluation.verification import OperatingPoint
from dp_fedemb.evaluation.verification import recall_at_far
from dp_fedemb.evaluation.verification import Verification
from dp_fedemb.evaluation.verification import verify

# Name (as in --metrics) -> figures by name; NaN where something cannot be resolved.
METRICS = {
    'verification': verification.metrics,
    'retrieval': retrieval.metrics,
    'clustering': clustering.metrics,
    'pairs': pair_protocol.metrics,
}
