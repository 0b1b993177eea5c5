"""What ``examples/support_matrix.py`` tries: families of LLMs, tiny, with random weights."""
