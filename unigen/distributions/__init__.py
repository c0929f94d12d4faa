"""Pyro distributions that upstream lacks: flows, autoregressive, implicit and energy densities, likelihood heads."""
