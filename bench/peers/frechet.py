"""The Fréchet distance by pytorch-fid, from moments of the same features. usage: frechet.py FOLDER THREADS"""
import numpy as np
from common import arguments, read_exchange, serve
from pytorch_fid.fid_score import calculate_frechet_distance


def main():
    folder, _ = arguments()
    sets = {name: tensor.numpy().astype(np.float64) for name, tensor in read_exchange(folder).items()}
    moments = {name: (x.mean(axis=0), np.cov(x, rowvar=False)) for name, x in sets.items()}

    def work():
        return [float(calculate_frechet_distance(*moments["generated"], *moments["reference"]))]

    serve({"peer": "pytorch-fid"}, work)


main()
