"""What a run attaches to its trainer: heartbeat, preemption, the last checkpoint, progress, throughput.

Begin with ``last_checkpoint``; ``registry.RUN_CALLBACKS`` says which of them every run gets.
"""
