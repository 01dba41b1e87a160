"""One evaluation of diffusers' UNet2DConditionModel from the checkpoint that bench/scale.ts made. usage: unet_condition.py FOLDER THREADS"""
import os

import diffusers
import torch
from common import arguments, read_exchange, serve


def main():
    folder, _ = arguments()
    fed = read_exchange(folder)
    model = diffusers.UNet2DConditionModel.from_pretrained(os.path.join(folder, "checkpoint")).eval()

    @torch.inference_mode()
    def work():
        y = model(fed["x"], fed["time"], encoder_hidden_states=fed["text"]).sample.flatten()
        return [float(y[i * y.numel() // 64]) for i in range(64)]

    serve({"peer": f"diffusers {diffusers.__version__}"}, work)


main()
