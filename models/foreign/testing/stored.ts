/** @file Stored outputs and gradients of one forward pass in the form that the models' tests compare: NAME.json with tolerances beside NAME.safetensors. */
import { type GoldenCase, type GoldenFile, readGolden } from '../../testing/golden.ts';

interface Facts {
  readonly tolerance: { readonly absolute: Readonly<Record<string, number>> };
}
const named = (names: readonly string[], prefix = ''): Readonly<Record<string, string>> =>
  Object.fromEntries(names.map((name) => [name, `${prefix}${name}`]));

/**
 * One case of a file whose gradients are named `grad.NAME` and whose cotangents `cotangent.ROLE`.
 * @param inputs names of the inputs, which are also their tensors'
 */
export async function storedCase(
  path: string,
  inputs: readonly string[],
  outputs: readonly string[],
): Promise<{ readonly golden: GoldenFile; readonly test: GoldenCase }> {
  const { facts, tensors } = await readGolden<Facts>(path);
  const led = (prefix: string): string[] =>
    [...tensors.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const gradients = led('grad.');
  const test: GoldenCase = {
    name: path.split('/').at(-1)!,
    inputs: named(inputs),
    outputs: named(outputs),
    cotangents: named(led('cotangent.'), 'cotangent.'),
    gradients: {
      inputs: named(
        gradients.filter((name) => inputs.includes(name)),
        'grad.',
      ),
      parameters: named(
        gradients.filter((name) => !inputs.includes(name)),
        'grad.',
      ),
    },
  };
  return { golden: { facts: { ...facts, cases: [test], tolerance: facts.tolerance.absolute }, tensors }, test };
}
