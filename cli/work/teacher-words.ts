/** @file Words that stand for what a teacher brings along. */

/** What a teacher's own samples are called as a data set. */
export const TEACHER_DATA = 'teacher';
/** Modules that have adapters where none are named: the projections of attention layers, as diffusers and EDM call them. */
export const USUAL_TARGETS: readonly string[] = ['to_q', 'to_k', 'to_v', 'to_out.0', 'qkv', 'attn.proj'];
