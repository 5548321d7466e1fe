"""Pictures of an evaluation and of a run; each function returns a Matplotlib figure.

Figures are made without pyplot: nothing is global, nothing opens a window. They are as
wide as a column of the report, so that their words stay as large as those around them on
a telephone, too; what a colour says, a shape, a hatch or a dash says as well.
"""

from dp_fedemb.evaluation.figures.breakdown_figures import by_group
from dp_fedemb.evaluation.figures.breakdown_figures import by_number_of_images
from dp_fedemb.evaluation.figures.embedding_map import embedding_map
from dp_fedemb.evaluation.figures.training_curves import training_curves
from dp_fedemb.evaluation.figures.verification_figures import overview
from dp_fedemb.evaluation.figures.verification_figures import roc
from dp_fedemb.evaluation.figures.verification_figures import side_by_side
from dp_fedemb.evaluation.figures.verification_figures import similarities
