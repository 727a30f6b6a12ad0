const find = (id) => document.getElementById(id);
const form = find('request');
let state, operation;

/** Return an element. All content is text: a path, a claim or a log line is never parsed as HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function show(text, isGood = true) {
  find('message').textContent = text;
  find('message').className = isGood ? 'good' : 'bad';
}

// The secret is in the fragment of the printed URL. It is stored for this tab, so that links from error pages work.
function takeFragment() {
  const fragment = location.hash.slice(1);
  if (/^[\w-]{43}$/.test(fragment)) {
    sessionStorage.setItem('secret', fragment);
    history.replaceState(null, '', location.pathname);
  }
  return fragment.startsWith('history=') ? decodeURIComponent(fragment.slice(8)) : null;
}

async function request(name, fields) {
  const headers = { 'X-Console-Secret': sessionStorage.getItem('secret') ?? '' };
  if (!headers['X-Console-Secret']) throw Error('Open the URL of the console that craft serve has printed.');
  const options = fields ? { method: 'POST', body: JSON.stringify(fields) } : {};
  if (fields) headers['Content-Type'] = 'application/json';
  const response = await fetch(`/console/${name}`, { ...options, headers });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Error(`${body.details ?? body.error ?? `The server responded with ${response.status}`}.`);
  }
  return response;
}

async function call(name, fields) {
  const result = await (await request(name, fields)).json();
  if (result.problem) throw Error(result.problem);
  return result;
}

// Token

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const encode = (value) => btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

function decode(token) {
  const parts = token.split('.');
  if (!token) throw Error('There is no token. Mint one, or paste one.');
  if (parts.length !== 3) throw Error(`A token has three segments with dots between them; this has ${parts.length}.`);
  const [header, claims] = ['header', 'claims'].map((name, index) => {
    try {
      const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes(parts[index])));
      if (value && typeof value === 'object' && !Array.isArray(value)) return value;
    } catch { /* the message is the same */ }
    throw Error(`The ${name} of the token is not a JSON object in base64url.`);
  });
  return { header, claims, parts };
}

function edited(id, name) {
  try {
    const value = JSON.parse(find(id).value);
    if (value && typeof value === 'object' && !Array.isArray(value)) return value;
  } catch { /* the message is the same */ }
  throw Error(`${name}: expected a JSON object.`);
}

function setToken(token) {
  form.token.value = token;
  showDecoded();
}

function showDecoded() {
  const token = form.token.value.trim();
  find('problem').textContent = '';
  try {
    const { header, claims } = decode(token);
    find('decoded-header').value = JSON.stringify(header, null, 2);
    find('decoded-claims').value = JSON.stringify(claims, null, 2);
  } catch (error) {
    find('decoded-header').value = find('decoded-claims').value = '';
    find('problem').textContent = token ? error.message : '';
  }
}

async function sign(header, claims, otherKey = false) {
  const alg = state.algorithms.includes(header.alg) ? header.alg : state.algorithms[0];
  const { kid, ...rest } = header;
  const kept = otherKey || alg !== header.alg ? rest : header;
  setToken((await call('sign', { header: { ...kept, alg }, claims, other_key: otherKey })).token);
}

const breaks = {
  expire: ({ header, claims }) => sign(header, { ...claims, exp: Math.floor(Date.now() / 1000) - 3600 }),
  tamper: ({ parts }) => {
    if (!parts[2]) throw Error('The token has no signature to tamper with.');
    setToken([parts[0], parts[1], (parts[2][0] === 'A' ? 'B' : 'A') + parts[2].slice(1)].join('.'));
  },
  audience: ({ header, claims }) => sign(header, { ...claims, aud: 'https://other.example/' }),
  key: ({ header, claims }) => sign(header, claims, true),
  none: ({ header, parts }) => setToken([encode({ ...header, alg: 'none' }), parts[1], ''].join('.')),
  alg: ({ header, parts }) => {
    const alg = header.alg === 'HS256' ? state.algorithms[0] : 'HS256';
    setToken([encode({ ...header, alg }), parts[1], parts[2]].join('.'));
  },
  scope: ({ header, claims }) => {
    const names = state.scopeClaims.map((path) => path.split('.')[0]).filter((name) => name in claims);
    if (!names.length) throw Error('The token has no scopes to remove.');
    return sign(header, Object.fromEntries(Object.entries(claims).filter(([name]) => !names.includes(name))));
  },
};

// Routes and the request

const resolve = (schema = {}) => (schema.$ref
  ? resolve(schema.$ref.slice(2).split('/').reduce((part, name) => part?.[name], state.document)) : schema);

function example(given, depth = 0) {
  const schema = resolve(given);
  if ('default' in schema) return schema.default;
  if (schema.examples?.length) return schema.examples[0];
  if ('const' in schema) return schema.const;
  if (schema.enum) return schema.enum[0];
  const other = schema.anyOf ?? schema.oneOf;
  if (other) return example(other[0], depth);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'object' || schema.properties) {
    return depth > 5 ? {} : Object.fromEntries(
      Object.entries(schema.properties ?? {}).map(([name, each]) => [name, example(each, depth + 1)]));
  }
  if (type === 'array') return depth > 5 ? [] : [example(schema.items, depth + 1)];
  if (type === 'integer' || type === 'number') return schema.minimum ?? (schema.exclusiveMinimum ?? 0) + 1;
  return { boolean: true, null: null, string: 'text' }[type] ?? null;
}

function operations() {
  return Object.entries(state.document.paths).flatMap(([path, methods]) => Object.entries(methods)
    .map(([method, details]) => ({ method: method.toUpperCase(), path, details })));
}

const scopesOf = ({ details }) => details.security?.flatMap((each) => Object.values(each).flat());

function listRoutes() {
  const wanted = find('filter').value.toLowerCase();
  const all = operations();
  const found = all.filter(({ method, path, details }) => `${method} ${path} ${details.summary} ${details.tags}`
    .toLowerCase().includes(wanted));
  const groups = Map.groupBy?.(found, ({ details }) => details.tags?.[0] ?? '') ?? new Map([['Routes', found]]);
  const empty = all.length ? 'No route matches.' : 'No routes yet. Add one to routes/web.py.';
  find('routes').className = '';
  find('routes').replaceChildren(...(found.length ? [...groups].flatMap(([group, routes]) => [
    make('h2', { className: 'group', textContent: group }), ...routes.map(routeButton)]) : [make('p', { className: 'empty' }, empty)]));
}

function routeButton(each) {
  const scopes = scopesOf(each);
  const guard = scopes ? `guarded${scopes.length ? `: ${scopes.join(' ')}` : ''}` : 'no guard';
  const button = make('button', { type: 'button', className: 'route', onclick: () => select(each) },
    make('span', { className: 'method' }, each.method), ' ', each.path, make('small', {}, guard));
  const isCurrent = operation?.path === each.path && operation.method === each.method;
  button.setAttribute('aria-current', String(isCurrent));
  return button;
}

function select(each) {
  operation = each;
  const { details } = each;
  find('operation').textContent = `${each.method} ${each.path}`;
  find('summary').textContent = details.summary ?? '';
  find('send').disabled = false;
  find('parameters').replaceChildren(...(details.parameters ?? []).map((parameter) => make('label', {},
    `${parameter.name} (${parameter.in}${parameter.required ? ', required' : ''})`,
    Object.assign(make('input', { autocomplete: 'off', required: Boolean(parameter.required) }), { parameter }))));
  const content = details.requestBody?.content;
  find('body-part').hidden = !content;
  const schema = content?.['application/json']?.schema;
  form.body.value = schema ? JSON.stringify(example(schema), null, 2) : '';
  find('faults').replaceChildren();
  if (scopesOf(each)?.length) form.scope.value = scopesOf(each).join(' ');
  listRoutes();
}

function filled() {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of find('parameters').querySelectorAll('input')) {
    const { name, in: place } = input.parameter;
    if (place === 'path') path = path.replace(`{${name}}`, () => encodeURIComponent(input.value));
    else if (input.value && place === 'query') query.append(name, input.value);
    else if (input.value && place === 'header') headers[name] = input.value;
  }
  for (const line of form.headers.value.split('\n').filter((each) => each.trim())) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line.trim()) ?? [];
    if (!name) throw Error(`Headers: expected Name: value in the line ${line.trim()}`);
    headers[name] = value;
  }
  const body = find('body-part').hidden ? '' : form.body.value;
  if (body && !Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')) {
    headers['Content-Type'] = Object.keys(operation.details.requestBody.content)[0];
  }
  if (body && headers['Content-Type'] === 'application/json') {
    try { JSON.parse(body); } catch (error) { throw Error(`Body: not JSON: ${error.message}`); }
  }
  const text = query.toString();
  return { method: operation.method, path: path + (text && `?${text}`), token: form.token.value.trim(), headers, body };
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const snippets = {
  curl: (url, { method, body }, headers) => ['curl -i', `-X ${method}`,
    ...Object.entries(headers).map(([name, value]) => `-H ${quote(`${name}: ${value}`)}`),
    ...(body ? [`--data-raw ${quote(body)}`] : []), quote(url)].join(' '),
  python: (url, { method, body }, headers) => `import requests\n\nresponse = requests.request(${JSON.stringify(method)}, `
    + `${JSON.stringify(url)}, headers=${JSON.stringify(headers)}`
    + `${body ? `, data=${JSON.stringify(body)}.encode()` : ''}, timeout=10)\nprint(response.status_code, response.text)\n`,
  fetch: (url, { method, body }, headers) => `const response = await fetch(${JSON.stringify(url)}, `
    + `${JSON.stringify({ method, headers, ...(body ? { body } : {}) }, null, 2)});\nconsole.log(await response.text());\n`,
};

async function copy(kind) {
  const sent = filled();
  const headers = { ...sent.headers };
  if (sent.token) headers[state.header] = `${state.scheme} ${sent.token}`.trim();
  await navigator.clipboard.writeText(snippets[kind](location.origin + sent.path, sent, headers));
}

// Response

const LONGEST = 200_000, MOST_CHILDREN = 200;

/** Return JSON as a tree. A folded part is made when it is opened. */
function tree(value, name, depth = 0) {
  const label = name === undefined ? '' : `${JSON.stringify(name)}: `;
  if (value === null || typeof value !== 'object') return make('div', {}, label + JSON.stringify(value).slice(0, 5000));
  const isList = Array.isArray(value), entries = Object.entries(value);
  const details = make('details', {}, make('summary', {}, `${label}${isList ? '[' : '{'} ${entries.length} ${isList ? ']' : '}'}`));
  let shown = 0;
  const fill = () => {
    const more = make('button', { type: 'button', textContent: 'Show more', onclick: () => { more.remove(); fill(); } });
    details.append(...entries.slice(shown, shown + MOST_CHILDREN)
      .map(([key, each]) => tree(each, isList ? undefined : key, depth + 1)));
    shown += MOST_CHILDREN;
    if (shown < entries.length) details.append(more);
  };
  details.addEventListener('toggle', () => { if (details.open && !shown) fill(); });
  if (depth < 3 && entries.length <= 50) { details.open = true; fill(); }
  return details;
}

function showBody(text) {
  const box = find('response');
  try {
    const value = JSON.parse(text);
    box.replaceChildren(tree(value));
    showFaults(value);
  } catch {
    const cut = text.length > LONGEST ? `\n… ${text.length - LONGEST} more characters` : '';
    box.replaceChildren(text.slice(0, LONGEST) + cut);
  }
}

function showFaults(value) {
  const faults = value?.error === 'Validation failed' && Array.isArray(value.details) ? value.details : [];
  find('faults').replaceChildren(...faults.map((each) => make('li', {}, `${each.field}: ${each.message}`)));
}

async function send() {
  const sent = filled();
  for (const id of ['rules', 'faults', 'response']) find(id).replaceChildren();
  find('status').textContent = find('timing').textContent = '';
  const response = await request('send', sent);
  if (response.headers.get('content-type')?.startsWith('application/json')) throw Error((await response.json()).problem);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let head, text = '';
  const began = performance.now();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    if (!head && text.includes('\n')) {
      head = JSON.parse(text.slice(0, text.indexOf('\n')));
      text = text.slice(text.indexOf('\n') + 1);
      showHead(head);
    }
    if (head && text.length < LONGEST) find('response').textContent = text;
  }
  find('timing').textContent = `${head.ms} ms to headers, ${Math.round(performance.now() - began)} ms to read, ${text.length} characters`;
  showBody(text);
  show(`Response: status ${head.status}.`, head.status < 400);
  showRules(sent.token ? (await call('verify', { token: sent.token })).rules : []);
}

function showHead({ status, reason, headers }) {
  find('no-response').hidden = true;
  find('response').hidden = find('response-headers').hidden = false;
  find('status').textContent = `${status} ${reason}`;
  find('status').className = `badge ${kind(status)}`;
  find('response-headers').lastElementChild.textContent = headers.map(([name, value]) => `${name}: ${value}`).join('\n');
}

const kind = (status) => (status < 300 ? 'good' : status < 400 ? '' : status < 500 ? 'warn' : 'bad');

function showRules(rules) {
  find('no-rules').hidden = rules.length > 0;
  find('rules').replaceChildren(...rules.map(({ rule, passed, reason, found, expected }) => make('li', {},
    make('span', { className: passed === null ? 'quiet' : passed ? 'good' : 'bad' },
      passed === null ? '– ' : passed ? '✓ ' : `✗ ${reason} `), rule,
    make('small', {}, `found: ${found}`), ...(expected ? [make('small', {}, `expected: ${expected}`)] : []))));
}

// Tabs

const table = (names, rows) => make('table', {}, make('thead', {}, make('tr', {}, ...names.map((name) => {
  const cell = make('th', {}, name);
  cell.scope = 'col';
  return cell;
}))), make('tbody', {}, ...rows.map((row) => make('tr', {}, ...row.map((each) => make('td', {}, String(each)))))));
const empty = (text) => make('p', { className: 'empty' }, text);

function entry(each, wanted) {
  const details = make('details', { className: 'entry', open: each.rid === wanted }, make('summary', {},
    make('span', { className: kind(each.status) }, `${each.status} `), make('span', { className: 'method' }, each.method),
    ' ', each.path, make('span', { className: 'quiet' },
      ` ${each.reason} ${each.ms} ms, ${new Date(each.time * 1000).toLocaleTimeString()}`)));
  details.append(make('p', { className: 'quiet' }, `Route ${each.route}, rid ${each.rid}`));
  if (each.exception) {
    details.append(make('h3', {}, 'Exception'), make('pre', { className: 'bad' }, `${each.exception.type}: ${each.exception.message}`));
    for (const frame of each.exception.frames) {
      details.append(make('p', {}, `${frame.file}, line ${frame.line}, in ${frame.function}`), make('pre', {},
        frame.source.map(([number, line]) => `${number === frame.line ? '→' : ' '} ${number}  ${line}`).join('\n')));
    }
  }
  if (each.statements.length) details.append(make('h3', {}, 'SQL'), table(['Statement', 'ms'], each.statements.map(({ sql, ms }) => [sql, ms])));
  if (each.lines.length) details.append(make('h3', {}, 'Log'), make('pre', {}, each.lines.join('\n')));
  return details;
}

const views = {
  bench: () => [],
  async history(wanted) {
    const { entries } = await call('history');
    return [make('h2', {}, 'The last requests to this server'),
      ...(entries.length ? entries.map((each) => entry(each, wanted)) : [empty('No requests yet. Send one, or use curl.')])];
  },
  async keys() {
    const { issuers, keys } = await call('state');
    return [make('h2', {}, 'Issuers'), table(['Issuer', 'Fetched', 'Next refresh', 'Last failure'],
      issuers.map((each) => [each.issuer, each.age === null ? 'never' : `${each.age} s ago`, `in ${each.next} s`,
        each.failure ? `${each.cause}: ${each.failure}` : 'none'])),
    make('h2', {}, 'Keys'), table(['Key id', 'Algorithm', 'State'], keys.map((each) => [each.kid, each.algorithm, each.state]))];
  },
  async settings() {
    const { settings } = await call('settings');
    return [make('h2', {}, 'Settings'), table(['Name', 'Value', 'Comes from'],
      settings.map((each) => [each.name, each.value, each.origin]))];
  },
  async gateway() {
    const { folder, files, left_out: leftOut, warnings } = await call('gateway');
    if (!folder) return [empty('No gateway project was found. Create one beside this project:'), make('pre', {}, 'python craft zuplo:export ../gateway')];
    return [make('h2', {}, `craft zuplo:export ${folder}`),
      ...(files.length ? files.map((each) => make('details', { open: files.length === 1 }, make('summary', {}, each.path), make('pre', {}, each.difference)))
        : [empty('An export would change nothing.')]),
      ...warnings.map((each) => make('p', { className: 'warn' }, each)),
      ...(leftOut.length ? [make('h3', {}, 'Not exported'), table(['Route', 'Reason'], leftOut)] : [])];
  },
};

async function open(name, argument) {
  for (const tab of document.querySelectorAll('[role=tab]')) {
    const isOpen = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    find(tab.getAttribute('aria-controls')).hidden = !isOpen;
  }
  if (name === 'bench') return;
  find(name).replaceChildren(empty('Loading…'));
  try {
    find(name).replaceChildren(...await views[name](argument));
    find(name).querySelector('details[open]')?.scrollIntoView();
  } catch (error) {
    find(name).replaceChildren(make('p', { className: 'bad' }, error.message));
  }
}

/** Run an action, and show its message or its problem. */
async function run(action, message) {
  try {
    await action();
    if (message) show(message);
  } catch (error) {
    show(error.message, false);
  }
}

async function start() {
  const wanted = takeFragment();
  state = await call('state');
  form.alg.replaceChildren(...state.algorithms.map((name) => make('option', {}, name)));
  const first = operations().find(scopesOf) ?? operations()[0];
  if (first) select(first); else listRoutes();
  if (wanted) await open('history', wanted);
}

const tabs = [...document.querySelectorAll('[role=tab]')];
tabs.forEach((tab, index) => {
  tab.onclick = () => open(tab.id.slice(4));
  tab.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) { const next = tabs.at((index + step) % tabs.length); next.focus(); next.click(); }
  };
});
find('filter').oninput = () => state && listRoutes();
form.token.oninput = showDecoded;
form.onsubmit = (event) => { event.preventDefault(); run(send); };
find('mint').onclick = () => run(async () => setToken((await call('token', {
  sub: form.sub.value, scope: form.scope.value.trim(), aud: state.audience, alg: form.alg.value,
  ttl: Number(form.ttl.value), claims: form.claims.value || '{}' })).token), 'Token minted.');
find('resign').onclick = () => run(() => sign(
  edited('decoded-header', 'Header'), edited('decoded-claims', 'Claims')), 'Token signed again.');
for (const button of document.querySelectorAll('[data-break]')) {
  button.onclick = () => run(() => breaks[button.dataset.break](decode(form.token.value.trim())),
    `Token changed: ${button.textContent.toLowerCase()}.`);
}
for (const button of document.querySelectorAll('[data-copy]')) {
  button.onclick = () => run(() => copy(button.dataset.copy), 'Copied.');
}
const begin = () => run(start);
addEventListener('hashchange', begin);
begin();
