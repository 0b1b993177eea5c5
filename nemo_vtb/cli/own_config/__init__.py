"""``vtb config``: shipped configs listed, shown and copied."""
