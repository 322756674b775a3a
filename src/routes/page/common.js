'use strict';

// Whatever a sender controls becomes a text node or the value of a field, never markup: the policy
// of this page makes the browser refuse anything else.

// Where the API is: beside this page, so that a proxy may put both under a folder.
const base = new URL('.', location.href);
const TOKEN = 'lyftr-webhook-api-token';
const PATIENCE = 15000; // milliseconds; a query is given up by the service after ten seconds
const byId = id => document.getElementById(id);

function el(tag, attrs, ...kids) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...kids.flat(9).filter(kid => kid !== undefined && kid !== null));
  return node;
}

function table(heads, rows) {
  return el('table', {},
    el('thead', {}, el('tr', {}, heads.map(head => el('th', { scope: 'col' }, head)))),
    el('tbody', {}, rows.map(([first, ...rest]) =>
      el('tr', {}, el('th', { scope: 'row' }, first), rest.map(cell => el('td', {}, cell))))));
}

// Says it once: a screen reader would read it again.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

for (const link of document.querySelectorAll('nav a')) {
  if (link.pathname === location.pathname) link.setAttribute('aria-current', 'page');
}

// ---- the token

let token = '';
try { token = sessionStorage.getItem(TOKEN) || ''; } catch { /* storage is off: kept while the page is open */ }
byId('token').value = token;
byId('token').addEventListener('input', () => {
  token = byId('token').value.trim();
  try {
    if (token) sessionStorage.setItem(TOKEN, token); else sessionStorage.removeItem(TOKEN);
  } catch { /* as above */ }
});

// ---- the service

// `status` is 0 where there was no answer at all.
class Trouble extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, patience = PATIENCE) {
  // What cannot stand in a header cannot be the token either.
  if (!/^[!-~]*$/.test(token)) throw new Trouble(401, 'invalid token');
  let answer;
  let text;
  try {
    answer = await fetch(new URL(path, base), {
      cache: 'no-store', signal: AbortSignal.timeout(patience),
      headers: token ? { Authorization: 'Bearer ' + token } : {},
    });
    text = await answer.text();
  } catch {
    throw new Trouble(0, 'no answer');
  }
  if (answer.ok) return text;
  let detail;
  try { detail = JSON.parse(text).detail; } catch { /* from a proxy, say */ }
  if (Array.isArray(detail)) detail = detail.map(one => one.msg).join('; ');
  throw new Trouble(answer.status, String(detail || 'status ' + answer.status));
}

const askJson = async (path, patience) => JSON.parse(await ask(path, patience));
