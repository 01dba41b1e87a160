/** @file UNet2DModel against stored outputs and gradients. */
import { join } from 'node:path';
import { readJson, testCases } from './testing/stored.ts';
import { readUNet2D, unet2d } from './unet2d.ts';

for (const name of ['unet2d-ddpm', 'unet2d-class', 'unet2d-fourier', 'variants/unet2d-skip', 'variants/unet2d-resnet'])
  testCases(name, (folder) => {
    const config = readUNet2D(name, readJson(join(folder, 'config.json')));
    return (scope, inputs) => unet2d(scope, config)(inputs).output;
  });
