
// ---- the latest messages

const ROWS = 20;
const filters = ['q', 'from', 'since'];

let filter = {}; // as it was sent last
let total = 0; // messages that match it
let end = null; // how many matches come before the end of the page; null: the newest, whatever comes
let listed; // what the table was made of
let asked = 0;

const number = value => value.toLocaleString('en');
// `2025-01-15T10:00:00.5Z` to read; what an old file holds in another form stays as it is.
const clock = ts => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(ts) ? ts.slice(0, 10) + ' ' + ts.slice(11, 19) : ts;

// The list begins with the oldest, so its length has to be known to ask for the newest, and may have
// grown meanwhile. A page further back stays where it is, whatever comes.
async function page() {
  for (let tries = 0; ; tries++) {
    const known = total; // another list may be on its way
    const last = Math.min(end ?? known, known);
    const offset = Math.max(0, last - ROWS);
    const wanted = { ...filter, limit: Math.max(1, last - offset), offset, original: 1 };
    const found = await askJson('messages?' + new URLSearchParams(wanted));
    if (found.total === known || tries === 3) return { rows: found.data.slice(0, last - offset).reverse(), offset, last };
    total = found.total;
  }
}

// Does not move anything under the hand of whoever is reading.
async function list(forced) {
  const chosen = getSelection();
  const inUse = byId('list').contains(chosen.isCollapsed ? document.activeElement : chosen.anchorNode);
  if (!forced && listed && (inUse || end !== null)) return;
  const mine = ++asked;
  byId('list').setAttribute('aria-busy', 'true');
  try {
    const { rows, offset, last } = await page();
    if (mine !== asked) return;
    const now = JSON.stringify(rows);
    if (now !== listed) byId('list').replaceChildren(rows.length ? rowsView(rows) : nothing());
    listed = now;
    put(byId('found'), rows.length ? number(total - last + 1) + '–' + number(total - offset) + ' of ' + number(total) : '');
    byId('newer').setAttribute('aria-disabled', last >= total);
    byId('older').setAttribute('aria-disabled', offset === 0);
  } catch (trouble) {
    if (mine !== asked) return;
    if (trouble.status === 0 || trouble.status === 401) throw trouble;
    listed = undefined;
    byId('list').replaceChildren(el('p', { class: 'bad', role: 'alert' }, 'Not to be had now: ' + trouble.message));
    put(byId('found'), '');
  } finally {
    if (mine === asked) byId('list').removeAttribute('aria-busy');
  }
}

function nothing() {
  return el('p', { class: 'soft' }, Object.keys(filter).length ? 'No message matches.' : [
    'No message yet. ', el('a', { href: './docs#receiveMessage' }, 'Send one'), ' and it appears here.']);
}

function rowsView(rows) {
  return table(['Time', 'From', 'To', 'Text'], rows.map(row => {
    const { kind, name } = beside(row);
    return [
      el('time', { title: 'sent as ' + row.ts }, clock(row.ts)),
      [sender(row.from), name && el('bdi', { class: 'tag name' }, name)], el('bdi', {}, row.to),
      [row.text ? el('p', { class: 'text', dir: 'auto' }, row.text) : el('p', { class: 'soft' }, row.text === null ? 'no text' : 'empty text'),
        kind && el('bdi', { class: 'tag kind' }, kind), el('bdi', { class: 'tag' }, row.message_id)],
    ];
  }));
}

// What WhatsApp has sent beside a message. It may be of any shape: only what is a text is shown.
function beside(row) {
  const value = row.original?.value;
  const text = one => typeof one === 'string' && one ? one.slice(0, 100) : undefined;
  return { kind: text(value?.messages?.[0]?.type), name: text(value?.contacts?.[0]?.profile?.name) };
}

function sender(name) {
  const button = el('button', { type: 'button', class: 'link', title: 'Show the messages of this sender' }, el('bdi', {}, name));
  button.addEventListener('click', () => {
    for (const other of filters) byId(other).value = other === 'from' ? name : '';
    byId('search').requestSubmit();
    byId('from').focus();
  });
  return button;
}

const given = () => Object.fromEntries(filters
  .map(name => [name, name === 'q' ? byId(name).value : byId(name).value.trim()]).filter(([, value]) => value));

// The part of the address behind the # is not sent to anybody.
function search(event) {
  event.preventDefault();
  filter = given();
  history.replaceState(null, '', '#' + new URLSearchParams(filter));
  total = 0;
  turn(null);
}

function turn(to) {
  end = to;
  list(true).catch(troubled);
}

function startMessages() {
  const kept = new URLSearchParams(location.hash.slice(1));
  for (const name of filters) byId(name).value = kept.get(name) || '';
  filter = given();
  byId('search').addEventListener('submit', search);
  byId('search').addEventListener('reset', () => setTimeout(() => byId('search').requestSubmit()));
  const go = (button, where) => byId(button).addEventListener('click', () => {
    if (byId(button).getAttribute('aria-disabled') !== 'true') turn(where(Math.min(end ?? total, total)));
  });
  go('newer', last => last + ROWS < total ? last + ROWS : null);
  go('older', last => last - ROWS);
}
