"""Imported last into a process that is forked: the garbage collector leaves alone what all forks share."""

import gc

import numba

# What numba imports to compile for the first time.
numba.njit(lambda number: number + 1)(1)
gc.collect()
gc.freeze()
