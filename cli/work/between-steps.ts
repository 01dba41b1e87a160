/** @file What a training run does between its steps: logs, pictures, evaluations, checkpoints. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { grid } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { checkpointPath, keepLast, saveCheckpoint } from '../../engine/train/checkpoint.ts';
import type { Logs } from '../../engine/train/logs.ts';
import type { StepReport, Trainer } from '../../engine/train/trainer.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { type Best, COMPARED } from './best-checkpoint.ts';
import { openWatch, type Watch } from './divergence.ts';
import { openGenerator } from './generator.ts';
import { type CheckpointMeta, MODEL_FILE, type Model, saveModel, weightsOf } from './model.ts';
import { cardOf, keptPlayers, type RunRequest, type RunResult } from './run.ts';
import { evaluationOf, type ModelEvaluation } from './scores.ts';

/** Rows of the sample pictures, and the width in pixels to which images are enlarged. */
const ROWS = 4;
const SHOWN_WIDTH = 56;

export class BetweenSteps {
  private readonly request: RunRequest;
  private readonly trainer: Trainer;
  private readonly logs: Logs;
  private readonly started = performance.now();
  private readonly firstStep: number;
  /** Milliseconds spent outside of steps, which the rate leaves out. */
  private aside = 0;
  private skippedBefore: number;
  /** The step of the last save; -1 before the first. */
  private savedAt = -1;
  /** A checkpoint was due at a step that was skipped. */
  private owed = false;
  private evaluation: ModelEvaluation | null = null;
  private bestSoFar: Best | null;
  private readonly watch: Watch;

  /** @param best of what the run held when it began */
  constructor(request: RunRequest, trainer: Trainer, logs: Logs, best: Best | null) {
    this.request = request;
    this.trainer = trainer;
    this.logs = logs;
    this.bestSoFar = best;
    const values = cardOf(request, trainer).sample.shape.reduce((n, d) => n * d, 1);
    this.watch = openWatch(request.plan, trainer.skipped, values);
    this.firstStep = trainer.step;
    this.skippedBefore = trainer.skipped;
  }

  async after(report: StepReport): Promise<void> {
    const { run } = this.request.plan;
    const now = performance.now();
    const perStep = (now - this.started - this.aside) / 1000 / (report.step - this.firstStep);
    this.request.onEvent?.({
      kind: 'step',
      report,
      imagesPerSecond: run.batch / perStep,
      secondsLeft: perStep * (run.steps - report.step),
    });
    const due = (every: number): boolean => every > 0 && (report.step % every === 0 || report.step === run.steps);
    if (due(run.logEvery)) this.logs.step({ ...report, seconds: (now - this.started) / 1000 });
    this.tell(this.watch.step(report));
    await this.saveIfGood(due(run.checkpointEvery), report.skipped > this.skippedBefore);
    this.skippedBefore = report.skipped;
    if (due(run.sampleEvery)) await this.samples();
    if (due(run.evaluateEvery)) await this.scores();
    this.aside += performance.now() - now;
  }

  /** While steps are skipped the weights may be spoilt already: the checkpoints from before must not make room for them. */
  private async saveIfGood(due: boolean, skipped: boolean): Promise<void> {
    this.owed ||= due;
    if (!this.owed || skipped) return;
    this.owed = false;
    await this.save();
  }

  async model(): Promise<Model> {
    const card = cardOf(this.request, this.trainer);
    const parts: Weights[] = [];
    for (const player of keptPlayers(this.request)) parts.push(await this.trainer.weights(player, card.average ?? undefined));
    return { card, weights: weightsOf(card, parts), source: this.request.folder };
  }

  async close(): Promise<void> {
    await this.evaluation?.close();
  }

  /** The best checkpoint, which is kept whatever comes after it. */
  get best(): RunResult['best'] {
    return this.bestSoFar && { ...this.bestSoFar, path: checkpointPath(this.request.folder, this.bestSoFar.step) };
  }

  private tell(text: string | null): void {
    if (text !== null) this.request.onEvent?.({ kind: 'note', text });
  }

  /** A checkpoint, and the model by itself. */
  async save(): Promise<void> {
    if (this.savedAt === this.trainer.step) return;
    const { folder } = this.request;
    const { card, weights } = await this.model();
    const meta: CheckpointMeta = { players: keptPlayers(this.request), card };
    const path = await saveCheckpoint(folder, { snapshot: await this.trainer.snapshot(), trainer: this.trainer, meta: { ...meta } });
    await saveModel(join(folder, MODEL_FILE), card, weights);
    await this.prune();
    this.savedAt = this.trainer.step;
    this.request.onEvent?.({ kind: 'checkpoint', path, step: this.trainer.step });
  }

  private async prune(): Promise<void> {
    await keepLast(this.request.folder, this.request.plan.run.keep, this.bestSoFar ? [this.bestSoFar.step] : []);
  }

  /** Some samples of each class (or forty without classes), from the same noise every time. */
  private async samples(): Promise<void> {
    const model = await this.model();
    const { shape, classes } = model.card.sample;
    const { seed, threads } = this.request.plan.run;
    const columns = classes > 0 ? Math.min(classes, 20) : 10;
    const n = columns * ROWS;
    const generator = openGenerator(model, { batch: n, threads });
    const labels = classes > 0 ? Int32Array.from({ length: n }, (_, i) => i % columns) : null;
    const bytes = toBytes(await generator.generate({ labels, n, seed }));
    await generator.close();
    const png = await grid(bytes, {
      shape: [n, ...shape] as [number, number, number, number],
      columns,
      scale: Math.max(1, Math.floor(SHOWN_WIDTH / shape[1]!)),
    });
    const folder = join(this.request.folder, 'samples');
    const path = join(folder, `step-${String(this.trainer.step).padStart(7, '0')}.png`);
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw fileFailure('write', folder, error);
    });
    await writeAtomic(path, png);
    this.logs.image('samples', png, this.trainer.step);
    this.request.onEvent?.({ kind: 'samples', path, step: this.trainer.step });
  }

  private async scores(): Promise<void> {
    const { plan } = this.request;
    this.evaluation ??= await evaluationOf(plan.run.data);
    if (!this.evaluation) return;
    const { evaluateSamples, seed, threads } = plan.run;
    const scores = await this.evaluation.run({ model: await this.model(), n: evaluateSamples, seed, threads });
    this.logs.scores(this.trainer.step, {
      frechetHeldOut: scores.frechet.heldOut,
      [COMPARED]: scores.frechet.training,
      classAccuracy: scores.classAccuracy,
    });
    this.request.onEvent?.({ kind: 'scores', step: this.trainer.step, scores });
    await this.compare(scores.frechet.training);
  }

  /** Keeps the checkpoint of a new best, which is saved for this where none was due. */
  private async compare(distance: number): Promise<void> {
    const { step } = this.trainer;
    const before = this.bestSoFar?.distance ?? null;
    this.tell(this.watch.scored(step, distance, before));
    if (!Number.isFinite(distance) || (before !== null && distance >= before)) return;
    this.bestSoFar = { step, distance };
    await this.save();
    await this.prune(); // where it was saved before, the one that was best until now
  }
}
