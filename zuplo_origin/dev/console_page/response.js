// The response

const LONGEST = 200_000,
  MOST_READ = 50_000_000;

function showBody(text) {
  const box = find('response');
  try {
    const value = readJson(text);
    box.replaceChildren(tree(value));
    showFaults(value);
  } catch {
    const rest = text.length > LONGEST ? `\n… ${text.length - LONGEST} more characters` : '';
    box.replaceChildren(text.slice(0, LONGEST) + rest);
  }
  if (!text) box.replaceChildren(make('span', { className: 'quiet' }, 'The response has no body.'));
  find('response-tools').hidden = false;
  find('copy-body').hidden = !text;
}

function showFaults(value) {
  const faults = value?.error === 'Validation failed' && Array.isArray(value.details) ? value.details : [];
  find('faults').replaceChildren(...faults.map((each) => make('li', {}, `${each.field}: ${each.message}`)));
}

async function send() {
  const sent = filled();
  for (const id of ['rules', 'faults', 'response']) find(id).replaceChildren();
  for (const id of ['status', 'timing', 'verdict']) find(id).textContent = '';
  find('no-response').hidden = false;
  find('no-response').textContent = 'Waiting for the response…';
  find('response').hidden = find('response-tools').hidden = find('response-headers').hidden = true;
  sending = new AbortController();
  find('send').textContent = 'Stop';
  try {
    await Promise.all([exchange(sent), verify(sent)]);
  } finally {
    sending = null;
    find('send').textContent = 'Send';
    if (find('response').hidden) find('no-response').textContent = 'No response.';
  }
}

async function verify({ token }) {
  showRules(token ? (await call('verify', { token, scopes: scopesOf(operation) ?? [] })).rules : []);
}

async function exchange(sent) {
  const { signal } = sending;
  let head,
    text = '',
    rest = '';
  const began = performance.now();
  try {
    const response = await request('send', await encoded(sent), signal);
    if (response.headers.get('content-type')?.startsWith('application/json'))
      throw Error((await response.json()).problem);
    const reader = response.body.pipeThrough(new TextDecoderStream(), { signal }).getReader();
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
      if (text.length > MOST_READ) {
        rest = ', stopped';
        reader.cancel();
        break;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    if (!head) throw Error('Stopped before there was a response.');
    rest = ', stopped';
  }
  received = text;
  find('timing').textContent =
    `${head.ms} ms to headers, ${Math.round(performance.now() - began)} ms in all, ${size(text)}${rest}`;
  showBody(text);
  if (isNarrow(959)) find('response-pane').scrollIntoView();
  show(`Response: status ${head.status}.`, head.status < 400);
}

const size = (text) => `${text.length.toLocaleString('en')} ${text.length === 1 ? 'character' : 'characters'}`;

function showHead({ status, reason, headers }) {
  find('no-response').hidden = true;
  find('response').hidden = find('response-headers').hidden = false;
  find('status').textContent = `${status} ${reason}`;
  find('status').className = `badge ${kind(status)}`;
  find('response-headers').lastElementChild.textContent = headers
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
  const [, rid = ''] = headers.find(([name]) => name.toLowerCase() === 'zp-rid') ?? [];
  find('see-history').dataset.rid = rid;
  find('see-history').hidden = !rid;
}

const kind = (status) => (status < 300 ? 'good' : status < 400 ? '' : status < 500 ? 'warn' : 'bad');

/** Show a line for each rule: verdict, what was found, what is expected. Those that failed are open. */
function showRules(rules) {
  const failed = rules.filter((each) => each.passed === false);
  find('rule-heads').hidden = !rules.length;
  find('no-rules').hidden = rules.length > 0;
  find('no-rules').textContent = 'The request has no token.';
  find('verdict').textContent = !rules.length
    ? ''
    : failed.length
      ? `rejected: ${failed[0].reason}`
      : `${rules.length} of ${rules.length} passed`;
  find('verdict').className = `badge ${failed.length ? 'bad' : 'good'}`;
  find('rules').replaceChildren(...rules.map(rule));
}

function rule({ rule: name, passed, reason, found, expected, advice }) {
  const [mark, color, verdict] =
    passed === null
      ? ['–', 'quiet', 'not reached']
      : passed
        ? ['✓', 'good', 'passed']
        : ['✗', 'bad', `failed: ${reason}`];
  const rows = [
    ['found', found],
    ['expected', expected],
    ['advice', advice],
  ].filter(([, text]) => text);
  return make(
    'li',
    { className: passed === false ? 'failed' : '' },
    make(
      'details',
      { open: passed === false },
      make(
        'summary',
        { className: passed === false ? 'bad' : '' },
        make('span', { className: color, title: verdict }, mark),
        make('span', {}, passed === false ? `${name}: ${reason}` : name),
        make('code', { title: found }, found),
        make('code', { title: expected }, expected),
      ),
      make(
        'dl',
        {},
        ...rows.flatMap(([title, text]) => [make('dt', {}, title), make('dd', {}, make('code', {}, text))]),
      ),
    ),
  );
}
