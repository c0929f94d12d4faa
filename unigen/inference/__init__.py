"""Fitting: the optimiser step (eager or compiled), the loop around it, checkpoints, parameter posteriors."""
