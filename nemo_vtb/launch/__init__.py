"""Runs on clusters: Slurm scripts, a check of the cluster, NeMo-Run recipes.

Begin with ``slurm``.
"""
