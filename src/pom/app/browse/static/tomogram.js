// The page of one tomogram: its features switch the shades over the slices, and the surfaces beside them.
import { MeshView } from './scene.js';
import { SliceView } from './viewer.js';

const ADDRESS_WAIT = 400; // ms; browsers refuse to change the address more often than 100 times in 30 s

const page = document.querySelector('.t-page');
const [slices, scene] = ['[data-slices]', '[data-scene]'].map((name) => page.querySelector(name));
const rows = [...page.querySelectorAll('[data-feature]')];
const plane = scene.querySelector('[data-plane]');

// What is switched on goes along to the next tomogram.
const KEY = `pom-tomogram:${document.querySelector('.pom-project').title}`;
const chosen = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
const keep = () => sessionStorage.setItem(KEY, JSON.stringify(chosen));

/** Says what is wrong, of each thing on a line of its own; '' takes it back. */
function saying(stage) {
  const place = stage.querySelector('[data-says]');
  const said = new Map();
  return (title, sentence) => {
    if ((said.get(title) ?? '') === sentence) return;
    if (sentence) said.set(title, sentence);
    else said.delete(title);
    place.textContent = [...said].map(([about, words]) => (about ? `${about}: ${words}` : words)).join('\n');
    place.toggleAttribute('data-fault', said.size > 0);
  };
}

const asked = new URL(location.href).searchParams.get('z');
const sayOfSlices = saying(slices);
const sayOfScene = saying(scene);
const view = new SliceView(slices, page.dataset.tomogram, { say: sayOfSlices, shown });
const solid = new MeshView(scene, JSON.parse(page.dataset.box), { say: sayOfScene });
let solidReady = false;
let addressTimer = 0;

/** A slice is on the screen: the way to the annotation and the plane follow, and soon the address. */
function shown(picture, z) {
  addressTimer ||= setTimeout(showAddress, ADDRESS_WAIT);
  const annotate = document.querySelector('[data-annotate]');
  if (annotate) annotate.href = `${annotate.href.split('?')[0]}?z=${z}`;
  if (solidReady && plane.checked) solid.plane(picture, z, view.nm);
}

function showAddress() {
  addressTimer = 0;
  // Not by URLSearchParams, which would write the colons of the query another way.
  const rest = location.search.replace(/([?&])z=[^&]*&?/, '$1').replace(/[?&]$/, '');
  history.replaceState(history.state, '', `${location.pathname}${rest}${rest ? '&' : '?'}z=${view.z}`);
}

async function startSlices() {
  try {
    if (!('here' in page.dataset)) throw new Error('Its volume is not in the folder, so that there are no slices to see.');
    const layers = await view.open(asked === null || Number.isNaN(Number(asked)) ? undefined : Number(asked));
    const there = new Set(layers.map((layer) => layer.id));
    for (const row of rows) readyToLay(row, there.has(row.dataset.layer));
    plane.disabled = false;
  } catch (error) {
    sayOfSlices('', error.message);
    plane.disabled = true;
    plane.checked = false;
  }
}

function readyToLay(row, there) {
  const [box, opacity] = [row.querySelector('[data-over]'), row.querySelector('[data-opacity]')];
  const { feature, layer, colour } = row.dataset;
  box.disabled = !there;
  if (!there) return void (box.title = 'There is no segmentation of it');
  opacity.value = chosen.opacity?.[feature] ?? opacity.value;
  const change = () => {
    opacity.hidden = !box.checked;
    if (box.checked) view.lay(layer, feature, colour, opacity.value / 100);
    else view.take(layer);
  };
  box.addEventListener('change', () => {
    (chosen.over ??= {})[feature] = box.checked;
    keep();
    change();
  });
  opacity.addEventListener('input', () => {
    (chosen.opacity ??= {})[feature] = opacity.value;
    keep();
    change();
  });
  box.checked = chosen.over?.[feature] ?? false;
  if (box.checked) change();
}

async function startScene() {
  try {
    await solid.open();
  } catch {
    sayOfScene('', 'This browser cannot draw in three dimensions: it has no WebGL.');
    for (const row of rows) row.querySelector('[data-solid]').disabled = true;
    return;
  }
  solidReady = true;
  plane.checked = Boolean(chosen.plane) && !plane.disabled;
  if (plane.checked && view.depth) solid.plane(view.picture, view.z, view.nm);
  plane.addEventListener('change', () => {
    chosen.plane = plane.checked;
    keep();
    solid.plane(plane.checked ? view.picture : null, view.z, view.nm);
  });
  scene.querySelector('[data-front]').addEventListener('click', () => solid.front());
  for (const row of rows) readyToShow(row);
}

function readyToShow(row) {
  const box = row.querySelector('[data-solid]');
  const { feature, mesh, level } = row.dataset;
  if (!mesh) return;
  const change = async () => {
    if (!box.checked) return solid.hide(feature);
    row.toggleAttribute('data-busy', true);
    await solid.show(feature, mesh, level);
    row.toggleAttribute('data-busy', false);
  };
  box.addEventListener('change', () => {
    (chosen.solid ??= {})[feature] = box.checked;
    keep();
    change();
  });
  box.checked = chosen.solid?.[feature] ?? 'shown' in row.dataset;
  if (box.checked) change();
}

// A picture in full, over the page.
const large = document.querySelector('[data-large]');
page.addEventListener('click', (event) => {
  const link = event.target.closest('[data-whole]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  large.querySelector('img').src = link.href;
  large.querySelector('p').textContent = `${page.dataset.tomogram}: ${link.dataset.whole}`;
  large.showModal();
});
large.addEventListener('click', () => large.close());

await Promise.all([startSlices(), startScene()]);
page.dataset.ready = '';
