"""One rank that asks the shipped checkpoint, on either backbone."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import megatron_shim
import torch


def ask(folder: Path, ranks: int, clip: str, asked: dict[str, Any]) -> None:
    """Writes what the retention gate measures, what an evaluation of few items says, and a conversation."""
    from nemo_vtb.config import compose as composed
    from nemo_vtb.evaluation.retention.text import RetainedText
    from nemo_vtb.evaluation.run import evaluate
    from nemo_vtb.inference.chat import ChatSession

    warnings.filterwarnings("ignore")
    megatron_shim.apply()
    cut = None
    if ranks > 1:
        cut = ranks
        rank = int(os.environ["LOCAL_RANK"])
        torch.distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    session = ChatSession.from_checkpoint("shipped", tensor_parallel=cut)
    said = [session.say(f"Transcribe the audio. @{clip}", 8), session.say("And in one word?", 4)]
    session.model.gated = False
    retained = RetainedText(session.model, asked["retention"]).measure()
    cfg = composed("eval/quickstart", [*asked["eval"], f"out={folder}/eval{ranks}"])
    cfg.tensor_model_parallel_size = cut
    evaluate("shipped", cfg, "test", lambda *_: "")
    found = {"said": said, "suites": retained.suites, "kl": retained.kl}
    if cut is None or torch.distributed.get_rank() == 0:
        (folder / f"answers{ranks}.json").write_text(json.dumps(found))
