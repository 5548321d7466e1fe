"""A trained model at work on somebody's pictures: index, search, verify, cluster."""

from dp_fedemb.gallery.clustering import cluster
from dp_fedemb.gallery.clustering import Group
from dp_fedemb.gallery.index_file import Index
from dp_fedemb.gallery.index_file import read as read_index
from dp_fedemb.gallery.indexing import index
from dp_fedemb.gallery.indexing import Indexed
from dp_fedemb.gallery.searching import Found
from dp_fedemb.gallery.searching import Neighbour
from dp_fedemb.gallery.searching import search
from dp_fedemb.gallery.thresholds import find as find_thresholds
from dp_fedemb.gallery.thresholds import Thresholds
from dp_fedemb.gallery.verifying import Verdict
from dp_fedemb.gallery.verifying import verify
