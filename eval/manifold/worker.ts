/** @file The worker thread of `openSpread`: some rows in, their radii or how many of them lie inside out. */
import { countInside, type InsideTask, type RadiiTask, squaredRadii } from './precision-recall.ts';

export type SpreadTask = (RadiiTask & { readonly kind: 'radii' }) | (InsideTask & { readonly kind: 'inside' });
export type SpreadAnswer = Float64Array | number;

export const work = (task: SpreadTask): SpreadAnswer => (task.kind === 'radii' ? squaredRadii(task) : countInside(task));
