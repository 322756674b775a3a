
// ---- the API, as openapi.json describes it

const SHOWN = ['content-type', 'x-request-id', 'link', 'retry-after', 'www-authenticate', 'allow'];
const MOST = 200000; // characters of a body that are shown

let spec;
const followed = new Set();

const code = text => el('code', {}, text);
const json = value => JSON.stringify(value, null, 2);
const block = (text, name) => el('pre', { tabindex: '0', class: name }, text);

// Text with `code` in it.
const inline = text => (text || '').split('`').map((part, i) => i % 2 ? code(part) : part);
const prose = text => (text || '').split('\n\n').filter(Boolean).map(part => el('p', {}, inline(part)));

function deref(value) {
  while (value && value.$ref) {
    followed.add(value.$ref);
    value = value.$ref.slice(2).split('/')
      .reduce((at, key) => at[key.replace(/~1/g, '/').replace(/~0/g, '~')], spec);
  }
  return value;
}

// ---- schemas

function typeOf(schema) {
  schema = deref(schema);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map(value => JSON.stringify(value)).join(' | ');
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ');
  if (schema.type === 'array') {
    const item = typeOf(schema.items || {});
    return 'array of ' + (item.includes(' | ') ? '(' + item + ')' : item);
  }
  return [].concat(schema.type || 'any').join(' | ');
}

function span(low, high, unit) {
  if (low === undefined && high === undefined) return [];
  const text = low === undefined ? 'at most ' + high : high === undefined ? 'at least ' + low : low + ' to ' + high;
  return [text + (unit ? ' ' + unit + ((high || low) === 1 ? '' : 's') : '')];
}

function rules(schema) {
  const found = [
    ...span(schema.minimum, schema.maximum),
    ...span(schema.minLength, schema.maxLength, 'character'),
    ...span(schema.minItems, schema.maxItems, 'item'),
  ];
  if (schema.default !== undefined) found.push('default ' + schema.default);
  return [
    found.length ? el('span', { class: 'tag' }, found.join(', ')) : null,
    schema.pattern ? el('span', { class: 'tag' }, code(schema.pattern)) : null,
  ];
}

function fields(schema, prefix = '') {
  schema = deref(schema);
  return Object.entries(schema.properties || {}).flatMap(([name, raw]) => {
    const field = deref(raw);
    const must = (schema.required || []).includes(name);
    const row = [
      [code(prefix + name), must ? null : el('span', { class: 'tag' }, 'optional')],
      typeOf(field),
      [prose(field.description), rules(field)],
    ];
    return [row, ...fields(field, prefix + name + '.'), ...(field.items ? fields(field.items, prefix + name + '[].') : [])];
  });
}

function schemaView(raw) {
  const schema = deref(raw);
  if (schema.anyOf) return schema.anyOf.flatMap((one, i) => [i ? el('p', { class: 'soft' }, 'or') : null, schemaView(one)]);
  const rows = fields(schema);
  return [prose(schema.description), rows.length ? table(['Field', 'Type', 'Meaning'], rows) : null];
}

function samples(holder) {
  if (holder.example !== undefined) return [[undefined, holder.example]];
  return Object.values(holder.examples || {}).map(one => [one.summary, deref(one).value]);
}

function contentView(content) {
  return Object.entries(content || {}).map(([type, media]) => [
    el('p', { class: 'soft' }, code(type)),
    schemaView(media.schema || {}),
    samples(media).map(([name, value]) => [
      el('h4', {}, name ? 'Example: ' + name : 'Example'),
      block(typeof value === 'string' ? value : json(value)),
    ]),
  ]);
}

// ---- an operation, to read

function paramTable(params) {
  return table(['Name', 'Type', 'Meaning'], params.map(param => {
    const given = samples(param).map(([, value]) => value);
    return [
      [code(param.name), el('span', { class: 'tag' }, param.in + (param.required ? ', required' : ''))],
      typeOf(param.schema),
      [prose(param.description), rules(deref(param.schema)),
        given.length ? el('span', { class: 'tag' }, 'e.g. ', given.map((value, i) => [i ? ', ' : '', code(String(value))])) : null],
    ];
  }));
}

function responseView(status, raw) {
  const answer = deref(raw);
  const heads = Object.entries(answer.headers || {}).map(([name, one]) => {
    const head = deref(one);
    const given = samples(head).map(([, value]) => value);
    return [code(name), typeOf(head.schema),
      [prose(head.description), given.length ? el('span', { class: 'tag' }, 'e.g. ', code(String(given[0]))) : null]];
  });
  return el('details', { class: 'res' },
    el('summary', {},
      status ? el('b', { class: 'code s' + status[0] }, status) : null,
      el('span', {}, inline(answer.description))),
    el('div', {},
      contentView(answer.content),
      heads.length ? [el('h4', {}, 'Headers'), table(['Header', 'Type', 'Meaning'], heads)] : null));
}

function operation(path, method, op, shared) {
  const params = [...(op.parameters || []), ...(shared || [])].map(deref);
  const body = deref(op.requestBody);
  const schemes = (op.security || []).flatMap(one => Object.keys(one));
  const bearer = schemes.some(name => spec.components.securitySchemes[name].scheme === 'bearer');
  const signed = method === 'post' && params.some(param => param.name === 'X-Signature');
  const tryIt = method === 'get' ? getForm(path, op, params, bearer) : signed ? signForm(path, op, params, body) : null;

  const card = el('details', { class: 'op', id: op.operationId },
    el('summary', {},
      el('span', { class: 'method ' + method }, method.toUpperCase()),
      el('span', { class: 'path' }, path),
      el('span', { class: 'soft' }, op.summary || '')),
    el('div', {},
      prose(op.description),
      bearer ? el('p', { class: 'soft' }, 'Wants ', code('Authorization: Bearer <token>'), ' if the service has an API token, and is open otherwise.') : null,
      params.length ? [el('h3', {}, 'Parameters'), paramTable(params)] : null,
      body ? [el('h3', {}, 'Request body'), prose(body.description), contentView(body.content)] : null,
      tryIt ? [el('h3', {}, 'Try it'), tryIt] : null,
      el('h3', {}, 'Responses'),
      Object.entries(op.responses).map(([status, one]) => responseView(status, one))));
  card.addEventListener('toggle', () => {
    if (card.open) history.replaceState(null, '', '#' + card.id);
  });
  return card;
}

// ---- an operation, to try

function field(id, name, note, input, wide) {
  input.id = id;
  return el('div', { class: wide && 'wide' }, el('label', { for: id }, name, note ? el('small', {}, note) : null), input);
}

// Inputs for the parameters, and what they hold.
function inputs(op, params) {
  const made = params.map(param => {
    const schema = deref(param.schema);
    const number = schema.type === 'integer';
    const [first] = samples(param);
    const hint = schema.default !== undefined ? schema.default : first && first[1];
    return { param, input: el('input', {
      type: number ? 'number' : 'text', min: schema.minimum, max: schema.maximum, maxlength: schema.maxLength,
      placeholder: hint, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false',
    }) };
  });
  return {
    made,
    nodes: made.map(({ param, input }) => field(op.operationId + '-' + param.name, param.name, param.in === 'header' ? 'header' : null, input)),
    read() {
      const query = new URLSearchParams();
      const headers = {};
      for (const { param, input } of made) {
        if (input.value === '') continue;
        if (param.in === 'query') query.append(param.name, input.value); else headers[param.name] = input.value;
      }
      return { query: query.toString(), headers };
    },
  };
}

const quote = text => "'" + text.replace(/'/g, "'\\''") + "'";

function curl(url, headers, extra) {
  return ['curl -sS ' + quote(String(url)),
    ...Object.entries(headers).map(([name, value]) => '-H ' + quote(name + ': ' + value)), ...(extra || [])].join(' \\\n  ');
}

async function send(out, url, init, line) {
  const shown = [el('h4', {}, 'Same with curl'), block(line, 'curl')];
  out.replaceChildren(...shown, el('p', { class: 'soft' }, 'Waiting for the answer…'));
  try {
    const began = performance.now();
    const answer = await fetch(url, { cache: 'no-store', ...init });
    const text = await answer.text();
    const took = Math.round(performance.now() - began);
    const type = answer.headers.get('content-type') || '';
    let body = text;
    if (type.includes('json')) try { body = json(JSON.parse(text)); } catch { /* shown as it came */ }
    if (body.length > MOST) body = body.slice(0, MOST) + '\n… ' + (body.length - MOST) + ' more characters';
    out.replaceChildren(...shown,
      el('h4', {}, 'Answer'),
      el('p', { role: 'status' }, el('b', { class: 'code s' + String(answer.status)[0] }, answer.status + ' ' + answer.statusText), el('span', { class: 'soft' }, ' in ' + took + ' ms')),
      el('dl', {}, SHOWN.filter(name => answer.headers.has(name)).map(name => [el('dt', {}, name), el('dd', {}, code(answer.headers.get(name)))])),
      body ? block(body) : el('p', { class: 'soft' }, 'No body.'));
    return answer;
  } catch (error) {
    out.replaceChildren(...shown, el('p', { class: 'bad', role: 'alert' }, 'No answer: ' + error.message));
  }
}

function getForm(path, op, params, bearer) {
  const given = inputs(op, params);
  const out = el('div', {});
  const acts = el('div', { class: 'acts' }, el('button', { type: 'submit' }, 'Send'));
  // Out of range is worth a try too: the service answers, not the browser.
  const form = el('form', { class: 'try', novalidate: true }, given.nodes.length ? el('div', { class: 'fields' }, given.nodes) : null, acts, out);
  const next = el('button', { type: 'button', class: 'plain' }, 'Next page');
  let following;
  next.addEventListener('click', () => {
    for (const { param, input } of given.made) if (param.in === 'query') input.value = following.get(param.name) ?? '';
    form.requestSubmit();
  });
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const { query, headers } = given.read();
    const url = new URL(path.slice(1) + (query ? '?' + query : ''), base);
    const sent = bearer && token;
    const line = curl(url, headers, sent ? ['-H "Authorization: Bearer $API_TOKEN"'] : []);
    if (sent) headers.Authorization = 'Bearer ' + token;
    const answer = await send(out, url, { headers }, line);
    const link = /<([^>]*)>\s*;\s*rel="?next"?/.exec(answer && answer.headers.get('link') || '');
    if (link) {
      following = new URL(link[1], url).searchParams;
      acts.append(next);
    } else if (next.isConnected) {
      if (document.activeElement === next) acts.firstChild.focus();
      next.remove();
    }
  });
  return form;
}

async function hmac(secret, bytes) {
  const key = await crypto.subtle.importKey('raw', new TextEncoder().encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const mac = new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes));
  return Array.from(mac, byte => byte.toString(16).padStart(2, '0')).join('');
}

function signForm(path, op, params, body) {
  const id = op.operationId;
  const media = body.content['application/json'];
  const secret = el('input', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
  const text = el('textarea', { rows: '8', spellcheck: 'false', autocapitalize: 'off' });
  text.value = json(media.example);
  const given = inputs(op, params.filter(param => param.name !== 'X-Signature'));
  const out = el('div', {});
  const form = el('form', { class: 'try' },
    el('div', { class: 'fields' },
      field(id + '-body', 'Body', 'signed and sent exactly as written', text, true),
      field(id + '-secret', 'Secret', 'stays in this page, never stored', secret),
      given.nodes),
    el('div', { class: 'acts' },
      el('button', { type: 'submit' }, 'Sign and send'),
      el('button', { type: 'submit', class: 'plain', value: 'sign' }, 'Sign only')),
    out);
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const bytes = new TextEncoder().encode(text.value);
    const url = new URL(path.slice(1), base);
    const headers = { 'Content-Type': 'application/json', ...given.read().headers };
    const data = '--data-raw ' + quote(text.value);
    if (!globalThis.crypto || !crypto.subtle) {
      out.replaceChildren(
        el('p', { class: 'bad', role: 'alert' }, 'A browser signs only on pages that came over https or from localhost. With curl:'),
        block('body=' + quote(text.value) + '\n' + curl(url, headers, [
          '-H "X-Signature: $(printf %s "$body" | openssl dgst -sha256 -hmac "$WEBHOOK_SECRET" -r | cut -d" " -f1)"',
          '--data-raw "$body"']), 'curl'));
      return;
    }
    headers['X-Signature'] = await hmac(secret.value, bytes);
    const line = curl(url, headers, [data]);
    if (event.submitter && event.submitter.value === 'sign') {
      out.replaceChildren(el('h4', {}, 'Signature'), block(headers['X-Signature'], 'curl'), el('h4', {}, 'Same with curl'), block(line, 'curl'));
    } else {
      await send(out, url, { method: 'POST', headers, body: bytes }, line);
    }
  });
  return form;
}

// ---- the page

function openFromHash() {
  const card = byId(location.hash.slice(1));
  if (card && card.matches('details')) {
    card.open = true;
    card.scrollIntoView();
  }
}

function render() {
  const { info, tags = [], paths } = spec;
  document.title = info.title + ': API';
  byId('head').replaceChildren(
    ...prose(info.summary), ...prose(info.description),
    el('p', {}, el('a', { href: './openapi.json' }, 'openapi.json'), ' is this description for programs (OpenAPI ' + spec.openapi + ').'));

  const all = Object.entries(paths).flatMap(([path, item]) => ['get', 'post', 'put', 'patch', 'delete']
    .filter(method => item[method])
    .map(method => ({ tag: (item[method].tags || [])[0], card: operation(path, method, item[method], item.parameters) })));
  const others = Object.entries(spec.components.responses).filter(([name]) => !followed.has('#/components/responses/' + name));
  byId('ops').replaceChildren(
    ...tags.map(tag => el('section', {},
      el('h2', {}, tag.name, el('small', {}, tag.description || '')),
      all.filter(one => one.tag === tag.name).map(one => one.card))),
    ...(others.length ? [el('section', {}, el('h2', {}, 'Anything else'), others.map(([, one]) => responseView('', one)))] : []));
  openFromHash();
  addEventListener('hashchange', openFromHash);
}

async function start() {
  byId('access').hidden = false;
  byId('access').querySelector('button').remove();
  byId('access').addEventListener('submit', event => event.preventDefault());
  try {
    spec = JSON.parse(await ask('openapi.json'));
    render();
  } catch (error) {
    byId('ops').replaceChildren(el('p', { class: 'bad', role: 'alert' }, 'The description could not be loaded: ' + error.message));
  }
}

start();
