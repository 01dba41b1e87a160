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
import { computeOf } from './device.ts';
import { openWatch, type Watch } from './divergence.ts';
import { openGenerator } from './generator.ts';
import { imageShape } from './latents.ts';
import { type CheckpointMeta, loadModel, MODEL_FILE, type Model, saveModel, weightsOf } from './model.ts';
import { cardOf, keptPlayers, type RunRequest, type RunResult } from './run.ts';
import { due, openScoring, owedBy, type Scored, type Scoring } from './scoring.ts';

/** Rows of the sample pictures, and the width in pixels to which images are enlarged. */
const ROWS = 4;
const SHOWN_WIDTH = 56;

export class BetweenSteps {
  private readonly request: RunRequest;
  private readonly trainer: Trainer;
  private readonly logs: Logs;
  private readonly started = performance.now();
  private readonly cpuStarted = process.cpuUsage();
  private readonly firstStep: number;
  /** Milliseconds spent outside of steps, which the rate leaves out. */
  private aside = 0;
  private skippedBefore: number;
  /** The step of the last save; -1 before the first. */
  private savedAt = -1;
  /** A checkpoint was due at a step that was skipped. */
  private owed = false;
  private readonly scoring: Scoring;
  private bestSoFar: Best | null;
  private readonly watch: Watch;

  /** @param best of what the run held when it began */
  constructor(request: RunRequest, trainer: Trainer, logs: Logs, best: Best | null) {
    this.request = request;
    this.trainer = trainer;
    this.logs = logs;
    this.bestSoFar = best;
    const values = cardOf(request, trainer).sample.shape.reduce((n, d) => n * d, 1);
    this.scoring = openScoring(request.plan.run);
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
    const isDue = (every: number): boolean => due(every, report.step, run);
    await this.take(this.scoring.arrived());
    if (isDue(run.logEvery)) this.logs.step({ ...report, seconds: (now - this.started) / 1000, cpuSeconds: this.cpuSeconds() });
    this.tell(this.watch.step(report));
    const skipped = report.skipped > this.skippedBefore;
    await this.saveIfGood(isDue(run.checkpointEvery), skipped);
    this.skippedBefore = report.skipped;
    if (isDue(run.sampleEvery)) await this.samples();
    if (isDue(run.evaluateEvery)) await this.evaluate(!skipped);
    this.aside += performance.now() - now;
  }

  private cpuSeconds(): number {
    const { user, system } = process.cpuUsage(this.cpuStarted);
    return (user + system) / 1e6;
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
    const { folder } = this.request;
    return { card, weights: weightsOf(card, parts), source: folder, ...(card.parts ? { folder } : {}) };
  }

  /** The evaluations that an earlier run owes; the last of them beside the steps. */
  async catchUp(): Promise<void> {
    const { folder, plan, signal } = this.request;
    for (const { step, path } of await owedBy(folder, plan.run, this.trainer.step)) {
      await this.settle();
      if (signal?.aborted) return;
      await this.scoring.start({ step, kept: true }, await loadModel(path));
    }
  }

  /** Saves what there is. A run that has come to its end waits for the evaluation of it; one that was stopped leaves it to the run that goes on. */
  async finish(): Promise<void> {
    await this.save();
    if (this.trainer.step >= this.request.plan.run.steps) await this.settle();
    const left = this.scoring.pending;
    if (left) this.tell(`the evaluation of step ${left.step} is not finished; a run that goes on with --resume makes it`);
  }

  async close(): Promise<void> {
    await this.scoring.close();
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
    // Of weights that are in no checkpoint, nobody could make it again.
    if (this.scoring.pending?.kept === false) await this.take(await this.scoring.settled());
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
    const spared = [this.bestSoFar, this.scoring.pending].flatMap((at) => (at ? [at.step] : []));
    await keepLast(this.request.folder, this.request.plan.run.keep, spared);
  }

  /** Some samples of each class (or forty without classes), from the same noise every time. */
  private async samples(): Promise<void> {
    const model = await this.model();
    const { classes } = model.card.sample;
    const shape = imageShape(model.card);
    const { seed } = this.request.plan.run;
    const { texts } = this.request;
    const columns = classes > 0 ? Math.min(classes, 20) : 10;
    const n = columns * ROWS;
    const generator = openGenerator(model, { batch: n, ...computeOf(this.request.plan.run) });
    const labels = classes > 0 ? Int32Array.from({ length: n }, (_, i) => i % columns) : null;
    const bytes = toBytes(await generator.generate({ labels, n, seed, ...(texts ? { conditions: texts.table } : {}) }));
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

  /**
   * Starts an evaluation of the weights as they are, once the one before it is there.
   * @param good whether they go into a checkpoint, as those of a step that was skipped do not: they may be spoilt
   */
  private async evaluate(good: boolean): Promise<void> {
    if (good) await this.save();
    await this.settle();
    if (this.scoring.pending) return; // stopped
    await this.scoring.start({ step: this.trainer.step, kept: good }, await this.model());
  }

  /** Waits for the pending evaluation, unless the run is stopped. */
  private async settle(): Promise<void> {
    await this.take(await this.scoring.settled(this.request.signal));
  }

  private async take(scored: Scored | null): Promise<void> {
    if (!scored) return;
    const { step, kept, ended, scores } = scored;
    if (!scores) return this.tell(`the evaluation of step ${step} is left out: its thread ended (${ended})`);
    this.logs.scores(step, {
      frechetHeldOut: scores.frechet.heldOut,
      [COMPARED]: scores.frechet.training,
      classAccuracy: scores.classAccuracy,
    });
    this.request.onEvent?.({ kind: 'scores', step, scores });
    this.compare({ step, distance: scores.frechet.training }, kept);
    await this.prune();
  }

  /** A checkpoint that is the best is kept. */
  private compare(one: Best, kept: boolean): void {
    const before = this.bestSoFar?.distance ?? null;
    this.tell(this.watch.scored(one.step, one.distance, before));
    if (kept && Number.isFinite(one.distance) && (before === null || one.distance < before)) this.bestSoFar = one;
  }
}
