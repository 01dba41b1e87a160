/** @file Hybrid sampling: the teacher makes the first steps, where the shape of a sample is decided, and the student goes on from the level that they lead to. */

import { InputError } from '../../engine/io/errors.ts';
import type { DeviceName } from '../../engine/run/devices.ts';
import { options, real, text, whole } from '../../engine/train/options.ts';
import { sampler as samplerByName } from '../../samplers/index.ts';
import { type Flat, type Group, valuesOf } from '../config.ts';
import { deviceNamed } from './device.ts';
import { type Generator, inBatches } from './generator.ts';
import { imageShape, openLatents } from './latents.ts';
import { loadModel, type Model } from './model.ts';
import { drawing, openSource, type Source, textsFor } from './source.ts';
import { type TeacherSampling, teacherSampling } from './teacher-sampling.ts';
import { type TrainedLevels, trainedLevels } from './trained-levels.ts';
import { evaluationsOf, openTrajectories } from './trajectory.ts';

const schema = options({
  hybrid: text('', 'teacher that makes the first steps before a student goes on; --sampler, --steps and --guidance are then its'),
  hybridSteps: whole(1, "steps of the teacher's sampler before the student goes on", { min: 1, max: 100_000 }),
  hybridLevel: real(0, 'level at which the student goes on; 0 for that to which the steps of the teacher lead', { min: 0 }),
});
export const hybridGroup: Group<typeof schema> = { where: 'hybrid', schema };

/** Levels of the teacher's steps, that at which they end, and the student's from there. */
export interface Halves {
  readonly upper: readonly number[];
  readonly entry: number;
  readonly lower: readonly number[];
}

/** Opens what `openSource` opens; with --hybrid a student that goes on from a teacher's steps. Errors: as there, and options of --hybrid without it. */
export async function openDrawn(spec: string, flat: Flat): Promise<Source> {
  const { hybrid } = valuesOf(hybridGroup, flat);
  const idle = ['hybridSteps', 'hybridLevel'].find((name) => flat[name] !== undefined);
  if (hybrid === '' && idle) throw new InputError(`${idle}: has no effect without a teacher; name it with --hybrid`);
  return hybrid === '' ? openSource(spec, flat) : openHybrid(spec, hybrid, flat);
}

async function openHybrid(spec: string, teacherSpec: string, flat: Flat): Promise<Source> {
  const [student, teacher] = [await loadModel(spec), await loadModel(teacherSpec)];
  checkModels(student, teacher);
  const { hybridSteps, hybridLevel } = valuesOf(hybridGroup, flat);
  const { batch, threads, device: word } = valuesOf(drawing, flat);
  const device = deviceNamed(word);
  const sampling = teacherSampling(teacher, flat);
  const halves = halvesOf(student, await trainedLevels(student), sampling.levels, { steps: hybridSteps, level: hybridLevel });
  const generator = hybridGenerator({ ...sampling, teacher, student, halves, batch, threads, device });
  return {
    name: spec,
    sample: { ...student.card.sample, shape: imageShape(student.card) },
    texts: textsFor(student, { threads, device }),
    data: student.card.data,
    generator,
  };
}

function checkModels(student: Model, teacher: Model): void {
  if (!student.card.levels)
    throw new InputError(`hybrid: ${student.source} is a teacher, which needs nobody to go before it; give a student first`);
  if (teacher.card.levels)
    throw new InputError(`hybrid: ${teacher.source} is a student; give a teacher, whose sampler leads to every level`);
  const [own, other] = [student.card.sample, teacher.card.sample];
  if (own.shape.join() !== other.shape.join() || own.classes !== other.classes)
    throw new InputError(
      `hybrid: the student ${student.source} makes [${own.shape}] with ${own.classes} classes, the teacher ${teacher.source} [${other.shape}] with ${other.classes}; give models of the same samples`,
    );
}

/** Two levels that rounding or shortening tells apart. */
const near = (a: number, b: number): boolean => Math.abs(a / b - 1) < 1e-3;

/**
 * Where the student goes on after some of the teacher's steps.
 * @param levels of the teacher's whole trajectory
 * @throws InputError where no step is left for the student, where the level does not lie below the teacher's steps, or where the student was not trained
 */
export function halvesOf(
  { card, source }: Model,
  trained: TrainedLevels,
  levels: readonly number[],
  { steps, level }: { readonly steps: number; readonly level: number },
): Halves {
  if (steps >= levels.length)
    throw new InputError(`hybridSteps: ${steps} of the teacher's ${levels.length} steps leave none to the student; give fewer`);
  const upper = levels.slice(0, steps);
  const wanted = level > 0 ? level : levels[steps]!;
  if (!(wanted < upper.at(-1)!))
    throw new InputError(
      `hybridLevel: ${wanted} is not below ${short(upper.at(-1)!)}, where the teacher's last step begins; give a lower one`,
    );
  const known = trained.kind === 'single' ? trained.levels.find((own) => near(own, wanted)) : undefined;
  const inside = trained.kind === 'range' && wanted >= trained.low * (1 - 1e-6) && wanted <= trained.high * (1 + 1e-6);
  if (known === undefined && !inside)
    throw new InputError(
      `hybrid: the teacher leads to level ${short(wanted)}, where ${card.method} did not train the student ${source}; ${remedy(trained, upper.at(-1)!)}`,
    );
  const entry = known ?? wanted;
  return { upper, entry, lower: [entry, ...card.levels!.filter((own) => own < entry && !near(own, entry))] };
}

const short = (level: number): string => String(Number(level.toPrecision(4)));

function remedy(trained: TrainedLevels, above: number): string {
  if (trained.kind === 'range') return `it may go on at ${short(trained.low)} to ${short(trained.high)}`;
  const reachable = trained.levels.filter((level) => level < above * (1 - 1e-6));
  return reachable.length > 0
    ? `it may go on at ${reachable.map(short).join(', ')} alone: give one of them with --hybrid-level`
    : `it knows ${trained.levels.map(short).join(', ')} alone, so that no step can come before it`;
}

interface HybridSettings extends Pick<TeacherSampling, 'sampler' | 'guidance' | 'clip'> {
  readonly teacher: Model;
  readonly student: Model;
  readonly halves: Halves;
  readonly batch: number;
  readonly threads: number;
  readonly device?: DeviceName;
}

/** The teacher's steps from noise, then the student's calls. Guidance is the teacher's. */
export function hybridGenerator(settings: HybridSettings): Generator {
  const { teacher, student, sampler: solver, guidance, clip, threads, device } = settings;
  const compute = { threads, ...(device ? { device } : {}) };
  const { upper, entry, lower } = settings.halves;
  const finisher = samplerByName('student', student.card.noise ? { noise: student.card.noise } : {});
  const first = openTrajectories(teacher, solver, { guidance, clip, ...compute });
  const second = openTrajectories(student, finisher, compute);
  const latents = student.card.image ? openLatents(student, compute) : null;
  return {
    nfe: evaluationsOf(solver, upper, entry, guidance) + evaluationsOf(finisher, lower),
    sampler: `${solver.name} to ${short(entry)}, then student`,
    async generate(request) {
      return inBatches(
        request,
        settings.batch,
        student,
        async (piece) => {
          const { x } = await first.walk({ ...piece, levels: upper, end: entry });
          return (await second.walk({ ...piece, levels: lower, start: x, made: upper.length })).x;
        },
        latents,
      );
    },
    async close() {
      await first.close();
      await second.close();
      await latents?.close();
    },
  };
}
