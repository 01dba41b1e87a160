/** @file All cases. An op without one fails engine/graph/ops/coverage.test.ts. */
import type { OpCase } from '../gradcheck.ts';
import { convolutionCases } from './conv.ts';
import { elementwiseCases } from './elementwise.ts';
import { movementCases } from './movement.ts';
import { attentionCases, normalizeCases } from './normalize.ts';
import { poolCases } from './pool.ts';
import { linalgCases, reduceCases } from './reduce.ts';
import { resizeCases } from './resize.ts';
import { selectCases } from './select.ts';

export const allCases: readonly OpCase[] = [
  ...elementwiseCases,
  ...movementCases,
  ...reduceCases,
  ...linalgCases,
  ...convolutionCases,
  ...normalizeCases,
  ...attentionCases,
  ...selectCases,
  ...poolCases,
  ...resizeCases,
];
