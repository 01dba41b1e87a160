/** @file What keeps a watched page up to date in the browser: plain JavaScript that the page loads from its own server. */

/** Replaces the content when the server says that there is more, and leaves to the reader what he has chosen, opened and focused. */
export const watchScript = `'use strict';
(() => {
  const main = document.getElementById('content');
  const say = (text) => { const status = document.getElementById('status'); if (status) status.textContent = text; };
  const choices = () => [...main.querySelectorAll('input[id], details[id]')].map((one) => [one.id, one.checked, one.open]);
  const focus = () => {
    const one = document.activeElement;
    if (!one || !main.contains(one) || one === main) return null;
    const label = one.getAttribute('aria-label');
    const id = one.tagName === 'SUMMARY' ? one.parentElement.id : one.id;
    return () => {
      const again = id ? document.getElementById(id) : regions().find((region) => region.getAttribute('aria-label') === label);
      return one.tagName === 'SUMMARY' ? again?.querySelector('summary') : again;
    };
  };
  const regions = () => [...main.querySelectorAll('[role=region]')];
  const scrolled = () => regions().map((one) => [one.getAttribute('aria-label'), one.scrollLeft]);
  let shown = null;
  let busy = false;
  let again = false;
  const update = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch('/', { cache: 'no-store' });
      if (!answer.ok) throw new Error(await answer.text());
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('content');
      const [chosen, places, focused] = [choices(), scrolled(), focus()];
      main.replaceChildren(...next.childNodes);
      for (const [id, checked, open] of chosen) {
        const one = document.getElementById(id);
        if (!one) continue;
        if (one.tagName === 'DETAILS') one.open = open; else one.checked = checked;
      }
      for (const [label, left] of places) {
        const one = regions().find((region) => region.getAttribute('aria-label') === label);
        if (one) one.scrollLeft = left;
      }
      focused?.()?.focus({ preventScroll: true });
    } catch (error) {
      say('not updated: ' + error.message);
    } finally {
      busy = false;
      if (again) { again = false; update(); }
    }
  };
  const events = new EventSource('/events');
  events.addEventListener('update', ({ data }) => {
    if (shown !== data) update();
    shown = data;
  });
  events.addEventListener('error', () => say('the server has ended, so this page shows the last that it knew; start onestep watch again'));
})();
`;
