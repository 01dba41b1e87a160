/** @file The table of all ONNX operators that are read. Those of other domains are led by the domain. */
import type { Operators } from '../node.ts';
import { activations } from './activations.ts';
import { conv1d2d } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { indexing } from './indexing.ts';
import { linalg } from './linalg.ts';
import { movement } from './movement.ts';
import { normalization } from './normalization.ts';
import { padding } from './padding.ts';
import { pool } from './pool.ts';
import { reduce } from './reduce.ts';
import { resize } from './resize.ts';
import { shapes } from './shapes.ts';

/** By family, as the documentation lists them. */
export const FAMILIES: Readonly<Record<string, Operators>> = {
  Elementwise: elementwise,
  Activations: activations,
  'Matrix products': linalg,
  Convolutions: conv1d2d,
  Pooling: pool,
  Normalisations: normalization,
  Reductions: reduce,
  Movement: movement,
  'Padding and repetition': padding,
  Indexing: indexing,
  Resampling: resize,
  'Sizes, constants, branches': shapes,
};
export const operators: Operators = Object.assign({}, ...Object.values(FAMILIES)) as Operators;
