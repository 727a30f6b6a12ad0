// Routes

function operations() {
  return Object.entries(state.document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, details]) => ({ method: method.toUpperCase(), path, details })),
  );
}

const nameOf = ({ method, path }) => `${method} ${path}`;
const scopesOf = ({ details }) => details.security?.flatMap((each) => Object.values(each).flat());
const closed = new Set(); // groups that are folded

function listRoutes() {
  const wanted = find('filter').value.trim().toLowerCase().split(/\s+/);
  const all = operations();
  const found = all.filter((each) => {
    const { summary, tags } = each.details,
      [kind] = guardOf(each);
    const text = [nameOf(each), summary, ...(tags ?? []), kind, ...(scopesOf(each) ?? [])].join(' ').toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
  const groups = new Map();
  for (const each of found) {
    const name = each.details.tags?.[0] ?? 'Routes';
    groups.set(name, [...(groups.get(name) ?? []), each]);
  }
  find('fold').textContent = `Routes (${found.length})`;
  find('routes').replaceChildren(...[...groups].map(([name, routes]) => group(name, routes)));
  if (!all.length) find('routes').replaceChildren(noRoutes());
  else if (!found.length) find('routes').replaceChildren(empty('No route matches.'));
}

function group(name, routes) {
  const isFiltered = find('filter').value.trim() !== '';
  const details = make(
    'details',
    { className: 'group', open: isFiltered || !closed.has(name) },
    make('summary', {}, make('h2', {}, name), make('span', { className: 'quiet' }, String(routes.length))),
    ...routes.map(routeButton),
  );
  if (!isFiltered) details.ontoggle = () => closed[details.open ? 'delete' : 'add'](name);
  return details;
}

const noRoutes = () =>
  make(
    'div',
    { className: 'empty' },
    'No routes yet. Add one to routes/web.py, or let craft do it:',
    make('pre', {}, 'python craft protected:make Orders'),
  );

/** Return what guards a route, and whether nothing does, also no declaration that the route is public. */
function guardOf(each) {
  if (scopesOf(each)) return ['guarded', false];
  return state.public.some((name) => name.toLowerCase() === nameOf(each).toLowerCase())
    ? ['public', false]
    : ['no guard', true];
}

function routeButton(each) {
  const scopes = scopesOf(each) ?? [],
    [kind, isOpen] = guardOf(each);
  const button = make(
    'button',
    {
      type: 'button',
      className: 'route',
      onclick: () => {
        select(each);
        if (isNarrow(640)) fold(true);
      },
    },
    make('span', { className: `method ${each.method}` }, each.method),
    ' ',
    make('span', {}, ...breakable(each.path)),
    ' ',
    scopes.length
      ? make('small', { className: 'scopes' }, scopes.join(' '))
      : make('small', { className: isOpen ? 'warn' : '' }, kind),
  );
  button.dataset.route = nameOf(each);
  button.setAttribute('aria-current', String(Boolean(operation) && nameOf(operation) === nameOf(each)));
  return button;
}

/** Return the parts of a path, between which a line may end. */
const breakable = (path) => path.split(/(?<=.)(?=\/)/).flatMap((part, at) => (at ? [make('wbr'), part] : [part]));

const isNarrow = (width) => matchMedia(`(max-width: ${width}px)`).matches;
const isFolded = () => document.querySelector('.routes').classList.contains('folded');

/** Fold the list of routes on a phone. On a wider page it is always open. */
function fold(isWanted) {
  document.querySelector('.routes').classList.toggle('folded', isWanted);
  find('fold').setAttribute('aria-expanded', String(!isWanted));
}

// The request

const JSON_TYPE = 'application/json',
  FORM = 'application/x-www-form-urlencoded',
  MULTIPART = 'multipart/form-data';
const ANY_TYPES = [JSON_TYPE, FORM, MULTIPART, 'text/plain', 'application/octet-stream'];
const isJson = (type) => /^application\/([\w.+-]+\+)?json$/.test(type);
const isText = (type) => isJson(type) || /^text\/|[/+](xml|yaml|csv|javascript|x-ndjson|jsonl|graphql)$/.test(type);
const isForm = (type) => type === FORM || type === MULTIPART;
const asText = (value) =>
  typeof value === 'string' ? value : value === null || value === undefined ? '' : writeJson(value, 0);
const local = (value) => (value?.$ref ? referred(value.$ref, state.document) : value);

function select(each) {
  operation = each;
  const { details } = each;
  find('operation').replaceChildren(make('span', { className: `method ${each.method}` }, each.method), ` ${each.path}`);
  find('summary').textContent = details.summary === details.operationId ? '' : (details.summary ?? '');
  find('send').disabled = false;
  for (const button of find('routes').querySelectorAll('.route')) {
    button.setAttribute('aria-current', String(button.dataset.route === nameOf(each)));
  }
  const parameters = (details.parameters ?? []).map(local);
  find('parameters').hidden = !parameters.length;
  find('parameters').replaceChildren(make('h3', {}, 'Parameters'), ...parameters.map((parameter) => field(parameter)));
  const content = local(details.requestBody)?.content;
  find('body-part').hidden = !content;
  if (content) {
    const types = Object.keys(content).flatMap((type) => (type === '*/*' ? ANY_TYPES : [type]));
    form.type.replaceChildren(...types.map((type) => make('option', {}, type)));
    form.type.disabled = types.length === 1;
    showBodyFields();
  }
  if (scopesOf(each)?.length) form.scope.value = scopesOf(each).join(' ');
}

/** Return a control for a parameter or a field of a form: a select if the schema has a list of values. */
function field({ name, in: place, required = false, description, schema, example, examples }) {
  const part = plain(schema, state.document),
    isList = typeOf(part) === 'array';
  const item = isList ? plain(part.items, state.document) : part;
  const choices = item.enum ?? ('const' in item ? [item.const] : typeOf(item) === 'boolean' ? [true, false] : null);
  const isFile =
    place === 'file' ||
    (place === MULTIPART &&
      typeOf(item) === 'string' &&
      !item.contentSchema &&
      (item.format === 'binary' || Boolean(item.contentMediaType)));
  const stated = example ?? local(Object.values(examples ?? {})[0])?.value;
  const sample = stated ?? (required ? exampleOf(schema ?? {}, state.document) : undefined);
  const values = (Array.isArray(sample) ? sample : [sample]).map(asText);
  const control = isFile
    ? make('input', { type: 'file', multiple: isList })
    : choices
      ? choice(choices, values, isList, required)
      : isList
        ? make('textarea', { rows: 2, placeholder: 'one value a line', value: values.join('\n') })
        : make('input', { autocomplete: 'off', value: stated === undefined && sample === 'text' ? '' : values[0] });
  Object.assign(control, { required: required && !isFile, spec: { name, place, isList, isFile } });
  const hints = [
    description,
    !choices &&
      item.minimum !== undefined &&
      item.maximum !== undefined &&
      `from ${asText(item.minimum)} to ${asText(item.maximum)}`,
    part.default !== undefined && part.default !== null && `default ${asText(part.default)}`,
  ];
  const notes = [isForm(place) || place === 'file' ? '' : place, required ? 'required' : ''].filter(Boolean).join(', ');
  return make(
    'label',
    {},
    notes ? `${name} (${notes})` : name,
    control,
    ...hints
      .filter(Boolean)
      .slice(0, 2)
      .map((text) => make('small', {}, text)),
  );
}

function choice(choices, values, isList, required) {
  const options = choices
    .filter((each) => each !== null)
    .map((each) => make('option', { selected: values.includes(asText(each)) }, asText(each)));
  if (!isList && !required) options.unshift(make('option', { value: '', selected: !values.some(Boolean) }, 'not sent'));
  return make('select', { multiple: isList, ...(isList && { size: Math.min(4, options.length) }) }, ...options);
}

/** Return a field of a form that the description does not have. */
function newField(isFile) {
  const name = make('input', { autocomplete: 'off', value: isFile ? 'file' : 'name' });
  const value = Object.assign(make('input', isFile ? { type: 'file', multiple: true } : { autocomplete: 'off' }), {
    spec: { isFile, nameInput: name },
  });
  return make(
    'div',
    { className: 'fields' },
    make('label', {}, 'Field name', name),
    make('label', {}, isFile ? 'Field file' : 'Field value', value),
  );
}

function media() {
  const content = local(operation.details.requestBody).content;
  return content[form.type.value] ?? content['*/*'] ?? {};
}

/** Show what the selected content type needs: a text, the fields of a form, or a file, with an example. */
function showBodyFields() {
  const type = form.type.value,
    given = media(),
    schema = plain(given.schema, state.document);
  const stated = given.example ?? local(Object.values(given.examples ?? {})[0])?.value;
  const asFields = isForm(type),
    asTyped = !asFields && (isText(type) || typeof stated === 'string');
  find('body-text').hidden = !asTyped;
  find('body-file').hidden = asFields || asTyped;
  find('form-fields').hidden = find('more-fields').hidden = !asFields;
  find('more-fields').lastElementChild.hidden = type !== MULTIPART;
  find('faults').replaceChildren();
  form.body.value = form.file.value = '';
  if (asFields) {
    const sample = (isObject(stated) ? stated : exampleOf(given.schema ?? {}, state.document)) ?? {};
    const fields = Object.entries(schema.properties ?? {}).map(([name, each]) =>
      field({
        name,
        in: type,
        required: schema.required?.includes(name),
        description: plain(each, state.document).description,
        schema: each,
        example: sample[name],
      }),
    );
    find('form-fields').replaceChildren(...(fields.length ? fields : [newField(false)]));
  } else if (asTyped) {
    const sample =
      stated ??
      (isJson(type) && given.schema && !isEmpty(given.schema) ? exampleOf(given.schema, state.document) : undefined);
    form.body.value =
      typeof sample === 'string' && (!isJson(type) || isEmpty(given.schema ?? {}))
        ? sample
        : sample === undefined
          ? ''
          : writeJson(sample);
  }
  showSyntax();
}

const isEmpty = (schema) => !Object.keys(schema).length;

function syntaxProblem() {
  if (find('body-part').hidden || find('body-text').hidden || !form.body.value || !isJson(form.type.value)) return '';
  try {
    JSON.parse(form.body.value);
  } catch (error) {
    return `Body: not JSON: ${error.message}`;
  }
  return '';
}

const showSyntax = () => {
  find('syntax').textContent = syntaxProblem();
};

/** Return the texts or files of a control. One that is empty is not sent. */
function valuesOf(control) {
  if (control.spec.isFile) return [...control.files];
  if (control.selectedOptions) return [...control.selectedOptions].map((each) => each.value).filter(Boolean);
  if (control.spec.isList) return control.value.split('\n').filter(Boolean);
  return control.value || control.spec.nameInput ? [control.value] : [];
}

const controls = (id) => [...find(id).querySelectorAll('input, select, textarea')].filter((each) => each.spec);
const hasHeader = (headers, name) => Object.keys(headers).some((each) => each.toLowerCase() === name);

/** Return the request as it is filled in. */
function filled() {
  if (!operation) throw Error('Select a route first.');
  // a request without another required value is a test of the validation
  const missing = controls('parameters').find((each) => each.spec.place === 'path' && !valuesOf(each).length);
  if (missing) {
    missing.focus();
    throw Error(`${missing.spec.name}: a value is required.`);
  }
  let { path } = operation;
  const query = new URLSearchParams(),
    headers = {},
    cookies = [];
  for (const control of controls('parameters')) {
    const { name, place } = control.spec,
      values = valuesOf(control);
    if (place === 'path') path = path.replace(`{${name}}`, () => encodeURIComponent(values.join(',')));
    else if (place === 'query') for (const each of values) query.append(name, each);
    else if (place === 'header' && values.length) headers[name] = values.join(', ');
    else if (place === 'cookie') cookies.push(...values.map((each) => `${name}=${encodeURIComponent(each)}`));
  }
  if (cookies.length) headers.Cookie = cookies.join('; ');
  for (const line of form.headers.value.split('\n').filter((each) => each.trim())) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line.trim()) ?? [];
    if (!name) throw Error(`Headers: expected Name: value in the line ${line.trim()}`);
    headers[name] = value;
  }
  const strange = Object.entries(headers).find(([, value]) => !/^[ -~]*$/.test(value));
  if (strange) throw Error(`Headers: ${strange[0]} has a character that is not printable ASCII.`);
  if (!hasHeader(headers, 'accept')) headers.Accept = JSON_TYPE;
  const text = query.toString();
  return {
    method: operation.method,
    path: path + (text && `?${text}`),
    token: form.token.value.trim(),
    headers,
    ...filledBody(headers),
  };
}

const wellFormed = (text) => text.toWellFormed?.() ?? text; // half of a surrogate pair is no UTF-8

function filledBody(headers) {
  if (find('body-part').hidden) return {};
  const type = form.type.value,
    addType = (value) => {
      if (!hasHeader(headers, 'content-type')) headers['Content-Type'] = value;
    };
  if (!find('form-fields').hidden) {
    const parts = controls('form-fields')
      .flatMap((control) =>
        valuesOf(control).map((value) => {
          const name = control.spec.nameInput?.value ?? control.spec.name;
          return typeof value === 'string'
            ? { name, value: wellFormed(value.replace(/\r?\n/g, '\r\n')) }
            : { name, file: value };
        }),
      )
      .filter((each) => each.name);
    if (type === MULTIPART) {
      // the client writes this header, with its boundary
      for (const each of Object.keys(headers)) if (each.toLowerCase() === 'content-type') delete headers[each];
      return parts.length ? { parts } : {};
    }
    addType(type);
    return { body: new URLSearchParams(parts.map(({ name, value }) => [name, value])).toString() };
  }
  if (!find('body-file').hidden) {
    const [file] = form.file.files;
    if (!file) return {};
    addType(type.includes('*') ? typeOfFile(file) : type);
    return { file };
  }
  if (syntaxProblem()) throw Error(syntaxProblem());
  if (!form.body.value) return {};
  addType(type);
  return { body: wellFormed(form.body.value) };
}

/** Return the fields for the server, which sends the request. Bytes are in base64. */
async function encoded({ parts, file, ...sent }) {
  if (!parts && !file) return sent;
  let blob = file;
  if (parts) {
    const data = new FormData();
    for (const each of parts) data.append(each.name, each.file ?? each.value);
    const made = new Response(data);
    sent.headers = { ...sent.headers, 'Content-Type': made.headers.get('content-type') };
    blob = await made.blob();
  }
  const content = new Uint8Array(await blob.arrayBuffer());
  let text = '';
  for (let at = 0; at < content.length; at += 0x8000) text += String.fromCharCode(...content.subarray(at, at + 0x8000));
  return { ...sent, body_base64: btoa(text) };
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    throw Error('The browser does not let this page copy. Allow it to use the clipboard.');
  }
}

function copy(name) {
  const sent = filled(),
    headers = { ...sent.headers };
  if (sent.token) headers[state.header] = `${state.scheme} ${sent.token}`.trim();
  return toClipboard(snippets[name]({ ...sent, headers, url: location.origin + sent.path }));
}
