/** @file One evaluation from the names of its two sides to its report: opens, extracts, measures, and says with what. */
import type { ExtractorSpec } from '../../eval/features/extractor.ts';
import type { FeatureSet, Metric } from '../../eval/metric.ts';
import type { ExtractProgress } from '../../eval/pool.ts';
import { type Flat, valuesOf } from '../config.ts';
import { perClass } from './benchmark-measure.ts';
import { clipPart, isOfClip } from './clip-part.ts';
import { featuresOf, inception, type Opened } from './comparing-features.ts';
import type { Pace } from './drawing.ts';
import { extractorFor, openExtracting } from './extracting.ts';
import { splitInHalves } from './halves.ts';
import { checkLpips, isOfPixels, pixelPart } from './image-pixels.ts';
import { type Compared, type Figure, figureOf, floorOf, metricGroup } from './measuring.ts';
import { checkAlone, known, namedOf, namesFor, wantedNames } from './metric-names.ts';
import { featureGroup, measureGroup } from './side-options.ts';
import { isModel, openSide, type Side, type SideRequest } from './sides.ts';

export interface ComparisonRequest {
  readonly generated: string;
  readonly reference: string | null;
  /** Options of measuring and of features. */
  readonly flat: Flat;
  /** Options of drawing samples. */
  readonly drawing: Flat;
  /** Images of the generated side; null for all, and 5,000 of a model. */
  readonly n: number | null;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onPace?: (pace: Pace) => void;
  readonly onProgress?: (name: string, progress: ExtractProgress) => void;
}
export interface Comparison {
  readonly figures: readonly Figure[];
  readonly floor: { readonly figures: readonly Figure[]; readonly n: number } | null;
  /** How the reference is called in full; null without one. */
  readonly reference: string | null;
  /** Generated and reference. */
  readonly n: readonly [number | null, number | null];
  /** The name, checksum, size and rule of the features; null where no metric took any. */
  readonly extractor: Flat | null;
  /** The same of the CLIP, where one was asked for. */
  readonly clip: Flat | null;
  /** The name and checksums of the LPIPS, where one was asked for. */
  readonly lpips: Flat | null;
  /** What the samples are, and how they were drawn. */
  readonly drawn: Flat;
  readonly settings: Flat;
  /** Accuracy by class, where it was measured. */
  readonly perClass: readonly Flat[] | null;
  readonly notes: readonly string[];
}

/** @throws InputError for whatever is wrong with the sides, the extractor or a metric; the signal's reason */
export async function compare(request: ComparisonRequest): Promise<Comparison> {
  const { flat, signal, onProgress } = request;
  const names = wantedNames(flat);
  if (known(namesFor(names, [])).some(isOfPixels)) await checkLpips(flat);
  const extracting = openExtracting(flat, { ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) });
  const sides: Side[] = [];
  try {
    const early = await explicitExtractor(request, names);
    // Whether a distance may be called FID is known before anything is computed.
    if (early && names.length > 0) namedOf(names, await extracting.pool.describe(early));
    const { n, onPace, drawing } = request;
    const { unreadable } = valuesOf(featureGroup, flat);
    const side = { flat: drawing, skip: unreadable === 'skip' };
    const sampled = await isModel(request.generated);
    if (request.reference === null && !sampled) checkAlone(names);
    // The reference first: drawing samples takes long, and a wrong name should not wait for it.
    const given = request.reference === null ? null : await openSide(request.reference, { ...side, n: null });
    if (given) sides.push(given);
    const generated = await openSide(request.generated, {
      ...side,
      n,
      onPace(pace) {
        signal?.throwIfAborted();
        onPace?.(pace);
      },
    });
    sides.unshift(generated);
    const reference = given ?? (await ownData(generated, side));
    if (reference && !given) sides.push(reference);
    return await measure(request, { generated, reference, extracting, names: namesFor(names, sides), early, wanted: n });
  } finally {
    for (const side of sides) if (side.kind === 'images') await side.source.close();
    await extracting.close();
  }
}

/** What a model was trained on, where that is known and nothing else was given to compare with. */
async function ownData(generated: Side, side: Omit<SideRequest, 'n'>): Promise<Side | null> {
  if (generated.kind !== 'images' || generated.settings['model'] === undefined || generated.data === '') return null;
  return openSide(generated.data, { ...side, n: null });
}

/** The extractor that was named, or that `fid` means for a model, whose samples take long; null where the sides decide. */
async function explicitExtractor({ flat, generated }: ComparisonRequest, names: readonly string[]): Promise<ExtractorSpec | null> {
  const { extractor } = valuesOf(featureGroup, flat);
  const { features } = valuesOf(measureGroup, flat);
  if (extractor !== 'auto' || features !== '') return extractorFor(flat, [], features);
  return names.includes('fid') && (await isModel(generated)) ? extractorFor(inception(flat), []) : null;
}

async function measure(request: ComparisonRequest, opened: Opened): Promise<Comparison> {
  const { flat, seed } = request;
  const { floor: wantsFloor } = valuesOf(measureGroup, flat);
  const chosen = known(opened.names);
  const ofClip = chosen.filter((metric) => isOfClip(metric, flat));
  const own = chosen.filter((metric) => !isOfClip(metric, flat) && !isOfPixels(metric));
  const featured = own.length > 0 ? await featuresOf(opened, flat, own) : null;
  const clip = ofClip.length > 0 ? await clipPart(opened, flat, ofClip) : null;
  const ofPixels = chosen.find(isOfPixels);
  const pixels = ofPixels ? await pixelPart(opened.generated, ofPixels, flat) : null;
  const metrics = featured ? namedOf(opened.names, featured.generated.extractor ?? featured.reference?.extractor ?? null) : chosen;
  const either = featured ?? clip ?? pixels!;
  const halvesOf = ({ generated, reference }: Compared) =>
    wantsFloor && reference ? splitInHalves(reference, generated.n ?? reference.n ?? 0, seed) : null;
  const halves = { own: featured && halvesOf(featured), clip: clip && halvesOf(clip) };
  const [figures, floors]: [Figure[], Figure[]] = [[], []];
  for (const metric of metrics) {
    request.signal?.throwIfAborted();
    const ofImages = clip && isOfClip(metric, flat);
    const sets = ofImages ? clip : isOfPixels(metric) ? pixels! : featured!;
    const figure = await figureOf(metric, sets, flat);
    figures.push(ofImages ? clip.named(figure) : figure);
    const split = ofImages ? halves.clip : halves.own;
    const floor = split && (await floorOf(metric, split, flat));
    if (floor) floors.push(ofImages ? clip.named(floor) : floor);
  }
  const split = halves.own ?? halves.clip;
  return {
    figures,
    floor: split && floors.length > 0 ? { figures: floors, n: split.generated.n! } : null,
    reference: opened.reference?.name ?? null,
    n: [either.generated.n, either.reference?.n ?? null],
    extractor: featured?.extractor ?? null,
    clip: clip?.extractor ?? null,
    lpips: pixels?.extractor ?? null,
    drawn: drawnFacts(request.generated, opened.generated),
    settings: settingsOf(request, opened, metrics),
    perClass: figures.some(({ id }) => id === 'class-accuracy') ? classesOf(featured!.generated) : null,
    notes: [
      ...(featured?.notes ?? []),
      ...(clip?.notes ?? []),
      ...new Set(figures.flatMap(({ warnings }) => warnings)),
      ...[opened.extracting.cache?.problem()].filter((line) => typeof line === 'string'),
    ],
  };
}

const classesOf = ({ logits, labels }: FeatureSet): readonly Flat[] =>
  perClass(Float32Array.from(logits!.values), labels!, logits!.classes);

const drawnFacts = (spec: string, side: Side): Flat =>
  side.kind === 'images' && side.settings['model'] !== undefined ? side.settings : { samples: spec };

/** What the figures depend on. */
function settingsOf(
  { generated: spec, seed, flat }: ComparisonRequest,
  { generated, reference }: Opened,
  metrics: readonly Metric[],
): Flat {
  const own = Object.assign({}, ...metrics.map((metric) => valuesOf(metricGroup(metric), flat))) as Flat;
  const { unreadable } = valuesOf(featureGroup, flat);
  const { imagesPerSecond: _, ...drawn } = drawnFacts(spec, generated);
  return { ...drawn, reference: reference?.name ?? null, seed, unreadable, ...own };
}
