"""Moments of a folder of JPEG files by pytorch-fid, on the weights that our side made. usage: images.py FOLDER THREADS"""
import os
import pathlib

import numpy as np
import pytorch_fid.inception as networks
from common import arguments, read_exchange, serve
from pytorch_fid.fid_score import calculate_activation_statistics


def main():
    folder, _ = arguments()
    weights = read_exchange(folder)
    # The published file is not at hand: what is loaded in its place has no counters.
    networks.load_state_dict_from_url = lambda *_, **__: weights
    model_class = networks.torchvision.models.inception.Inception3
    load = model_class.load_state_dict
    model_class.load_state_dict = lambda self, state, **_: load(self, state, strict=False)
    model = networks.InceptionV3([networks.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    files = sorted(pathlib.Path(folder, "pictures").glob("*.jpg"))
    # Its own defaults.
    workers = min(len(os.sched_getaffinity(0)), 8)

    def work():
        mean, covariance = calculate_activation_statistics(files, model, batch_size=50, dims=2048, device="cpu", num_workers=workers)
        return [float(v) for v in np.concatenate([mean[:8], covariance[0, :8]])]

    serve({"peer": "pytorch-fid"}, work)


main()
