"""What the peers have in common: tensors handed over by our side, and the answers to its requests (see ../exchange.ts and ../serve.ts)."""
import json
import os
import sys
import time

import numpy as np
import torch


# Where tensors live: cpu or cuda.
DEVICE = os.environ.get("ONESTEP_TORCH_DEVICE", "cpu")
if DEVICE == "cuda":
    # What ONNX Runtime's provider does unless it is told otherwise.
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_default_device("cuda")


def read_exchange(folder):
    """Tensors by name."""
    with open(os.path.join(folder, "tensors.json"), encoding="utf-8") as file:
        table = json.load(file)
    values = torch.from_numpy(np.fromfile(os.path.join(folder, "tensors.f32"), dtype=np.float32))
    return {name: values[t["offset"] : t["offset"] + t["size"]].reshape(t["shape"]).clone().to(DEVICE) for name, t in table.items()}


def part(tensors, prefix):
    """Those whose names begin with the prefix, without it."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


class Draws:
    """Random draws: those handed over for the first steps, fresh ones afterwards."""

    def __init__(self, tensors):
        self.given = part(tensors, "draw/")

    def get(self, step, name, make):
        value = self.given.get(f"{step}/{name}")
        return make().to(DEVICE) if value is None else value


def peak_megabytes():
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024


def serve(facts, work):
    """Answers every line on stdin with the time of one round. `work` returns the values that both sides must agree on."""
    print(json.dumps({"facts": {**facts, "torch": torch.__version__}}), flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        cpu, start = time.process_time(), time.perf_counter()
        values = work()
        wall, spent = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"wall": wall * 1000, "cpu": spent * 1000, "values": values, "peak": peak_megabytes()}), flush=True)


def arguments():
    """FOLDER THREADS [eager|compile]; sets the number of threads."""
    folder, threads = sys.argv[1], int(sys.argv[2])
    if threads > 0:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    return folder, sys.argv[3] if len(sys.argv) > 3 else "eager"


def parameters(module):
    return sum(p.numel() for p in module.parameters())
