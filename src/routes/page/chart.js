
// ---- messages over time

const MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR; // milliseconds
const FEWEST_BARS = 12, MOST_BARS = 36; // of all the time
// Label, length of a bar, bars.
const SPANS = [['1 h', 2 * MINUTE, 30], ['24 h', HOUR, 24], ['7 d', 6 * HOUR, 28], ['30 d', DAY, 30], ['All']];
const STEPS = [1, 2, 5, 10, 30, 60, 120, 360, 720, 1440, 2880, 5760, 14400].map(minutes => minutes * MINUTE);
const FIRST = Date.parse('0000-01-01T00:00:00Z'), LAST = Date.parse('9999-12-31T23:59:59Z');

let span; // one of SPANS, chosen when the first figures are there
let bars = { counts: [] };
let reading = null; // the bar under the pointer or the keys

const iso = time => new Date(Math.min(Math.max(time, FIRST), LAST)).toISOString();
const minute = time => iso(time).slice(0, 16).replace('T', ' ');
const count = (value, noun) => number(value) + ' ' + noun + (value === 1 ? '' : 's');

// A number to end the scale with, whose half is a whole number too.
function scale(most) {
  let unit = 1;
  while (most > 10 * unit) unit *= 10;
  const ends = unit > 1 ? [1.2, 1.6, 2, 3, 4, 6, 8, 10] : [2, 4, 6, 8, 10];
  return ends.map(times => times * unit).find(end => end >= most);
}

function draw(node, values) {
  const top = scale(Math.max(0, ...values));
  node.replaceChildren(
    el('span', { class: 'high' }, number(top)), el('span', { class: 'half' }, number(top / 2)),
    ...values.map(value => {
      const bar = el('b', { class: value > 0 && 'some' });
      bar.style.height = 100 * value / top + '%';
      return el('i', {}, bar);
    }));
}

// The first bar's beginning, the length of one, and how many there are; null where there is nothing
// to show, or an old file has its own idea of time.
function divide(stats) {
  const [, step, many] = span;
  if (step) return { start: (Math.floor(Date.now() / step) + 1 - many) * step, step, many };
  const [first, last] = [Date.parse(stats.first_message_ts), Date.parse(stats.last_message_ts)];
  return first <= last ? divideAll(first, last) : null;
}

function divideAll(first, last) {
  const least = (last - first) / (MOST_BARS - 1);
  const step = STEPS.find(step => step >= least) || Math.ceil(least / (10 * DAY)) * 10 * DAY;
  const end = Math.floor(last / step) + 1;
  const many = Math.max(FEWEST_BARS, end - Math.floor(first / step));
  return { start: (end - many) * step, step, many };
}

// What to ask for: each bar's beginning, and the last one's end.
const edges = cut => Array.from({ length: cut.many + 1 }, (_, at) => iso(cut.start + at * cut.step));

function chart(cut, since) {
  // The last instant that a year of four digits can name belongs to the last bar.
  if (cut && iso(cut.start + cut.many * cut.step) === iso(LAST)) since[cut.many] = 0;
  bars = { ...cut, counts: cut ? since.slice(1).map((after, at) => since[at] - after) : [] };
  const node = byId('chart');
  draw(node, bars.counts);
  if (cut) {
    const edge = time => cut.step < DAY ? minute(time).slice(5) : minute(time).slice(0, 10);
    node.append(el('small', { class: 'from' }, edge(cut.start)), el('small', { class: 'to' }, edge(cut.start + cut.many * cut.step)));
  }
  node.setAttribute('aria-valuemax', Math.max(0, bars.counts.length - 1));
  read(bars.counts[reading] === undefined ? null : reading);
}

// Says what one bar stands for, or all of them.
function read(at) {
  reading = at;
  const node = byId('chart');
  node.querySelectorAll('i').forEach((bar, other) => bar.classList.toggle('read', other === at));
  const { start, step, counts } = bars;
  const when = at => minute(start + at * step) + ' to ' + minute(start + (at + 1) * step);
  const sum = counts.reduce((sum, value) => sum + value, 0);
  const most = counts.indexOf(Math.max(...counts));
  const text = at !== null ? when(at) + ': ' + count(counts[at], 'message')
    : !sum ? 'No messages in this time.'
      : count(sum, 'message') + '; most, ' + number(counts[most]) + ', from ' + when(most) + '.';
  put(byId('reading'), text);
  if (at !== null) node.setAttribute('aria-valuenow', at);
  node.setAttribute('aria-valuetext', text);
}

function startChart() {
  byId('span').append(...SPANS.map(one => {
    const choice = el('input', { type: 'radio', name: 'span' });
    choice.addEventListener('change', () => {
      span = one;
      figures().catch(troubled);
    });
    return el('label', {}, choice, one[0]);
  }));
  const node = byId('chart');
  const over = event => {
    const at = [...node.querySelectorAll('i')].indexOf(event.target.closest('i'));
    read(at < 0 ? null : at);
  };
  node.addEventListener('pointermove', over);
  node.addEventListener('pointerdown', over);
  node.addEventListener('pointerleave', () => read(null));
  node.addEventListener('blur', () => read(null));
  node.addEventListener('keydown', event => {
    const last = bars.counts.length - 1;
    const at = Number(node.getAttribute('aria-valuenow'));
    const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    read(Math.min(Math.max(to, 0), last));
  });
}
