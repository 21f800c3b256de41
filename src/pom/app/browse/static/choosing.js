// Tomograms chosen by hand; the choice lasts from page to page, for this tab of the browser.

const KEY = `pom-chosen:${document.querySelector('.pom-project')?.title}`;
const chosen = new Set(JSON.parse(sessionStorage.getItem(KEY) ?? '[]'));
const BOX = 'input[type=checkbox][data-name]';
let anchor = null;

export const chosenNames = () => [...chosen];

export function startChoosing() {
  document.addEventListener('click', (event) => {
    const box = event.target.closest(BOX);
    if (box) return choose(box, event.shiftKey);
    const all = event.target.closest('[data-choose]');
    if (all?.dataset.choose === 'none') clear();
    else if (all) choosePage(all.checked);
  });
  document.addEventListener('pom-shown', mark);
  window.addEventListener('pageshow', mark);
  mark();
}

/** The bar of the choice goes; the focus, if it is there, to what was chosen last. */
export function clear() {
  const inBar = document.querySelector('[data-selected]').contains(document.activeElement);
  chosen.clear();
  keep();
  const last = boxes().find((box) => box.dataset.name === anchor) ?? document.querySelector('#main');
  if (inBar) last.focus({ preventScroll: true });
}

function boxes() {
  return [...document.querySelectorAll(BOX)];
}

/** One, or with Shift all from the one that was clicked before. */
function choose(box, range) {
  const all = boxes();
  const from = range && anchor ? all.findIndex((each) => each.dataset.name === anchor) : -1;
  const to = all.indexOf(box);
  const some = from < 0 ? [box] : all.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const each of some) set(each.dataset.name, box.checked);
  anchor = box.dataset.name;
  keep();
}

function choosePage(on) {
  for (const each of boxes()) set(each.dataset.name, on);
  keep();
}

function set(name, on) {
  if (on) chosen.add(name);
  else chosen.delete(name);
}

function keep() {
  sessionStorage.setItem(KEY, JSON.stringify([...chosen]));
  mark();
}

function mark() {
  const all = boxes();
  for (const box of all) {
    box.checked = chosen.has(box.dataset.name);
    box.closest('tr, li').toggleAttribute('data-chosen', box.checked);
  }
  const head = document.querySelector('[data-choose=page]');
  if (head) {
    const n = all.filter((box) => box.checked).length;
    head.checked = n > 0 && n === all.length;
    head.indeterminate = n > 0 && n < all.length;
  }
  const bar = document.querySelector('[data-selected]');
  bar.hidden = chosen.size === 0;
  bar.querySelector('[data-selected-count]').textContent = `${chosen.size.toLocaleString('en')} chosen`;
}
