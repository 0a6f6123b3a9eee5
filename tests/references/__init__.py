"""Slow, obvious twins of fast code: NumPy and loops, nothing clever."""

from tests.references.attributes import (
    head_pose,
    histogram,
    kl_divergence,
    lab,
    person_bootstrap,
    sharpness,
)
from tests.references.augmentation import augmented
from tests.references.boundaries import median_labels, ridge
from tests.references.closeness import closest_pairs
from tests.references.contrast import after_fifo, margin_nce, moco_logits
from tests.references.drift import balanced_accuracy, cells, mac, masked_cross_entropy
from tests.references.generators import (
    convolve,
    convolve_layer,
    fourier_feature,
    leaky_relu,
    modulated,
    spread,
    upfirdn,
)
from tests.references.mining import (
    angle,
    apportion,
    disagreement,
    discoveries,
    far_enough,
    jitter,
    nearest,
    regions,
    welch_p_value,
)
from tests.references.scoring import (
    auc,
    average_precisions,
    facexzoo_folds,
    fnmr_after_discarding,
    gini_coefficient,
    insightface_folds,
    mate_ranks,
    nearest_rows,
    operating_points,
    pool_media,
    repeated_pairs,
    similarity,
)
from tests.references.stores import merkle_root, near_duplicates, warp
from tests.references.teachers import iresnet

__all__ = [
    "after_fifo",
    "angle",
    "apportion",
    "auc",
    "augmented",
    "average_precisions",
    "balanced_accuracy",
    "cells",
    "closest_pairs",
    "convolve",
    "convolve_layer",
    "disagreement",
    "discoveries",
    "facexzoo_folds",
    "far_enough",
    "fnmr_after_discarding",
    "fourier_feature",
    "gini_coefficient",
    "head_pose",
    "histogram",
    "insightface_folds",
    "iresnet",
    "jitter",
    "kl_divergence",
    "lab",
    "leaky_relu",
    "mac",
    "margin_nce",
    "masked_cross_entropy",
    "mate_ranks",
    "median_labels",
    "merkle_root",
    "moco_logits",
    "modulated",
    "near_duplicates",
    "nearest",
    "nearest_rows",
    "operating_points",
    "person_bootstrap",
    "pool_media",
    "regions",
    "repeated_pairs",
    "ridge",
    "sharpness",
    "similarity",
    "spread",
    "upfirdn",
    "warp",
    "welch_p_value",
]
