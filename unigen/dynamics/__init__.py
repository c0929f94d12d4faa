"""Noise schedules, the SDEs and ODEs they define, and the solvers; time runs from 0 (data) to 1 (noise)."""
