"""Learning from calls: features, labels, splits, training, model files and scores. Pure."""
