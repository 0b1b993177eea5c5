"""Imported before NeMo: what ``nemo_vtb.start.deferred`` lists is then imported at its use, as in our commands."""

from nemo_vtb.start.deferred import defer

defer()
