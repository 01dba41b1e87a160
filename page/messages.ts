/** @file What the page and its worker tell each other, and what both know of the site. */
import type { StudentInputs } from '../student/feeds.ts';

/** Where a student runs: the graphics card, or the processor. */
export type Device = 'webgpu' | 'wasm';

/** What `site.json` says. */
export interface Site extends StudentInputs {
  readonly format: 1;
  /** Files beside the page, by their role. */
  readonly student: string;
  /** Manifest of the training programs; null where the page does not train. */
  readonly training: string | null;
  /** Devices whose runtime is in the site. */
  readonly devices: readonly Device[];
}

/** What the page asks of the worker. A new order ends the one before. */
export type Order =
  | {
      readonly kind: 'sample';
      readonly id: number;
      readonly device: Device | 'auto';
      readonly seed: number;
      readonly labels: readonly number[] | null;
      readonly n: number;
    }
  | { readonly kind: 'train'; readonly id: number; readonly device: Device | 'auto'; readonly steps: number | null }
  | { readonly kind: 'stop'; readonly id: number };

/** What the worker answers; `id` is that of the order. */
export type News = { readonly id: number } & (
  | { readonly kind: 'device'; readonly device: Device; readonly threads: number; readonly note: string }
  /** Samples `first`, `first` + 1, …: [count, …sample]. */
  | { readonly kind: 'images'; readonly first: number; readonly images: Float32Array }
  /** `fresh` says that the time holds the start of the runtime's kernels. */
  | { readonly kind: 'sampled'; readonly n: number; readonly seconds: number; readonly fresh: boolean }
  | {
      readonly kind: 'step';
      readonly step: number;
      readonly steps: number;
      readonly terms: Readonly<Record<string, number>>;
      readonly seconds: number;
    }
  | { readonly kind: 'preview'; readonly step: number; readonly images: Float32Array }
  | { readonly kind: 'trained'; readonly step: number }
  | { readonly kind: 'failed'; readonly message: string }
  /** Another order took its place: no more news of this one. The page says this to itself. */
  | { readonly kind: 'ended' }
);
