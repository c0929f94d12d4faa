"""unigen beside its peers, measured in one process and reported as ratios."""
