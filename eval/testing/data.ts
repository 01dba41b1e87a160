/** @file Data sets that a test may lack: the package brings the digits alone. */
import type { Split } from '../../data/dataset.ts';
import { loadDataset } from '../../data/registry.ts';

/** The data set, or null with a line that says why, so that tests can be skipped. */
export async function dataIfThere(spec: string): Promise<Split | null> {
  try {
    return await loadDataset(spec);
  } catch (error) {
    console.warn(`${(error as Error).message}; its tests are skipped`);
    return null;
  }
}
