/** @file What a training run does between its steps: logs, pictures, evaluations, checkpoints. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toBytes } from '../../data/bytes.ts';
import { grid } from '../../data/image.ts';
import { writeAtomic } from '../../engine/io/atomic.ts';
import { fileFailure } from '../../engine/io/failures.ts';
import { keepLast, saveCheckpoint } from '../../engine/train/checkpoint.ts';
import type { Logs } from '../../engine/train/logs.ts';
import type { StepReport, Trainer } from '../../engine/train/trainer.ts';
import type { Weights } from '../../engine/train/weights.ts';
import { openGenerator } from './generator.ts';
import { type CheckpointMeta, MODEL_FILE, type Model, saveModel, weightsOf } from './model.ts';
import { cardOf, keptPlayers, type RunRequest } from './run.ts';
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

  constructor(request: RunRequest, trainer: Trainer, logs: Logs) {
    this.request = request;
    this.trainer = trainer;
    this.logs = logs;
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

  /** A checkpoint, and the model by itself. */
  async save(): Promise<void> {
    if (this.savedAt === this.trainer.step) return;
    const { folder, plan } = this.request;
    const { card, weights } = await this.model();
    const meta: CheckpointMeta = { players: keptPlayers(this.request), card };
    const path = await saveCheckpoint(folder, { snapshot: await this.trainer.snapshot(), trainer: this.trainer, meta: { ...meta } });
    await saveModel(join(folder, MODEL_FILE), card, weights);
    await keepLast(folder, plan.run.keep);
    this.savedAt = this.trainer.step;
    this.request.onEvent?.({ kind: 'checkpoint', path, step: this.trainer.step });
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
      frechetTraining: scores.frechet.training,
      classAccuracy: scores.classAccuracy,
    });
    this.request.onEvent?.({ kind: 'scores', step: this.trainer.step, scores });
  }
}
