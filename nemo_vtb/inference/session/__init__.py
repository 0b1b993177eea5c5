"""Answering conversations whose keys, values and audio frames are kept from turn to turn."""
