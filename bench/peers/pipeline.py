"""Draws with an exported pipeline in diffusers and compares with our own samples, stored by ../pipeline-check.ts.
usage: pipeline.py FOLDER      needs: pip install torch diffusers transformers
Exit code 1 where the largest difference of the latents is above 1e-3 of their largest value."""
import json
import os
import sys

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.schedulers import scheduling_lcm

LIMIT = 1e-3


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "tensors.json"), encoding="utf-8") as file:
        table = json.load(file)
    values = np.fromfile(os.path.join(folder, "tensors.f32"), dtype=np.float32)
    tensors = {name: torch.from_numpy(values[t["offset"] : t["offset"] + t["size"]].reshape(t["shape"]).copy()) for name, t in table.items()}
    with open(os.path.join(folder, "check.json"), encoding="utf-8") as file:
        facts = json.load(file)
    later = iter([tensors[name] for name in sorted(tensors) if name.startswith("noise") and name != "noise"])
    scheduling_lcm.randn_tensor = lambda *_, **__: next(later)
    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    name = type(pipe.scheduler).__name__
    # Ours begins with the highest level times the noise; a scheduler that preserves variance with what is left of one.
    top = facts["top"]
    noise = tensors["noise"] if name == "EulerDiscreteScheduler" else tensors["noise"] * top / (1 + top * top) ** 0.5
    with torch.no_grad():
        if facts["prompts"]:
            found = pipe(facts["prompts"], latents=noise, guidance_scale=1.0, output_type="latent", **facts["call"]).images
        else:
            found = loop(pipe, noise, facts)
    wanted = tensors["latents"]
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    said = {"diffusers": diffusers.__version__, "torch": torch.__version__, "pipeline": type(pipe).__name__, "scheduler": name, "steps": len(pipe.scheduler.timesteps)}
    print(json.dumps({**said, "largestDifference": difference, "limit": LIMIT}))
    sys.exit(0 if difference <= LIMIT else 1)


def loop(pipe, x, facts):
    network = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    labels = {"class_labels": torch.arange(len(x)) % facts["classes"]} if facts["classes"] else {}
    pipe.scheduler.set_timesteps(**facts["call"])
    for t in pipe.scheduler.timesteps:
        predicted = network(x, t.repeat(len(x)), **labels).sample[:, : x.shape[1]]
        x = pipe.scheduler.step(predicted, t, x, **({"eta": 0.0} if facts["eta"] else {})).prev_sample
    return x


main()
