/** @file Shows a training run while it happens. */
import type { ExtractProgress } from '../eval/pool.ts';
import { clock, Interrupted, progress, say, short } from './output.ts';
import type { Pace } from './work/drawing.ts';
import type { RunEvent } from './work/training.ts';

/** Turns events into lines: the progress line at most five times a second, everything else as it comes. */
export function showRun(steps: number, json: boolean): (event: RunEvent) => void {
  let last = 0;
  return (event) => {
    if (json) {
      if (event.kind !== 'step') process.stdout.write(`${JSON.stringify(event)}\n`);
      return;
    }
    if (event.kind === 'step') {
      const { report } = event;
      const important = report.step === 1 || report.step % 100 === 0 || report.step === steps;
      if (!important && performance.now() - last < 200) return;
      last = performance.now();
      const terms = Object.entries(report.terms)
        .filter(([name]) => !name.endsWith('/gradientNorm'))
        .map(([name, v]) => `${name} ${short(v)}`);
      const skipped = report.skipped > 0 ? ` · skipped ${report.skipped}` : '';
      progress(
        `step ${report.step}/${steps} · ${report.nimg} images · ${terms.join(' · ')} · ${short(event.imagesPerSecond)} images/s · ${clock(event.secondsLeft)} left${skipped}`,
        important,
      );
    } else if (event.kind === 'samples') say(`samples at step ${event.step}: ${event.path}`);
    else if (event.kind === 'scores') {
      const { metric, frechet, classAccuracy, floor } = event.scores;
      say(
        `step ${event.step}: ${metric} ${short(frechet.heldOut)} held-out, ${short(frechet.training)} training (floor ${short(floor)}), class accuracy ${classAccuracy === null ? '–' : short(classAccuracy)}`,
      );
    } else if (event.kind === 'note') say(event.text);
  };
}

/** Shows how drawing goes on: the progress line, elsewhere a line every ten seconds. */
export function showPace(): (pace: Pace) => void {
  let last = performance.now();
  return ({ done, n, imagesPerSecond, secondsLeft }) => {
    const important = performance.now() - last > 10_000;
    if (important) last = performance.now();
    progress(`${done}/${n} samples · ${short(imagesPerSecond)} images/s · ${clock(secondsLeft)} left`, important);
  };
}

/** Shows how features are computed, for each side under its name: the progress line, elsewhere a line every ten seconds. */
export function showExtraction(): (name: string, progress: ExtractProgress) => void {
  let last = performance.now();
  return (name, { done, n, cached, imagesPerSecond, secondsLeft }) => {
    const important = performance.now() - last > 10_000;
    if (important) last = performance.now();
    const left = secondsLeft === null ? '' : ` · ${clock(secondsLeft)} left`;
    const kept = cached > 0 ? ` · ${cached} out of the cache` : '';
    progress(
      `features of ${name}: ${done}${n === null ? '' : `/${n}`} images · ${short(imagesPerSecond)} images/s${left}${kept}`,
      important,
    );
  };
}

/** A signal that fires on SIGINT or SIGTERM: the step is finished and saved. A second one stops at once. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
      say('stopping after this step; the run is saved and can be continued with --resume');
    });
  }
  return controller.signal;
}

/** The same for features: those that are computed stay in the cache, and the process ends as one that was interrupted. */
export function interruptedFeatures(): AbortSignal {
  const controller = new AbortController();
  const codes = { SIGINT: 130, SIGTERM: 143 } as const;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(codes[name]);
      controller.abort(new Interrupted(codes[name]));
    });
  }
  return controller.signal;
}
