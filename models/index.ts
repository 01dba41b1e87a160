/** @file Network families by name. */
import type { NetworkFamily } from '../engine/train/network.ts';
import { didYouMean, OptionError } from '../engine/train/options.ts';
import { dhariwalUNetFamily } from './dhariwal-unet.ts';
import { ditFamily } from './dit.ts';
import { edm2UNetFamily } from './edm2-unet.ts';
import { diffusersFamily } from './foreign/diffusers/family.ts';
import { onnxFamily } from './foreign/onnx/family.ts';
import { mlpFamily } from './mlp.ts';
import { songUNetFamily } from './song-unet.ts';

const byName = (families: readonly unknown[]): Readonly<Record<string, NetworkFamily>> =>
  Object.fromEntries((families as readonly NetworkFamily[]).map((f) => [f.name, f]));
/** Every family that is trained from scratch, by name. */
export const networkFamilies = byName([songUNetFamily, dhariwalUNetFamily, edm2UNetFamily, ditFamily, mlpFamily]);
/** Those whose networks are brought along. */
const foreignFamilies = byName([diffusersFamily, onnxFamily]);

/** A family by its name. @throws OptionError for an unknown name, with the nearest one */
export function networkFamily(name: string): NetworkFamily {
  if (Object.hasOwn(networkFamilies, name)) return networkFamilies[name]!;
  if (Object.hasOwn(foreignFamilies, name)) return foreignFamilies[name]!;
  const names = Object.keys(networkFamilies);
  throw new OptionError(`network: there is no ${name}${didYouMean(name, names)}; there are ${names.join(', ')}`);
}
