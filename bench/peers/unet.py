"""The plain UNet of ../work/plain-unet.ts in PyTorch: one round is a training step. usage: unet.py FOLDER THREADS [eager|compile]"""
import torch
from common import DEVICE, Draws, arguments, parameters, part, read_exchange, serve
from torch import nn
from torch.nn import functional as F

BASE, WIDE, GROUPS = 64, 128, 32


class Residual(nn.Module):
    def __init__(self, inside, out):
        super().__init__()
        self.norm0 = nn.GroupNorm(GROUPS, inside)
        self.conv0 = nn.Conv2d(inside, out, 3, padding=1)
        self.affine = nn.Linear(4 * BASE, out)
        self.norm1 = nn.GroupNorm(GROUPS, out)
        self.conv1 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(inside, out, 1) if inside != out else nn.Identity()

    def forward(self, x, emb):
        h = self.conv0(F.silu(self.norm0(x))) + self.affine(emb)[:, :, None, None]
        return self.conv1(F.silu(self.norm1(h))) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, c)
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.proj = nn.Conv2d(c, c, 1)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, 3, c, h * w).transpose(2, 3).unsqueeze(2).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)  # [N, 1, HW, C]
        return x + self.proj(y.squeeze(1).transpose(1, 2).reshape(n, c, h, w))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.pow(1000.0, torch.arange(32) / 31), persistent=False)
        self.embed0, self.embed1 = nn.Linear(64, 4 * BASE), nn.Linear(4 * BASE, 4 * BASE)
        self.first = nn.Conv2d(3, BASE, 3, padding=1)
        self.down32, self.down32b = Residual(BASE, BASE), Residual(BASE, BASE)
        self.down16, self.down16_attention = Residual(BASE, WIDE), Attention(WIDE)
        self.middle0, self.middle_attention, self.middle1 = Residual(WIDE, WIDE), Attention(WIDE), Residual(WIDE, WIDE)
        self.up8 = nn.Conv2d(WIDE, WIDE, 3, padding=1)
        self.up16, self.up16_attention = Residual(2 * WIDE, WIDE), Attention(WIDE)
        self.up16_conv = nn.Conv2d(WIDE, WIDE, 3, padding=1)
        self.up32 = Residual(WIDE + BASE, BASE)
        self.norm = nn.GroupNorm(GROUPS, BASE)
        self.last = nn.Conv2d(BASE, 3, 3, padding=1)

    def forward(self, image, level):
        angles = level.reshape(-1, 1) * self.frequencies
        emb = F.silu(self.embed1(F.silu(self.embed0(torch.cat([angles.sin(), angles.cos()], 1)))))
        at32 = self.down32b(self.down32(self.first(image), emb), emb)
        at16 = self.down16_attention(self.down16(F.avg_pool2d(at32, 2), emb))
        x = self.middle_attention(self.middle0(F.avg_pool2d(at16, 2), emb))
        x = self.up8(F.interpolate(self.middle1(x, emb), scale_factor=2))
        x = self.up16_attention(self.up16(torch.cat([x, at16], 1), emb))
        x = self.up16_conv(F.interpolate(x, scale_factor=2))
        return self.last(F.silu(self.norm(self.up32(torch.cat([x, at32], 1), emb))))


def main():
    folder, mode = arguments()
    tensors = read_exchange(folder)
    data, draws, net = tensors["data"], Draws(tensors), UNet()
    net.load_state_dict(part(tensors, "model/"))
    net.to(DEVICE)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def loss_of(level, eps):
        return F.mse_loss(net(data + eps * level, level), eps)

    run = torch.compile(loss_of) if mode == "compile" else loss_of
    step = 0

    def work():
        nonlocal step
        level = draws.get(step, "level", lambda: torch.rand(data.shape[0], 1, 1, 1))
        eps = draws.get(step, "eps", lambda: torch.randn_like(data))
        optimizer.zero_grad(set_to_none=True)
        loss = run(level, eps)
        loss.backward()
        optimizer.step()
        step += 1
        return [loss.item()]

    serve({"parameters": {"model": parameters(net)}, "mode": mode}, work)


main()
