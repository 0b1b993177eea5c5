"""Serves an LLM with llama.cpp on the processor, for `vtb synth` and whatever else speaks OpenAI's protocol.

pip install xllamacpp
python examples/llama_server.py qwen2.5-coder-0.5b-instruct-gguf --threads 2 --parallel 4
vtb synth text out=runs/replay llm.model=qwen2.5-coder-0.5b-instruct-gguf tokenizer=qwen2.5-coder-0.5b-instruct
"""

import argparse
import signal
from pathlib import Path

from nemo_vtb.assets import resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an asset, a folder with model.gguf, or a GGUF file; also its name in requests")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=4, help="requests at a time")
    parser.add_argument("--context", type=int, default=2048, help="tokens of one request, its reply included")
    parser.add_argument(
        "--no-cache", action="store_true", help="read every prompt from its start: slower, but replies repeat"
    )
    args = parser.parse_args()

    import xllamacpp

    path = Path(resolve(args.model))
    params = xllamacpp.CommonParams()
    params.model.path = str(path / "model.gguf" if path.is_dir() else path)
    params.model_alias = {args.model}
    params.port, params.n_parallel, params.n_ctx = args.port, args.parallel, args.parallel * args.context
    params.cache_prompt = not args.no_cache
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = args.threads
    # By default the memory is filled with a longer context, and the log with every request.
    params.fit_params, params.verbosity, params.ui = False, 1, False
    server = xllamacpp.Server(params)
    print(f"{args.model} at {server.listening_address}/v1", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
