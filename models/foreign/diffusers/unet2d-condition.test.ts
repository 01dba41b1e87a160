/** @file UNet2DConditionModel against stored outputs and gradients. */
import { join } from 'node:path';
import { readJson, testCases } from './testing/stored.ts';
import { readUNet2DCondition, unet2dCondition } from './unet2d-condition.ts';

for (const name of ['unet-condition-sd', 'unet-condition-sdxl', 'variants/condition-simple', 'variants/condition-odd'])
  testCases(name, (folder) => {
    const config = readUNet2DCondition(name, readJson(join(folder, 'config.json')));
    return (scope, inputs) => unet2dCondition(scope, config)(inputs).output;
  });
