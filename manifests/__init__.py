from manifests.core import sources as sources  # first: it keeps what is loaded from here on
