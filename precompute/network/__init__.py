"""Loading and reading a network: weights, layers, receptive fields. Must not know data sets or relevance."""
