// What the pages do beyond links: filters that answer while one types, a choice of tomograms, subsets.
import { startChoosing } from './choosing.js';
import { startLive } from './live.js';
import { startSubsets } from './subsets.js';

startLive();
startChoosing();
startSubsets();

// A picture that cannot be shown says so; some may have failed before this was loaded.
document.addEventListener('error', ({ target }) => target.tagName === 'IMG' && sayBroken(target), true);
for (const image of [...document.images]) if (image.src && image.complete && !image.naturalWidth) sayBroken(image);

function sayBroken(image) {
  const words = document.createElement('span');
  words.className = 'pom-muted pom-small';
  words.textContent = 'picture cannot be read';
  image.replaceWith(words);
}

// The bars of a spread are one stop of Tab; the arrows go from bar to bar.
document.addEventListener('keydown', (event) => {
  const bar = event.target.closest?.('[data-bars] a');
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!bar || !step || event.ctrlKey || event.metaKey || event.altKey) return;
  const bars = [...bar.parentNode.querySelectorAll('a')];
  const next = bars[bars.indexOf(bar) + step];
  if (!next) return;
  event.preventDefault(); // or the page would be scrolled aside
  bar.setAttribute('tabindex', '-1');
  next.setAttribute('tabindex', '0');
  next.focus();
});

// What takes the server a while comes after the page.
for (const place of document.querySelectorAll('[data-load]')) {
  const answer = await fetch(place.dataset.load).catch(() => null);
  if (answer?.ok) place.innerHTML = await answer.text();
  else place.textContent = (await answer?.json().catch(() => null))?.error ?? 'The server does not answer.';
}
