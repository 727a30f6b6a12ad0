// Token

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const encode = (value) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

function decode(token) {
  const parts = token.split('.');
  if (!token) throw Error('There is no token. Mint one, or paste one.');
  if (parts.length !== 3) throw Error(`A token has three segments with dots between them; this has ${parts.length}.`);
  const [header, claims] = ['header', 'claims'].map((name, index) => {
    try {
      const value = readJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes(parts[index])));
      if (isObject(value)) return value;
    } catch {
      /* the message is the same */
    }
    throw Error(`The ${name} of the token is not a JSON object in base64url.`);
  });
  return { header, claims, parts };
}

function edited(id, name) {
  try {
    const value = readJson(find(id).value);
    if (isObject(value)) return value;
  } catch {
    /* the message is the same */
  }
  throw Error(`${name}: expected a JSON object.`);
}

function setToken(token) {
  form.token.value = token;
  showDecoded();
}

function showDecoded() {
  const token = form.token.value.trim();
  find('problem').textContent = '';
  find('decoded').hidden = true;
  try {
    const { header, claims } = decode(token);
    find('decoded').hidden = false;
    find('decoded-header').value = writeJson(header);
    find('decoded-claims').value = writeJson(claims);
  } catch (error) {
    find('decoded-header').value = find('decoded-claims').value = '';
    find('problem').textContent = token ? error.message : '';
  }
  showLifetime();
}

function showLifetime() {
  let text = form.token.value.trim() ? '' : 'none';
  try {
    const { exp } = decode(form.token.value.trim()).claims,
      left = Math.round(exp - Date.now() / 1000);
    const [size, unit, smaller, rest] = [
      [86_400, 'd', 3_600, 'h'],
      [3_600, 'h', 60, 'min'],
      [60, 'min', 1, 's'],
      [1, 's'],
    ].find(([each]) => Math.abs(left) >= each) ?? [1, 's'];
    const more = rest ? ` ${Math.floor((Math.abs(left) % size) / smaller)} ${rest}` : '';
    const duration = `${Math.floor(Math.abs(left) / size)} ${unit}${more}`;
    text = typeof exp !== 'number' ? 'without exp' : left > 0 ? `expires in ${duration}` : `expired ${duration} ago`;
  } catch {
    /* the message is under the token */
  }
  if (find('token-hint').textContent !== text) find('token-hint').textContent = text;
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
