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

// What takes the server a while comes after the page.
for (const place of document.querySelectorAll('[data-load]')) {
  const answer = await fetch(place.dataset.load).catch(() => null);
  if (answer?.ok) place.innerHTML = await answer.text();
  else place.textContent = (await answer?.json().catch(() => null))?.error ?? 'The server does not answer.';
}
