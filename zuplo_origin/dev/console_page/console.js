const find = (id) => document.getElementById(id);
const form = find('request');
let state,
  operation,
  received = '',
  sending = null;

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

async function request(name, fields, signal) {
  const headers = { 'X-Console-Secret': sessionStorage.getItem('secret') ?? '' };
  if (!headers['X-Console-Secret']) throw Error('Open the URL of the console that craft serve has printed.');
  const options = fields ? { method: 'POST', body: JSON.stringify(fields), signal } : {};
  if (fields) headers['Content-Type'] = 'application/json';
  const response = await fetch(`/console/${name}`, { ...options, headers }).catch((error) => {
    throw error.name === 'AbortError' ? error : Error('The server does not respond. Is craft serve running?');
  });
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw Error(`${body.details ?? body.error ?? `The server responded with ${response.status}`}.`);
  }
  return response;
}

async function call(name, fields, read = JSON.parse) {
  const result = read(await (await request(name, fields)).text());
  if (result.problem) throw Error(result.problem);
  return result;
}

// Tabs

function table(names, rows, className = '') {
  const heads = names.map((name) => Object.assign(make('th', {}, name), { scope: 'col' }));
  const cells = (row) =>
    row.map((each, at) => {
      const cell = make('td', {}, make('span', {}, String(each)));
      cell.dataset.name = names[at];
      return cell;
    });
  return make(
    'table',
    { className },
    make('thead', {}, make('tr', {}, ...heads)),
    make('tbody', {}, ...rows.map((row) => make('tr', {}, ...cells(row)))),
  );
}

const empty = (text) => make('p', { className: 'empty' }, text);

function entry(each, wanted) {
  const details = make(
    'details',
    { className: 'entry', open: each.rid === wanted },
    make(
      'summary',
      {},
      make('span', { className: `badge ${kind(each.status)}` }, String(each.status)),
      ' ',
      make(
        'span',
        { className: 'path' },
        make('span', { className: `method ${each.method}` }, each.method),
        ` ${each.path}`,
      ),
      make(
        'span',
        { className: 'quiet' },
        [each.reason, `${each.ms} ms`, new Date(each.time * 1000).toLocaleTimeString()].filter(Boolean).join(' · '),
      ),
    ),
  );
  details.append(make('p', { className: 'quiet' }, `Route ${each.route}, rid ${each.rid}`));
  if (each.exception) {
    details.append(
      make('h3', {}, 'Exception'),
      make('pre', { className: 'bad' }, `${each.exception.type}: ${each.exception.message}`),
    );
    for (const frame of each.exception.frames) {
      details.append(
        make('p', {}, `${frame.file}, line ${frame.line}, in ${frame.function}`),
        make(
          'pre',
          {},
          frame.source.map(([number, line]) => `${number === frame.line ? '→' : ' '} ${number}  ${line}`).join('\n'),
        ),
      );
    }
  }
  if (each.statements.length) {
    const ms = each.statements.reduce((sum, one) => sum + one.ms, 0);
    details.append(
      make(
        'h3',
        {},
        `SQL: ${each.statements.length} statement${each.statements.length === 1 ? '' : 's'}, ${ms.toFixed(2)} ms`,
      ),
      table(
        ['Statement', 'Time'],
        each.statements.map(({ sql, ms: each }) => [sql, `${each} ms`]),
        'sql',
      ),
    );
  }
  if (each.lines.length) details.append(make('h3', {}, 'Log'), make('pre', {}, each.lines.join('\n')));
  return details;
}

const views = {
  bench: () => [],
  async history(wanted) {
    const { entries } = await call('history');
    const again = make('button', {
      type: 'button',
      className: 'small',
      textContent: 'Refresh',
      onclick: () => open('history'),
    });
    return [
      make('div', { className: 'title' }, make('h2', {}, 'The last requests to this server'), again),
      ...(entries.length
        ? entries.map((each) => entry(each, wanted))
        : [empty('No requests yet. Send one, or use curl.')]),
    ];
  },
  async keys() {
    const { issuers, keys } = await call('state');
    return [
      make('h2', {}, 'Issuers'),
      table(
        ['Issuer', 'Fetched', 'Next refresh', 'Last failure'],
        issuers.map((each) => [
          each.issuer,
          each.age === null ? 'never' : `${each.age} s ago`,
          `in ${each.next} s`,
          each.failure ? `${each.cause}: ${each.failure}` : 'none',
        ]),
      ),
      make('h2', {}, 'Keys'),
      table(
        ['Key id', 'Algorithm', 'State'],
        keys.map((each) => [each.kid, each.algorithm, each.state]),
      ),
    ];
  },
  async settings() {
    const { settings } = await call('settings');
    return [
      make('h2', {}, 'Settings'),
      table(
        ['Name', 'Value', 'Comes from'],
        settings.map((each) => [each.name, each.value, each.origin]),
      ),
    ];
  },
  async gateway() {
    const { folder, files, left_out: leftOut, warnings } = await call('gateway');
    if (!folder)
      return [
        make(
          'div',
          { className: 'empty' },
          'No gateway project was found. Create one beside this project:',
          make('pre', {}, 'python craft zuplo:export ../gateway'),
        ),
      ];
    return [
      make('h2', {}, `craft zuplo:export ${folder}`),
      ...(files.length
        ? files.map((each) =>
            make(
              'details',
              { open: files.length === 1 },
              make('summary', {}, each.path),
              make('pre', {}, each.difference),
            ),
          )
        : [empty('An export would change nothing.')]),
      ...warnings.map((each) => make('p', { className: 'warn' }, each)),
      ...(leftOut.length ? [make('h3', {}, 'Not exported'), table(['Route', 'Reason'], leftOut)] : []),
    ];
  },
};

async function open(name, argument) {
  show('');
  for (const tab of document.querySelectorAll('[role=tab]')) {
    const isOpen = tab.id === `tab-${name}`;
    tab.setAttribute('aria-selected', String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    find(tab.getAttribute('aria-controls')).hidden = !isOpen;
  }
  if (name === 'bench') return;
  find(name).replaceChildren(empty('Loading…'));
  try {
    find(name).replaceChildren(...(await views[name](argument)));
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
  state = await call('state', undefined, readJson);
  form.alg.replaceChildren(...state.algorithms.map((name) => make('option', {}, name)));
  listRoutes();
  const all = operations(),
    one = all.find(scopesOf) ?? all[0];
  if (one) select(one);
  if (isNarrow(640)) fold(true);
  if (wanted) await open('history', wanted);
}

const tabs = [...document.querySelectorAll('[role=tab]')];
tabs.forEach((tab, index) => {
  tab.onclick = () => open(tab.id.slice(4));
  tab.onkeydown = ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) {
      const next = tabs.at((index + step) % tabs.length);
      next.focus();
      next.click();
    }
  };
});
find('filter').oninput = () => {
  if (!state) return;
  fold(false);
  listRoutes();
};
find('fold').onclick = () => fold(!isFolded());
form.token.oninput = showDecoded;
form.body.oninput = showSyntax;
form.type.onchange = () => run(showBodyFields);
find('example').onclick = () => run(showBodyFields);
for (const button of document.querySelectorAll('[data-add]')) {
  button.onclick = () => find('form-fields').append(newField(button.dataset.add === 'file'));
}
form.onsubmit = (event) => {
  event.preventDefault();
  if (sending) sending.abort();
  else run(send);
};
form.onkeydown = (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit(find('send'));
};
find('copy-body').onclick = () => run(() => toClipboard(received), 'Copied.');
find('see-history').onclick = () => run(() => open('history', find('see-history').dataset.rid));
find('mint').onclick = () =>
  run(
    async () =>
      setToken(
        (
          await call('token', {
            sub: form.sub.value,
            scope: form.scope.value.trim(),
            aud: state.audience,
            alg: form.alg.value,
            ttl: Number(form.ttl.value),
            claims: form.claims.value || '{}',
          })
        ).token,
      ),
    'Token minted.',
  );
find('resign').onclick = () =>
  run(() => sign(edited('decoded-header', 'Header'), edited('decoded-claims', 'Claims')), 'Token signed again.');
for (const button of document.querySelectorAll('[data-break]')) {
  button.onclick = () =>
    run(
      () => breaks[button.dataset.break](decode(form.token.value.trim())),
      `Token changed: ${button.textContent.toLowerCase()}.`,
    );
}
for (const button of document.querySelectorAll('[data-copy]')) {
  button.onclick = () => run(() => copy(button.dataset.copy), `${button.textContent.replace('Copy', 'Copied')}.`);
}
const begin = () => run(start);
addEventListener('hashchange', begin);
setInterval(showLifetime, 1_000);
showLifetime();
begin();
