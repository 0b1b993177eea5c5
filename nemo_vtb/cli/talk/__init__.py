"""The commands that answer with a checkpoint: on the console, as a server, on a page."""
