"""Parameters of the study exfacegan: those of training-sets, by a margin on identities alone.

Boutros et al., "ExFaceGAN" (IJCB 2023, arXiv 2307.05151): what a network learns from identities
that were found in a generator without labels. params/exfacegan-z.yaml makes the round exfacegan.
"""

from manifests.studies.training_sets import Study as Study
