// The query: controls write it into the address, and the parts of the page that depend on it are fetched anew.
// Without this the page works as it was loaded; every address gives the same page when it is loaded again.

const WAIT = 40; // ms after a keystroke
const ONE_STEP = 2500; // ms: what is typed into one field within that is one step of the browser's history
const LIMIT = 5; // controls whose value is more than a keystroke wait less

let under_way = null;
let last = { control: null, time: 0 };
let timer = 0;
let waiting = null; // the control that the timer is for: what it says is newer than any answer

export function startLive() {
  document.addEventListener('input', ({ target }) => {
    if (target.matches('[data-filter]')) return addFilter(target);
    if (!target.matches('[data-live]')) return;
    clearTimeout(timer);
    waiting = target;
    timer = setTimeout(() => follow(target), target.tagName === 'SELECT' ? LIMIT : WAIT);
  });
  document.addEventListener('submit', (event) => {
    if (event.target.getAttribute('role') === 'search') event.preventDefault();
  });
  document.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-live-link]');
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    last = { control: null, time: 0 };
    show(link.href, { push: true, top: true });
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input:not([type=checkbox]), select, textarea')) return;
    if (document.querySelector('dialog[open]')) return;
    const wanted = { '/': '[name=q]', '[': 'a[rel=prev]', ']': 'a[rel=next]' }[event.key];
    const found = wanted && document.querySelector(wanted);
    if (!found) return;
    event.preventDefault();
    if (event.key === '/') found.select();
    else found.click();
  });
  if (document.querySelector('[data-live]')) window.addEventListener('popstate', () => show(location.href, { restore: true }));
}

/** A range of a column that is not among the filters yet; it counts once an end is typed. */
function addFilter({ value: column }) {
  document.querySelector('[data-filter]').value = '';
  const there = document.querySelector(`[data-id="${CSS.escape(`low:${column}`)}"]`);
  if (!there) {
    const chip = document.createElement('span');
    chip.className = 'b-chip';
    chip.append(`${column} `, document.querySelector('[data-ends]').content.cloneNode(true));
    for (const input of chip.querySelectorAll('input')) {
      input.dataset.column = column;
      input.dataset.id = `${input.dataset.end}:${column}`;
      input.setAttribute('aria-label', column + input.getAttribute('aria-label'));
    }
    document.querySelector('.b-chips').append(chip);
  }
  document.querySelector(`[data-id="${CSS.escape(`low:${column}`)}"]`).focus();
}

/** Takes up what a control says. */
function follow(control) {
  waiting = null;
  const address = written();
  sayWrong();
  if (isWrong(control)) return;
  const changes = wordsOf(address) !== wordsOf(location.href);
  const now = performance.now();
  const push = changes && (control !== last.control || now - last.time > ONE_STEP);
  if (changes) last = { control, time: now };
  show(address, { push, replace: !push, top: true });
}

/** An address in the one way of writing it in which it can be compared. */
function wordsOf(address) {
  const { pathname, searchParams } = new URL(address);
  searchParams.sort();
  return `${pathname}?${searchParams}`;
}

const isWrong = (control) => control.getAttribute('aria-invalid') === 'true';

/** Says below the bar what in the fields is no number. */
function sayWrong() {
  const place = document.querySelector('.b-chips');
  for (const old of place.querySelectorAll('[data-wrong]')) old.remove();
  for (const control of [...document.querySelectorAll('[data-live][data-column]')].filter(isWrong)) {
    const said = document.createElement('span');
    said.className = 'b-dropped';
    said.dataset.wrong = '';
    said.setAttribute('role', 'alert');
    said.textContent = `${control.getAttribute('aria-label')}: '${control.value.trim()}' is no number, and changes nothing.`;
    place.append(said);
  }
}

/** The address that the controls make; what they do not show of the query stays. */
export function written() {
  const address = new URL(location.href);
  const query = address.searchParams;
  query.delete('page');
  for (const control of document.querySelectorAll('[data-live][name]')) {
    const usual = control.tagName === 'SELECT' && control.selectedIndex === 0;
    if (control.value && !usual) query.set(control.name, control.value);
    else query.delete(control.name);
  }
  const ranges = new Map(query.getAll('range').map((text) => [text.replace(/:[^:]*:[^:]*$/, ''), text.split(':').slice(-2)]));
  for (const control of document.querySelectorAll('[data-live][data-column]')) {
    const ends = ranges.get(control.dataset.column) ?? ['', ''];
    const number = control.value.trim().replace(',', '.');
    const good = number === '' || Number.isFinite(Number(number));
    control.setAttribute('aria-invalid', String(!good));
    if (good) ends[control.dataset.end === 'low' ? 0 : 1] = number;
    ranges.set(control.dataset.column, ends);
  }
  query.delete('range');
  for (const [column, [low, high]] of ranges) if (low !== '' || high !== '') query.append('range', `${column}:${low}:${high}`);
  return address.href;
}

async function show(address, { push = false, replace = false, restore = false, top = false }) {
  if (push) history.pushState(null, '', address);
  else if (replace) history.replaceState(null, '', address);
  under_way?.abort();
  const mine = (under_way = new AbortController());
  document.documentElement.dataset.loading = '';
  // A browser asks for six things at a time: pictures that are on their way must not keep the rows waiting.
  for (const image of document.querySelectorAll('[data-part] img')) if (!image.complete) image.removeAttribute('src');
  try {
    const answer = await fetch(address, { signal: mine.signal });
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!answer.ok || !fresh.querySelector('[data-part=rows]')) return location.reload();
    exchange(fresh, restore);
    if (top) document.querySelector('[data-scroll]').scrollTop = 0;
    document.dispatchEvent(new Event('pom-shown'));
  } catch (error) {
    if (error.name !== 'AbortError') tell('The server does not answer: what you see is older than what you asked for.');
  } finally {
    if (mine === under_way) delete document.documentElement.dataset.loading;
  }
}

/** Puts the parts of a fresh page in the place of the old ones; the control that is typed into stays as it is. */
function exchange(fresh, restore) {
  const focused = document.activeElement;
  const id = focused?.dataset?.id;
  const { value, selectionStart, selectionEnd } = focused ?? {};
  for (const part of document.querySelectorAll('[data-part]')) {
    const other = fresh.querySelector(`[data-part=${part.dataset.part}]`);
    if (!other) continue;
    if (part.getAttribute('role') === 'status') part.innerHTML = other.innerHTML; // or it would not be read out
    else part.replaceWith(other);
  }
  for (const control of document.querySelectorAll('.b-bar [data-live]')) {
    const other = fresh.querySelector(`[data-id="${CSS.escape(control.dataset.id)}"]`);
    if (other && control !== waiting && (restore || control.tagName === 'SELECT')) control.value = other.value;
  }
  document.title = fresh.title;
  if (!id || document.activeElement === focused) return;
  const again = document.querySelector(`[data-id="${CSS.escape(id)}"]`);
  if (!again) return;
  again.focus({ preventScroll: true });
  if (again.tagName === 'INPUT' && !restore) {
    again.value = value;
    again.setAttribute('aria-invalid', focused.getAttribute('aria-invalid') ?? 'false');
    again.setSelectionRange(selectionStart, selectionEnd);
    sayWrong();
  }
}

/** A sentence at the foot of the page, for a while. */
export function tell(sentence) {
  const place = document.querySelector('[data-told]');
  place.textContent = sentence;
  place.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => (place.hidden = true), 8000);
}
