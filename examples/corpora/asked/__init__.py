"""What the corpora and their test sets ask, with answers that code can check."""
