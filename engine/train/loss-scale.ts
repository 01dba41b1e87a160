/** @file Dynamic loss scaling for float16, as torch.amp.GradScaler has it: halved when gradients overflow, doubled after many steps that went well. */

/** Of one phase. */
export interface LossScale {
  readonly scale: number;
  /** Updates since it changed. */
  readonly good: number;
}

const INITIAL = 2 ** 16;
const INTERVAL = 2000;
/** Below this it is not the scale that is wrong. */
const LOWEST = 1;
const HIGHEST = 2 ** 24;

export const firstScale: LossScale = { scale: INITIAL, good: 0 };
/** Whether a step that is not finite may be due to the scale. */
export const maySink = ({ scale }: LossScale): boolean => scale > LOWEST;
/** The scale after an update, or after one that was skipped because something was not finite. */
export function nextScale({ scale, good }: LossScale, finite: boolean): LossScale {
  if (!finite) return { scale: Math.max(LOWEST, scale / 2), good: 0 };
  return good + 1 < INTERVAL ? { scale, good: good + 1 } : { scale: Math.min(HIGHEST, scale * 2), good: 0 };
}
