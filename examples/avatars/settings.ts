/** @file What the example makes: how much is drawn, how long each network is trained, and with which options students are distilled. */
import type { SingleTraining } from '../../engine/train/single.ts';
import { AUTOENCODER_TRAINING, DECODER_TRAINING } from './autoencoder.ts';
import { JUDGE_TRAINING } from './judge.ts';
import { shares, TIMES } from './networks.ts';
import { TEACHER_TRAINING } from './teacher.ts';

/** A training whose threads are the command's. */
export type Training = Omit<SingleTraining, 'threads'>;
export interface StudentSettings {
  readonly method: string;
  /** Options of `onestep distill`, by flag. */
  readonly flags: Readonly<Record<string, string | number>>;
}
export interface Settings {
  /** Avatars that are drawn; one in ten is held out. */
  readonly drawings: number;
  readonly judge: Training;
  readonly autoencoder: Training;
  /** Of the autoencoder's decoder alone, afterwards. */
  readonly decoder: Training;
  readonly teacher: Training;
  /** Scale of the teacher's guidance, in its own samples and for its students. */
  readonly guidance: number;
  /** Steps of Heun's method in which the teacher draws. */
  readonly teacherSteps: number;
  /** Captions of the training part that students are distilled with. */
  readonly prompts: number;
  readonly students: Readonly<Record<string, StudentSettings>>;
  readonly style: {
    /** Drawings of the new style, and prompts that its student sees. */
    readonly images: number;
    readonly rank: number;
    readonly targets: readonly string[];
    readonly training: Training;
    readonly student: StudentSettings;
  };
  /** Held-out captions that are drawn for measuring. */
  readonly measured: number;
}

/** σ of a time: of noise over signal. */
export const levelOf = (time: number): number => Math.sqrt(1 - shares[time]! ** 2) / shares[time]!;
/** Levels of a student of four calls, evenly spaced in time. */
const FOUR = [999, 749, 499, 249].map((time) => levelOf(Math.min(time, TIMES - 1)).toPrecision(6)).join(',');

/** Modules of the UNet that adapters change: projections of attention, and convolutions. */
const ADAPTED = ['to_q', 'to_k', 'to_v', 'to_out.0', 'proj_in', 'proj_out', 'conv1', 'conv2', 'conv_in', 'conv_out'];

const dmd2 = {
  ...{ batch: 16, lr: 4e-4, 'lr-scale': 'fake=2', beta1: 0, beta2: 0.99, 'weight-decay': 0, rate: 'linear', averages: 'constant:0.99' },
  ...{ ratio: 2, 'gan-weight': 0, 'checkpoint-every': 250 },
};
const consistency = {
  'sigma-min': 0, // the network's own scalings are EDM's, which are the identity there
  ...{ batch: 16, lr: 4e-4, rate: 'linear', averages: 'constant:0.995', 'checkpoint-every': 250 },
  ...{ data: 'teacher', 'teacher-samples': 2000, 'teacher-sample-steps': 8 },
};
const { threads: _judge, ...judge } = JUDGE_TRAINING;
const { threads: _autoencoder, ...autoencoder } = AUTOENCODER_TRAINING;
const { threads: _decoder, ...decoder } = DECODER_TRAINING;
const { threads: _teacher, ...teacher } = TEACHER_TRAINING;

export const FULL: Settings = {
  drawings: 24_000,
  ...{ judge, autoencoder, decoder, teacher },
  ...{ guidance: 2, teacherSteps: 18, prompts: 6000, measured: 500 },
  students: {
    'one-step-dmd2': { method: 'dmd2', flags: { ...dmd2, steps: 2500, guidance: 1.5 } },
    'one-step-cd': { method: 'cd', flags: { ...consistency, steps: 1500 } },
    'four-steps-dmd2': { method: 'dmd2', flags: { ...dmd2, steps: 1800, guidance: 1.5, 'student-levels': FOUR } },
  },
  style: {
    ...{ images: 300, rank: 8, targets: ADAPTED },
    training: { ...teacher, steps: 1500, batch: 16, rate: 1e-3, average: 'constant:0.99' },
    student: { method: 'dmd2', flags: { ...dmd2, steps: 1600, guidance: 1.5, 'lora-rank': 8, 'lora-targets': ADAPTED.join() } },
  },
};

const short = <T extends Training>(training: T): T => ({ ...training, steps: 4, batch: 4, average: null });
const few = ({ method, flags }: StudentSettings): StudentSettings => ({
  method,
  flags: {
    ...flags,
    ...{ steps: 2, batch: 2, 'checkpoint-every': 2 },
    ...('data' in flags ? { 'teacher-samples': 2, 'teacher-sample-steps': 2 } : {}),
  },
});
/** A run of all stages that learns nothing, for tests. */
export const TINY: Settings = {
  ...FULL,
  drawings: 60,
  ...{ judge: short(judge), autoencoder: short(autoencoder), decoder: short(decoder), teacher: short(teacher) },
  ...{ teacherSteps: 2, prompts: 4, measured: 2 },
  students: Object.fromEntries(Object.entries(FULL.students).map(([name, student]) => [name, few(student)])),
  style: { ...FULL.style, images: 4, rank: 2, training: short(teacher), student: few(FULL.style.student) },
};
