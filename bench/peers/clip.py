"""Images and texts through transformers' CLIPModel of ViT-B/32's shape, on the weights that our side made. usage: clip.py FOLDER THREADS"""
import torch
import transformers
from common import arguments, part, read_exchange, serve


def features(output):
    """A tensor, or in newer versions an object that holds it."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def main():
    folder, _ = arguments()
    tensors = read_exchange(folder)
    # Its defaults are ViT-B/32's.
    model = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    missing, unexpected = model.load_state_dict(part(tensors, "weights/"), strict=False)
    # What is computed without weights of a file.
    left = [name for name in missing if name != "logit_scale" and not name.endswith("position_ids")]
    if left or unexpected:
        raise SystemExit(f"the weights do not fit: {left} {unexpected}")
    pixels, ids = tensors["pixels"], tensors["ids"].long()

    @torch.inference_mode()
    def work():
        image = features(model.get_image_features(pixel_values=pixels))
        text = features(model.get_text_features(input_ids=ids))
        return [float(v) for v in torch.cat([image.flatten()[:8], text.flatten()[:8]])]

    serve({"peer": f"transformers {transformers.__version__}"}, work)


main()
