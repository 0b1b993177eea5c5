"""A small key-value store that all ranks of a run share, on the host and apart from training's collectives."""

from datetime import timedelta
from weakref import WeakKeyDictionary

from lightning.pytorch import Trainer
from torch.distributed import TCPStore

TIMEOUT = timedelta(seconds=15)
_stores: "WeakKeyDictionary[Trainer, TCPStore]" = WeakKeyDictionary()


def control_store(trainer: Trainer) -> TCPStore:
    """Returns the run's store, served by rank 0; the first call opens it and must come from every rank.

    Its operations fail after 15 s, so that a rank 0 that no longer answers is noticed.
    """
    if trainer not in _stores:
        host = trainer.strategy.cluster_environment.main_address
        port = 0
        if trainer.is_global_zero:
            store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
            port = store.port
        port = trainer.strategy.broadcast(port)
        if not trainer.is_global_zero:
            store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=TIMEOUT)
        _stores[trainer] = store
    return _stores[trainer]
