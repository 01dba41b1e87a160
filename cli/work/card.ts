/** @file What a weights file says of itself, and how it is read: a file may come from elsewhere. */
import * as z from 'zod';
import { InputError } from '../../engine/io/errors.ts';
import type { Form } from '../../engine/train/loss.ts';
import type { SampleType } from '../../engine/train/network.ts';
import type { Adapters } from '../../models/adapters.ts';
import type { Route } from '../../models/experts.ts';

/** What a weights file says of itself. */
export interface ModelCard {
  readonly format: 1;
  readonly network: string;
  readonly networkOptions: Readonly<Record<string, unknown>>;
  readonly sample: SampleType;
  readonly schedule: { readonly sigmaMin: number; readonly sigmaMax: number; readonly rho: number };
  /** Levels at which a distilled student is called; null for a denoiser that needs a sampler. */
  readonly levels: readonly number[] | null;
  /** What a student of several levels is made noisy with between them; absent: noise drawn anew. */
  readonly noise?: 'fresh' | 'implied';
  /** How a student's network is used as a denoiser; absent: as it is. */
  readonly form?: Form;
  /** What each of several networks is for, whose weights are named `expert1.…`, `expert2.…`; absent: it is one network. */
  readonly experts?: readonly Route[];
  readonly method: string;
  readonly data: string;
  readonly seed: number;
  readonly step: number;
  readonly nimg: number;
  /** Which average of the weights this is; null for the weights themselves. */
  readonly average: string | null;
  readonly licence: string;
  /** The teacher's name, for a student. */
  readonly teacher?: string;
  /** Shape of the image that a sample stands for, where samples are latents of an autoencoder: the part `vae`. */
  readonly image?: readonly number[];
  /** How the conditions of a text are made by the parts `text_encoder` and `tokenizer`, and those of the same names with a number. */
  readonly text?: TextRecipe;
  /** Adapters among the weights, which are named as PEFT names them. */
  readonly lora?: Adapters;
  /** Folders beside the weights that hold the other parts of the pipeline. */
  readonly parts?: readonly string[];
}

const tokens = z.int().min(2);
/** How a pipeline makes conditions of a text. `length`: tokens of a text, with start, end and padding; beside T5, those of CLIP. */
export const textSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.enum(['clip', 'clip-pair', 't5']), length: tokens }),
  z.object({ kind: z.enum(['sd3', 'flux']), length: tokens, t5Length: tokens }),
  // Zeros stand for T5: `t5Length` tokens of `width` features.
  z.object({ kind: z.literal('sd3-clips'), length: tokens, t5Length: tokens, width: z.int().min(1) }),
]);
export type TextRecipe = Readonly<z.output<typeof textSchema>>;

const FORMAT = 1;
const count = z.int().min(0);
const cardSchema = z.object({
  format: z.literal(FORMAT),
  network: z.string(),
  networkOptions: z.record(z.string(), z.unknown()),
  sample: z.object({
    shape: z.array(z.int().min(1)).min(1),
    classes: count,
    scalars: z.array(z.string()).optional(),
    conditions: z.record(z.string(), z.array(z.int().min(1))).optional(),
  }),
  schedule: z.object({ sigmaMin: z.number(), sigmaMax: z.number(), rho: z.number() }),
  levels: z.array(z.number()).min(1).nullable(),
  noise: z.enum(['fresh', 'implied']).optional(),
  form: z
    .discriminatedUnion('kind', [
      z.object({ kind: z.literal('told'), scalars: z.record(z.string(), z.number()) }),
      z.object({ kind: z.literal('boundary'), sigmaMin: z.number(), sigmaData: z.number() }),
    ])
    .optional(),
  experts: z
    .array(z.union([z.object({ above: z.number() }), z.object({ classes: z.array(count).min(1) })]))
    .min(1)
    .optional(),
  method: z.string(),
  data: z.string(),
  seed: z.int(),
  step: count,
  nimg: count,
  average: z.string().nullable(),
  licence: z.string(),
  teacher: z.string().optional(),
  image: z.array(z.int().min(1)).length(3).optional(),
  text: textSchema.optional(),
  lora: z.object({ rank: z.int().min(1), alpha: z.number(), targets: z.array(z.string()).min(1) }).optional(),
  parts: z.array(z.string().regex(/^\w+$/)).optional(),
});

/**
 * Checks a card that was stored as JSON.
 * @param where the file, for messages
 * @throws InputError naming the entry that is missing or wrong, or a format newer than this version reads
 */
export function checkCard(where: string, value: unknown): ModelCard {
  const format = (value as { readonly format?: unknown } | null)?.format;
  if (typeof format === 'number' && format > FORMAT)
    throw new InputError(`${where}: the model card has format ${format}, newer than this version reads (${FORMAT}); update onestep`);
  const result = cardSchema.safeParse(value);
  if (result.success) return result.data as ModelCard;
  const { path, message } = result.error.issues[0]!;
  throw new InputError(`${where}: the model card's ${path.join('.') || 'content'} is wrong (${message}); give a file written by onestep`);
}

/** The card in a file's metadata. Errors as in `checkCard`. */
export function parseCard(where: string, text: string): ModelCard {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InputError(`${where}: the model card is not JSON; give a file written by onestep`);
  }
  return checkCard(where, value);
}
