/** @file A chart whose reader chooses linear or logarithmic axes: one picture for each choice and two check boxes, without a script. */
import { escapeText } from './escape.ts';

export interface Axis {
  /** What the check box says. */
  readonly label: string;
  readonly logarithmic: boolean;
}
export interface Switchable {
  /** Unique on the page; letters, digits and hyphens. */
  readonly id: string;
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly note?: string;
  /** The picture for a choice of axes. */
  draw(axes: { readonly logX: boolean; readonly logY: boolean }): string;
}

const CHOICES = [false, true].flatMap((logX) => [false, true].map((logY) => ({ logX, logY })));
const nameOf = ({ logX, logY }: (typeof CHOICES)[number]): string => `${logX ? 'log' : 'lin'}-${logY ? 'log' : 'lin'}`;
const box = (id: string, kind: 'x' | 'y', { label, logarithmic }: Axis): string =>
  `<input type="checkbox" class="switch-${kind}" id="${id}-${kind}"${logarithmic ? ' checked' : ''}/><label for="${id}-${kind}">${escapeText(label)}</label>`;

/** The styles that show the chosen picture; they go into the page once. */
export const switchableStyle = [
  '.variant{display:none}',
  ...CHOICES.map((choice) => {
    const is = (on: boolean): string => (on ? ':checked' : ':not(:checked)');
    return `.switch-x${is(choice.logX)}~.switch-y${is(choice.logY)}~.plot .${nameOf(choice)}{display:block}`;
  }),
].join('');

/** The chart and its switches, which work by keyboard. */
export function renderSwitchable({ id, title, x, y, note, draw }: Switchable): string {
  const pictures = CHOICES.map((choice) => `<div class="variant ${nameOf(choice)}">${draw(choice)}</div>`);
  return `<figure class="switchable" id="${id}" role="group" aria-label="${escapeText(title)}">
<h3>${escapeText(title)}</h3>
${box(id, 'x', x)}
${box(id, 'y', y)}
<div class="plot" role="region" aria-label="${escapeText(title)}, scrollable" tabindex="0">
${pictures.join('\n')}
</div>${note ? `\n<figcaption>${escapeText(note)}</figcaption>` : ''}
</figure>`;
}
