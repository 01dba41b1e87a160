/** @file Gradients and ONNX Runtime parity of pool.ts. */
import { poolCases } from '../../testing/cases/pool.ts';
import { describeCases } from '../../testing/describe-cases.ts';

describeCases(poolCases);
