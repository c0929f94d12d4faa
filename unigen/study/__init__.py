"""The study: every family on real data, in one report."""
