// The settings of the pictures: what was changed here, a preview of it, saving it, and drawing all pictures anew.
import { tell } from './live.js';

const WAIT = 220; // ms after a change before it is drawn
const LOOK = 2000; // ms between looks at a rendering
const API = '/api/settings';
const SAID = { running: 'Rendering', done: 'Rendered', failed: 'Rendering failed', stopped: 'Rendering was stopped', lost: 'Rendering ended without a word' };

const find = (selector) => document.querySelector(selector);
const page = find('.s-page');
const list = find('[data-list]');
const rows = [...document.querySelectorAll('[data-feature]')];
const numbers = [...document.querySelectorAll('[data-feature] [type=number]')];
let initial = looks(); // as they were saved
let compositions = JSON.parse(page.dataset.compositions);
let before = JSON.stringify(compositions);
let shown = Number(page.dataset.shown); // of the compositions
let timer = 0;
let drawing = null;
let saving = false;
let starting = false; // a rendering
const me = String(Math.random()).slice(2);

/** What a feature's row says. */
function look(row) {
  const value = (key) => row.querySelector(`[data-key=${key}]`);
  const number = (key) => Number(value(key).value);
  return { colour: value('colour').value, level: number('level'), dust: number('dust'), render_alpha: number('render_alpha'), hide: value('hide').checked };
}

function looks() {
  return new Map(rows.map((row) => [row, look(row)]));
}

/** What is wrong with the numbers, a sentence; '' where nothing is. */
function fault() {
  const wrong = numbers.filter((input) => {
    const { valueMissing, badInput, rangeUnderflow, rangeOverflow } = input.validity;
    const bad = valueMissing || badInput || rangeUnderflow || rangeOverflow;
    input.setAttribute('aria-invalid', String(bad));
    return bad;
  });
  if (!wrong.length) return '';
  const [first] = wrong;
  const { min, max } = first;
  return `${first.getAttribute('aria-label')} must be a number ${max ? `from ${min} to ${max}` : `of at least ${min}`}.`;
}

/** The features that are not as they were saved, each with what differs. */
function changed() {
  const features = {};
  for (const row of rows) {
    const [now, then] = [look(row), initial.get(row)];
    const differing = Object.entries(now).filter(([key, value]) => value !== then[key]);
    row.toggleAttribute('data-changed', differing.length > 0);
    if (differing.length) features[row.dataset.feature] = Object.fromEntries(differing);
  }
  return features;
}

const compositionsChanged = () => JSON.stringify(compositions) !== before;

function isChanged() {
  return Object.keys(changed()).length > 0 || compositionsChanged();
}

/** The buttons; `otherwise`: what is said where all is saved. */
function showState(otherwise = '') {
  const any = isChanged();
  const wrong = fault() !== '';
  find('[data-save]').disabled = saving || wrong || !any;
  find('[data-render]').disabled = saving || starting || wrong || find('[data-job]').dataset.state === 'running';
  find('[data-saved]').textContent = saving ? 'saving …' : any ? 'not saved' : otherwise;
}

/** After every change: the buttons, and soon the picture. */
function follow() {
  showState();
  find('[data-picture]').toggleAttribute('data-busy', true);
  clearTimeout(timer);
  timer = setTimeout(preview, WAIT);
}

async function preview() {
  drawing?.abort();
  find('[data-picture]').toggleAttribute('data-busy', true);
  say('drawing …', false);
  const mine = (drawing = new AbortController());
  const entries = compositions[shown]?.entries ?? [];
  const wanted = { page: me, tomogram: find('[data-tomogram]').value.trim(), entries, features: changed() };
  try {
    const wrong = fault();
    if (wrong) throw new Error(wrong);
    if (!wanted.tomogram) throw new Error('Choose a tomogram, of which there is a segmentation, to see a picture of it.');
    const answer = await send('POST', `${API}/preview`, wanted, mine.signal);
    const image = find('[data-picture] img');
    const address = URL.createObjectURL(await answer.blob());
    URL.revokeObjectURL(image.src);
    image.src = address;
    await image.decode();
    image.hidden = false;
    const missing = decodeURIComponent(answer.headers.get('pom-missing') ?? '');
    say(missing && `There is no segmentation of ${missing} here.`, false);
  } catch (error) {
    if (mine.signal.aborted) return;
    find('[data-picture] img').hidden = true;
    say(error.message, true);
  }
  if (mine === drawing) {
    find('[data-picture]').removeAttribute('data-busy');
    page.dataset.drawn = Number(page.dataset.drawn ?? 0) + 1;
  }
}

function say(sentence, fault) {
  const place = find('[data-says]');
  place.textContent = sentence;
  place.toggleAttribute('data-fault', fault);
}

/** What the server answers; an error is its sentence. */
async function send(method, address, body, signal) {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  const answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal }).catch((error) => {
    throw signal?.aborted ? error : new Error('The server does not answer: is pom browse still running?');
  });
  if (answer.ok) return answer;
  throw new Error((await answer.json().catch(() => null))?.error ?? `The server answers ${answer.status}.`);
}

/** Saves what is changed, once at a time; returns whether all is saved then. */
async function save() {
  const body = { features: changed(), compositions: compositionsChanged() ? compositions : null, tag: page.dataset.tag };
  const sent = { looks: looks(), compositions: JSON.stringify(compositions) }; // it can change before the answer comes
  saving = true;
  showState();
  try {
    const { tag, said } = await (await send('PUT', API, body)).json();
    if (said) tell(said);
    page.dataset.tag = tag;
    initial = sent.looks;
    before = sent.compositions;
    return !isChanged();
  } catch (error) {
    tell(error.message);
    return false;
  } finally {
    saving = false;
    showState('saved');
  }
}

// Compositions

function draw() {
  const colours = new Map(rows.map((row) => [row.dataset.feature, look(row).colour]));
  list.replaceChildren(
    ...compositions.map((composition, index) => {
      const item = find('[data-one]').content.cloneNode(true).firstElementChild;
      const name = item.querySelector('[data-name]');
      name.value = composition.name;
      name.addEventListener('input', () => {
        composition.name = name.value;
        follow();
      });
      const radio = item.querySelector('[type=radio]');
      radio.checked = index === shown;
      radio.setAttribute('aria-label', `Show ${composition.name} in the preview`);
      radio.addEventListener('change', () => {
        shown = index;
        follow();
      });
      item.querySelector('[data-drop]').addEventListener('click', () => {
        compositions.splice(index, 1);
        shown = Math.max(0, shown > index || shown === compositions.length ? shown - 1 : shown);
        renew();
      });
      const last = item.querySelector('[data-new]');
      last.setAttribute('aria-label', `Add to ${composition.name}`);
      last.before(...composition.entries.map((entry, place) => chip(composition, entry, place, colours.get(entry))));
      last.addEventListener('change', () => {
        const entry = last.value.trim();
        if (!entry || composition.entries.includes(entry)) return void (last.value = '');
        composition.entries.push(entry);
        renew();
        list.children[index]?.querySelector('[data-new]').focus();
      });
      return item;
    }),
  );
}

function chip(composition, entry, place, colour) {
  const span = document.createElement('span');
  span.className = 's-entry';
  if (colour) {
    const dot = document.createElement('i');
    dot.style.background = colour;
    span.append(dot);
  }
  const drop = document.createElement('button');
  drop.type = 'button';
  drop.textContent = '×';
  drop.setAttribute('aria-label', `Take ${entry} out of ${composition.name}`);
  drop.addEventListener('click', () => {
    composition.entries.splice(place, 1);
    renew();
  });
  span.append(entry, drop);
  return span;
}

function renew() {
  draw();
  follow();
}

// Drawing all pictures anew

async function render() {
  if (isChanged() && !(await save())) return;
  starting = true;
  showState(find('[data-saved]').textContent);
  try {
    showJob(await (await send('POST', `${API}/rendering`)).json(), true);
  } catch (error) {
    tell(error.message);
  } finally {
    starting = false;
    showState(find('[data-saved]').textContent);
  }
}

async function watch() {
  const answer = await send('GET', `${API}/rendering`).catch(() => null);
  if (answer) showJob(await answer.json(), watch.seen);
}

/** Shows a job; one that ended before this page was there is no news. */
function showJob({ state, done, total, last }, seen) {
  const running = state === 'running';
  find('[data-job]').dataset.state = state;
  watch.seen = seen || running;
  find('[data-job]').hidden = !watch.seen || !state;
  showState(find('[data-saved]').textContent);
  find('[data-stop]').hidden = !running;
  const bad = state === 'failed' || state === 'lost';
  const text = find('[data-job-text]');
  text.textContent = `${SAID[state] ?? ''}${running && total ? `: ${done} of ${total} tomograms` : ''}${bad || state === 'done' ? `: ${last}` : ''}`;
  text.toggleAttribute('data-fault', bad);
  find('[data-share]').style.width = running ? `${total ? (100 * done) / total : 3}%` : state === 'done' ? '100%' : '0';
  clearTimeout(watch.timer);
  if (running) watch.timer = setTimeout(watch, LOOK);
}

for (const row of rows) row.addEventListener('input', follow);
for (const input of document.querySelectorAll('[data-key=colour]')) input.addEventListener('change', draw);
find('[data-tomogram]').addEventListener('change', follow);
find('[data-add]').addEventListener('click', () => {
  compositions.push({ name: `Composition ${compositions.length + 1}`, entries: [] });
  shown = compositions.length - 1;
  renew();
  list.lastElementChild.querySelector('[data-name]').select();
});
find('[data-save]').addEventListener('click', save);
find('[data-render]').addEventListener('click', render);
find('[data-stop]').addEventListener('click', async () => {
  const answer = await send('DELETE', `${API}/rendering`).catch((error) => tell(error.message));
  if (answer) showJob(await answer.json(), true);
});
window.addEventListener('beforeunload', (event) => {
  if (isChanged()) event.preventDefault();
});

draw();
await Promise.all([preview(), watch()]);
