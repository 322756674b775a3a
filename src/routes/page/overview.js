
// ---- what is stored, and what comes in

// Milliseconds.
const PERIOD = 2000; // between two looks at the metrics
const SETTLE = 10000; // messages that keep coming are counted and listed so often,
const REFRESH = 60000; // and what others did to the file is seen after so long
const LONGEST_PAUSE = 30000; // between two tries of a service that does not answer

const WAIT = 25; // seconds that the service is asked to wait for messages
const GATHER = 1000; // and so long some are gathered before they are listed

const LOOKS = 60; // looks at the metrics that are kept
const RECENT = 5; // of which so many make a rate

let stats; // the last figures
let looks = []; // at the metrics
let answered; // when the service did last
let failures = 0, turns = 0, counted = 0, refreshed = 0, stored, timer, running = false, hearing = false;

function bytes(value) {
  let unit = 0;
  for (; value >= 999.5 && unit < 4; unit++) value /= 1000;
  return Number(value.toPrecision(3)) + ' ' + ['B', 'kB', 'MB', 'GB', 'TB'][unit];
}

function ago(time) {
  const seconds = (time - Date.now()) / 1000;
  const [unit, length] = [['year', 31557600], ['month', 2629800], ['day', 86400], ['hour', 3600], ['minute', 60]]
    .find(([, length]) => Math.abs(seconds) >= 2 * length) || ['second', 1];
  return new Intl.RelativeTimeFormat('en', { style: 'short' }).format(Math.trunc(seconds / length), unit);
}

function say(kind, text) {
  byId('state').className = kind;
  put(byId('state'), text);
}

async function figures() {
  const mine = ++counted;
  let found = stats;
  let cut;
  try {
    for (let tries = 0; ; tries++) {
      cut = span && found ? divide(found) : null;
      found = await askJson('stats' + (cut ? '?messages_since=' + edges(cut) : ''));
      if (!span) prefer(Math.abs(Date.now() - Date.parse(found.last_message_ts)) < DAY ? 1 : 4);
      // All of the time may be longer by now than it was when it was cut.
      if (tries === 2 || JSON.stringify(divide(found)) === JSON.stringify(cut)) break;
    }
  } catch (trouble) {
    if (trouble.status === 0 || trouble.status === 401) throw trouble;
    put(byId('reading'), 'Not to be had now: ' + trouble.message);
    return;
  }
  if (mine !== counted) return;
  stats = found;
  totals();
  chart(cut, stats.messages_since);
  senders();
}

function prefer(choice) {
  span = SPANS[choice];
  byId('span').querySelectorAll('input')[choice].checked = true;
}

function totals() {
  const { total_messages: all, senders_count: senders, first_message_ts: first, last_message_ts: last } = stats;
  put(byId('total'), number(all));
  put(byId('first'), all ? 'since ' + clock(first) : 'none yet');
  put(byId('senders'), number(senders));
  put(byId('each'), senders ? count(Math.round(all / senders), 'message') + ' each on average' : 'none yet');
  put(byId('last'), all ? clock(last) : 'none yet');
  age();
}

function age() {
  const last = stats && stats.last_message_ts;
  const time = Date.parse(last);
  put(byId('latest'), isNaN(time) ? last || '–' : ago(time));
}

function senders() {
  const all = stats.messages_per_sender;
  const text = JSON.stringify(all);
  if (text === byId('top').dataset.of || byId('top').contains(document.activeElement)) return;
  byId('top').dataset.of = text;
  byId('top').replaceChildren(...all.length ? all.map(one => {
    const share = el('b', {});
    share.style.width = 100 * one.count / all[0].count + '%';
    return el('li', {}, sender(one.from), el('span', {}, number(one.count)), share);
  }) : [el('li', { class: 'soft' }, 'Nobody yet.')]);
}

// ---- the feed

// What comes is listed as it comes, a second's worth at a time. It is taken from the list, which has an order of its
// own and may be filtered; the feed says when.
async function hear() {
  if (hearing || document.hidden) return;
  hearing = true;
  try {
    while (!document.hidden && !byId('overview').hidden) {
      const { cursor } = await askJson('feed?after=now&limit=1');
      await list();
      await askJson('feed?limit=1&wait=' + WAIT + '&after=' + cursor, PATIENCE + 1000 * WAIT);
      await new Promise(then => setTimeout(then, GATHER));
    }
  } catch { /* the metrics find out why, and begin this again */ }
  hearing = false;
}

function consumers(now) {
  const lag = /^feed_lag_messages\{consumer="(.*)"\}$/;
  const names = Object.keys(now).map(series => series.match(lag)).filter(Boolean).map(found => found[1]).sort();
  byId('readers').hidden = !names.length;
  const seen = name => Date.now() - 1000 * now[`feed_consumer_seen_seconds{consumer="${name}"}`];
  byId('consumers').replaceChildren(table(['Consumer', 'Messages behind', 'Heard of'], names.map(name =>
    [name, number(now[`feed_lag_messages{consumer="${name}"}`]), ago(seen(name))])));
}

// ---- the metrics

async function live() {
  const text = await ask('metrics');
  const now = { at: performance.now() };
  for (const line of text.split('\n')) {
    const space = line.lastIndexOf(' ');
    if (space > 0 && line[0] !== '#') now[line.slice(0, space)] = Number(line.slice(space + 1));
  }
  // Counters of another process begin anew.
  if (looks.length && looks[0].process_start_time_seconds !== now.process_start_time_seconds) looks = [];
  looks = [...looks, now].slice(-LOOKS - 1);

  const grown = (name, a, b) => (b[name] || 0) - (a[name] || 0);
  const early = looks[Math.max(0, looks.length - 1 - RECENT)];
  const seconds = (now.at - early.at) / 1000;
  const result = name => `webhook_requests_total{result="${name}"}`;
  const status = code => `http_requests_total{path="/whatsapp",status="${code}"}`;
  const rate = (...series) => {
    const value = seconds ? series.reduce((sum, one) => sum + grown(one, early, now), 0) / seconds : 0;
    return value && value < 10 ? value.toFixed(1) : number(Math.round(value));
  };
  const created = 'store_messages_total';
  put(byId('rate'), rate(created));
  const pulse = looks.slice(1).map((look, at) => 1000 * grown(created, looks[at], look) / (look.at - looks[at].at));
  draw(byId('pulse'), [...Array(LOOKS - pulse.length).fill(0), ...pulse]);

  const spent = part => ['/webhook', '/whatsapp'].reduce((sum, path) =>
    sum + grown(`http_request_duration_seconds_${part}{path="${path}"}`, early, now), 0);
  const answers = spent('count');
  const size = name => now[`store_${name}_bytes`] || 0;
  const rows = {
    'Duplicates': rate(result('duplicate'), 'whatsapp_items_total{kind="message",result="duplicate"}') + ' a second',
    'Refused (401, 413, 422)': rate(...['invalid_signature', 'validation_error', 'too_large'].map(result), status(401), status(413)) + ' a second',
    'Put off (503)': rate(result('unavailable'), status(503)) + ' a second',
    'Answered within': answers ? (1000 * spent('sum') / answers).toPrecision(2) + ' ms on average' : '–',
    'Waiting to be stored': number(now.store_queue_depth || 0),
    'Open connections': number(now.http_connections || 0),
    'Memory': bytes(now.process_resident_memory_bytes || 0),
  };
  byId('live').replaceChildren(...Object.entries(rows).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
  consumers(now);
  put(byId('disk'), bytes(size('database') + size('wal') + size('index')));
  put(byId('files'), `database ${bytes(size('database'))}, log ${bytes(size('wal'))}, index ${bytes(size('index'))}`);
  return now.store_messages_total + '/' + now.process_start_time_seconds;
}

async function ready() {
  try {
    await ask('health/ready');
    return ['good', 'Ready'];
  } catch (trouble) {
    if (trouble.status !== 503) throw trouble;
    return ['warn', 'Not ready: ' + trouble.message];
  }
}

// ---- the clockwork

let standing;

async function tick() {
  clearTimeout(timer);
  if (running) return;
  running = true;
  let pause = PERIOD;
  try {
    if (turns++ % RECENT === 0 || failures) standing = await ready();
    const now = await live();
    admitted();
    hear();
    const since = Date.now() - refreshed;
    if (since >= REFRESH || now !== stored && since >= SETTLE) {
      [refreshed, stored] = [Date.now(), now];
      await Promise.all([figures(), list()]);
    }
    age();
    say(...standing);
    [failures, answered] = [0, Date.now()];
  } catch (trouble) {
    troubled(trouble);
    pause = trouble.status === 401 ? null : Math.min(PERIOD * 2 ** failures++, LONGEST_PAUSE);
  }
  running = false;
  // A tab that nobody looks at asks for nothing.
  if (pause && !document.hidden) timer = setTimeout(tick, pause);
}

function troubled(trouble) {
  if (trouble.status === 401) {
    say('warn', 'Token wanted');
    put(byId('refused'), token ? 'The service does not accept this token.' : '');
    byId('overview').hidden = true;
    byId('access').hidden = false;
    byId('token').focus();
  } else {
    refreshed = 0;
    say('bad', (trouble.status ? 'Not available: ' + trouble.message : 'No answer') +
      (answered ? ' since ' + iso(answered).slice(11, 19) : '') + '. Trying again…');
  }
}

function admitted() {
  const entering = byId('access').contains(document.activeElement);
  byId('access').hidden = true;
  byId('overview').hidden = false;
  if (entering) byId('main').focus();
}

function start() {
  startChart();
  byId('access').addEventListener('submit', event => {
    event.preventDefault();
    tick();
  });
  document.addEventListener('visibilitychange', () => document.hidden || tick());
  startMessages();
  say('', 'Connecting…');
  tick();
}

start();
