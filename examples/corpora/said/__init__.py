"""What clips of the corpora say: where the sentences come from, and which are chosen."""
