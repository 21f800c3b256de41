// Subsets: the dialog that makes one, and the buttons of their page.
import { chosenNames, clear } from './choosing.js';
import { tell } from './live.js';

let source = null; // 'found', 'chosen' or 'one'
let one = null; // the tomogram of 'one'

export function startSubsets() {
  const dialog = document.querySelector('[data-dialog]');
  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-subset], [data-remove], [data-close]');
    if (button?.dataset.subset) open(dialog, button);
    else if (button?.dataset.remove) remove(button.dataset);
    else if (button) dialog.close();
  });
  dialog.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    make(dialog, event.submitter?.value ?? 'new');
  });
  dialog.querySelector('input').addEventListener('input', () => conflict(dialog, ''));
  document.querySelector('[data-import]')?.addEventListener('change', ({ target }) => importFile(target));
}

function open(dialog, button) {
  source = button.dataset.subset;
  one = button.dataset.one;
  const n = source === 'chosen' ? chosenNames().length : Number(button.dataset.count);
  const whence = source === 'chosen' ? 'that you have chosen' : 'that the query finds';
  dialog.querySelector('[data-dialog-what]').textContent = one ? `Of ${one}. Give the title of a subset that is there to add to it.` : `Of the ${n === 1 ? 'tomogram' : `${n.toLocaleString('en')} tomograms`} ${whence}.`;
  conflict(dialog, '');
  dialog.querySelector('input').value = '';
  dialog.showModal();
}

/** Says what is wrong, and offers what to do where there is such a subset already. */
function conflict(dialog, sentence, there = false) {
  dialog.querySelector('[data-dialog-fault]').textContent = sentence;
  for (const button of dialog.querySelectorAll('[data-there]')) button.hidden = !there;
  dialog.querySelector('[data-new]').hidden = there;
}

async function make(dialog, mode) {
  const title = dialog.querySelector('input').value;
  const what = source !== 'found' ? { names: source === 'one' ? [one] : chosenNames() } : { query: location.search.slice(1) };
  const { status, answer } = await ask('POST', '/api/subsets', JSON.stringify({ title, mode, ...what }));
  if (status !== 200) return conflict(dialog, answer.error, status === 409);
  dialog.close();
  if (source === 'chosen') clear();
  tell(`The subset ${answer.title} has ${answer.count.toLocaleString('en')} tomogram${answer.count === 1 ? '' : 's'} now.`);
  offer(answer.title);
}

/** Puts a new subset among those to choose from. */
function offer(title) {
  const list = document.querySelector('select[name=subset]');
  if (!list || [...list.options].some((option) => option.value === title)) return;
  list.add(new Option(title, title)); // without a value its blanks would be run together
  document.querySelector('#subset-titles').append(new Option(title, title));
}

async function remove({ remove: path, title }) {
  if (!confirm(`Remove the subset ${title}? The tomograms stay.`)) return;
  const { status, answer } = await ask('DELETE', path);
  if (status === 200) location.reload();
  else tell(answer.error);
}

async function importFile(input) {
  const file = input.files[0];
  if (!file) return;
  const { status, answer } = await ask('POST', `/api/subsets/import?file=${encodeURIComponent(file.name)}`, file);
  input.value = '';
  if (status !== 200) return tell(answer.error);
  sessionStorage.setItem('pom-told', answer.said);
  location.reload();
}

const told = sessionStorage.getItem('pom-told');
if (told) {
  sessionStorage.removeItem('pom-told');
  tell(told);
}

async function ask(method, address, body) {
  try {
    const answer = await fetch(address, { method, body });
    return { status: answer.status, answer: await answer.json() };
  } catch {
    return { status: 0, answer: { error: 'The server does not answer: is pom browse still running?' } };
  }
}
