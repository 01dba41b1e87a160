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
from diffusers.schedulers import scheduling_flow_match_euler_discrete, scheduling_lcm

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
    with open(os.path.join(folder, "model_index.json"), encoding="utf-8") as file:
        none = {name: None for name, part in json.load(file).items() if name in ("text_encoder_3", "tokenizer_3") and part == [None, None]}
    pipe = DiffusionPipeline.from_pretrained(folder, **none).to(torch.float32)
    packs = hasattr(pipe, "_pack_latents")
    pack = (lambda x: pipe._pack_latents(x, *x.shape)) if packs else (lambda x: x)
    # The scheduler of flows draws at its last step too, and takes nothing of it.
    for module in (scheduling_lcm, scheduling_flow_match_euler_discrete):
        module.randn_tensor = lambda *_, **__: pack(next(later, torch.zeros_like(tensors["noise"])))
    pipe.set_progress_bar_config(disable=True)
    name = type(pipe.scheduler).__name__
    # Ours begins with the highest level times the noise; a scheduler that preserves variance, or a flow, with what is left of one.
    top = facts["top"]
    shares = {"EulerDiscreteScheduler": 1, "FlowMatchEulerDiscreteScheduler": top / (1 + top)}
    noise = tensors["noise"] * shares.get(name, top / (1 + top * top) ** 0.5)
    with torch.no_grad():
        if facts["prompts"]:
            sides = {"height": noise.shape[2] * pipe.vae_scale_factor, "width": noise.shape[3] * pipe.vae_scale_factor} if packs else {}
            found = pipe(facts["prompts"], latents=pack(noise), guidance_scale=facts["guidance"], output_type="latent", **sides, **facts["call"]).images
            found = pipe._unpack_latents(found, *sides.values(), pipe.vae_scale_factor) if packs else found
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
