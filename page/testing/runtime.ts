/** @file Whether ONNX Runtime for browsers is installed. Where it is not, tests of pages are skipped; in CI they run, and fail. */
import { webRuntime } from '../../cli/work/site-runtime.ts';

export const hasWebRuntime =
  Boolean(process.env['CI']) ||
  (await webRuntime(['wasm']).then(
    () => true,
    () => false,
  ));
