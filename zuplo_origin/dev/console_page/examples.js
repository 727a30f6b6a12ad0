// Examples of JSON Schemas (2020-12, the dialect of OpenAPI 3.1). `undefined` stands for: there is none.

const FORMATS = {
  date: '2026-01-15',
  'date-time': '2026-01-15T12:00:00Z',
  time: '12:00:00Z',
  duration: 'P1D',
  uuid: '3fa85f64-5717-4562-b3fc-2c963f66afa6',
  uuid1: 'd9428888-122b-11e1-b85c-61cd3cbb3210',
  uuid3: '6fa459ea-ee8a-3ca4-894e-db77e160355e',
  uuid5: '886313e1-3b8a-5372-9b90-0c9aee199e5d',
  uuid6: '1ec9414c-232a-6b00-b3c8-9f6bdeced846',
  uuid7: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  email: 'ada@example.com',
  'name-email': 'Ada <ada@example.com>',
  hostname: 'example.com',
  uri: 'https://example.com/',
  'multi-host-uri': 'postgres://user@localhost:5432/name',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  ipvanyaddress: '192.0.2.1',
  ipv4network: '192.0.2.0/24',
  ipv6network: '2001:db8::/32',
  ipvanynetwork: '192.0.2.0/24',
  ipv4interface: '192.0.2.1/24',
  ipv6interface: '2001:db8::1/64',
  ipvanyinterface: '192.0.2.1/24',
  byte: 'dGV4',
  base64: 'dGV4',
  base64url: 'dGV4',
  'json-string': '{}',
  regex: '^[a-z]+$',
  color: 'red',
  decimal: '1.10',
  'uri-reference': '/path',
  'json-pointer': '/name',
  path: 'name',
  'file-path': 'name',
  'directory-path': '.',
};
FORMATS.url = FORMATS.uri;
FORMATS.uuid4 = FORMATS.uuid;
const DEEP = 4,
  MOST_PARTS = 3_000;

/** Return an example of `schema`. `root` is the document that its references are in. */
function exampleOf(schema, root) {
  let left = MOST_PARTS;

  /** `inside` has the references that this part is in; `index` is 1 for a second, different example. */
  function make(given, inside, depth, index) {
    left -= 1;
    if (left < 0 || given === false) return undefined;
    const found = resolved(given === true ? {} : (given ?? {}), inside);
    if (!found) return undefined;
    const [part, around] = found;
    const stated = statedExample(part, index);
    if (stated !== undefined) return stated;
    const choices = part.anyOf ?? part.oneOf;
    if (choices) return first(part, choices, around, depth, index);
    const type = typeOf(part);
    if (type === 'object') return object(part, around, depth, index);
    if (type === 'array') return array(part, around, depth, index);
    if (type === 'integer' || type === 'number') return numberExample(part, type === 'integer', index);
    if (type === 'boolean') return index % 2 === 0;
    if (type === 'null') return null;
    if (type === 'string' && part.contentSchema)
      return JSON.stringify(make(part.contentSchema, around, depth + 1, index));
    return stringExample(part, index);
  }

  /** Return `given` with what it refers to, and the references that it is in. A reference to itself has no example. */
  function resolved(given, inside) {
    let part = given,
      around = inside;
    while (part.$ref) {
      const { $ref, ...rest } = part;
      if (around.includes($ref)) return undefined;
      around = [...around, $ref];
      part = both(referred($ref, root) ?? {}, rest);
    }
    for (const each of part.allOf ?? []) {
      const found = resolved(each, around);
      if (!found) return undefined;
      const { allOf, ...rest } = part;
      part = both(found[0], rest);
      around = found[1];
    }
    return [part, around];
  }

  function first(part, choices, around, depth, index) {
    const { anyOf, oneOf, ...rest } = part;
    const sorted = [...choices].sort((one, other) => (one.type === 'null') - (other.type === 'null'));
    for (const each of sorted) {
      const made = make(both(rest, each), around, depth, index);
      if (made !== undefined) return made;
    }
    return undefined;
  }

  function object(part, around, depth, index) {
    const required = part.required ?? [],
      properties = part.properties ?? {},
      entries = [];
    for (const name of new Set([...Object.keys(properties), ...required])) {
      const isRequired = required.includes(name);
      if (!isRequired && (depth >= DEEP || properties[name]?.readOnly)) continue;
      const made = make(properties[name] ?? part.additionalProperties ?? {}, around, depth + 1, index);
      if (made === undefined && isRequired) return undefined;
      if (made !== undefined) entries.push([name, made]);
    }
    const [[pattern, matching] = []] = Object.entries(part.patternProperties ?? {});
    const more = matching ?? part.additionalProperties;
    const least = Math.max(
      part.minProperties ?? 0,
      !part.properties && isObject(more) && part.maxProperties !== 0 ? 1 : 0,
    );
    const keys = pattern
      ? { type: 'string', pattern, ...part.propertyNames }
      : part.propertyNames && { type: 'string', ...part.propertyNames };
    for (let at = 0; entries.length < least && at < least + 20; at++) {
      // "1" is a key of every dictionary: those with numbers as keys have the same schema as others
      const name = keys ? make(keys, around, depth + 1, at) : String(at + 1);
      const made = make(more ?? {}, around, depth + 1, at);
      if (name === undefined || made === undefined) break;
      if (!entries.some(([other]) => other === name)) entries.push([name, made]);
    }
    return entries.length < (part.minProperties ?? 0) ? undefined : Object.fromEntries(entries);
  }

  function array(part, around, depth, index) {
    const made = [],
      texts = new Set(),
      fixed = part.prefixItems ?? [],
      least = part.minItems ?? 0;
    const count = Math.max(least, fixed.length, part.items && part.maxItems !== 0 && depth < DEEP + 2 ? 1 : 0);
    for (let at = 0; made.length < count && at < count + 50; at++) {
      const item = make(
        fixed[made.length] ?? part.items ?? {},
        around,
        depth + 1,
        part.uniqueItems ? index + at : index,
      );
      if (item === undefined) break;
      const text = JSON.stringify(item);
      if (!part.uniqueItems || !texts.has(text)) made.push(item);
      texts.add(text);
    }
    return made.length < Math.max(least, fixed.length && Math.min(fixed.length, least)) ? undefined : made;
  }

  return make(schema, [], 0, 0);
}

const referred = ($ref, root) =>
  $ref === '#'
    ? root
    : $ref.startsWith('#/')
      ? $ref
          .slice(2)
          .split('/')
          .map((name) => decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~'))
          .reduce((part, name) => part?.[name], root)
      : undefined;

/** Return what `schema` refers to, without the alternative `null`, for a field that is one text. */
function plain(schema, root) {
  let part = schema ?? {};
  for (let steps = 0; steps < 20; steps++) {
    const { $ref, anyOf, oneOf, allOf, ...rest } = part;
    const others = (anyOf ?? oneOf)?.filter((each) => each.type !== 'null');
    if ($ref) part = both(referred($ref, root) ?? {}, rest);
    else if (allOf?.length === 1) part = both(allOf[0], rest);
    else if (others?.length === 1) part = both(rest, others[0]);
    else break;
  }
  return part;
}

/** Return the schema of what matches both. `other` wins where they differ. */
function both(one, other) {
  const made = { ...one, ...other };
  if (one.properties && other.properties) made.properties = { ...one.properties, ...other.properties };
  if (one.required && other.required) made.required = [...one.required, ...other.required];
  if (one.allOf && other.allOf) made.allOf = [...one.allOf, ...other.allOf];
  return made;
}

function typeOf(schema) {
  if (Array.isArray(schema.type)) return schema.type.find((each) => each !== 'null') ?? 'null';
  if (schema.type) return schema.type;
  if (schema.properties || schema.additionalProperties || schema.patternProperties || schema.required) return 'object';
  if (schema.items || schema.prefixItems) return 'array';
  if (['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'].some((name) => name in schema))
    return 'number';
  return undefined;
}

/** Return the example that the schema itself has. A default of `null` says nothing about the type: it is left out. */
function statedExample(schema, index) {
  if ('const' in schema) return schema.const;
  const given = schema.examples && typeof schema.examples === 'object' ? Object.values(schema.examples) : [];
  const all = [
    'example' in schema ? [schema.example] : [],
    given,
    schema.default !== null && 'default' in schema ? [schema.default] : [],
    schema.enum ?? [],
  ].flat();
  const distinct = all.filter(
    (each, at) => all.findIndex((other) => JSON.stringify(other) === JSON.stringify(each)) === at,
  );
  return schema.enum && index >= distinct.length ? distinct[index % distinct.length] : distinct[index];
}

/** Return the smallest usual number that the schema accepts. Sums are exact: of whole numbers of 10 ** -scale. */
function numberExample(schema, isInteger, index) {
  const names = ['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum', 'multipleOf'];
  const given = Object.fromEntries(
    names.filter((name) => isNumber(schema[name])).map((name) => [name, digits(schema[name])]),
  );
  let scale = Math.max(0, ...Object.values(given).map((each) => each.scale));
  for (const finer of isInteger ? [0] : [0, 1, 2, 3]) {
    const at = scale + finer,
      one = 10n ** BigInt(at),
      unit = finer ? 10n ** BigInt(3 - finer) : one;
    const bound = (name) => given[name] && given[name].value * 10n ** BigInt(at - given[name].scale);
    const multiple = bound('multipleOf');
    const step = multiple ? (isInteger ? (multiple / gcd(multiple, one)) * one : multiple) : unit > one ? one : unit;
    const accepts = (value) =>
      !(
        value < bound('minimum') ||
        value <= bound('exclusiveMinimum') ||
        value > bound('maximum') ||
        value >= bound('exclusiveMaximum')
      );
    const lowest = [bound('minimum'), bound('exclusiveMinimum')].filter((each) => each !== undefined);
    const highest = [bound('maximum'), bound('exclusiveMaximum')].filter((each) => each !== undefined);
    const low = lowest.length ? largest(lowest) : undefined;
    const begins = [];
    if (low === undefined || low === 0n) begins.push(up(one, step));
    if (low !== undefined) begins.push(up(low, step), up(low, step) + step);
    else if (highest.length)
      begins.push(
        down(-largest(highest.map((each) => -each)), step),
        down(-largest(highest.map((each) => -each)), step) - step,
      );
    const found = begins.find(accepts);
    if (found === undefined) continue;
    const other = [found + step * BigInt(index), found - step * BigInt(index)].find(accepts);
    return other === undefined ? undefined : written(other, at);
  }
  return index ? undefined : 1;
}

const gcd = (one, other) => (other ? gcd(other, one % other) : one);
const largest = (values) => values.reduce((one, other) => (other > one ? other : one));
const down = (value, step) => {
  const rest = value % step;
  return value - (rest < 0n ? rest + step : rest);
};
const up = (value, step) => -down(-value, step);

function digits(number) {
  const [, sign, whole, part = '', power = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(
    JSON.stringify(number),
  );
  const scale = part.length - Number(power);
  const value = BigInt(sign + whole + part);
  return scale >= 0 ? { value, scale } : { value: value * 10n ** BigInt(-scale), scale: 0 };
}

function written(value, scale) {
  const text = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  const part = scale ? text.slice(-scale).replace(/0+$/, '') : '';
  const made = `${value < 0n ? '-' : ''}${scale ? text.slice(0, -scale) : text}${part && `.${part}`}`;
  return String(Number(made)) === made || !JSON.rawJSON ? Number(made) : JSON.rawJSON(made);
}

function stringExample(schema, index) {
  const least = schema.minLength ?? 0,
    most = schema.maxLength ?? Infinity;
  const pattern = schema.pattern === undefined ? null : expression(schema.pattern);
  const accepts = (text) => [...text].length >= least && [...text].length <= most && (!pattern || pattern.test(text));
  const usual = FORMATS[schema.format];
  const texts =
    usual === undefined
      ? ['text', 'Text', 'A1', '1', '1.10', 't', 'Aa1!Aa1!Aa1!']
      : [usual, schema.format === 'uri' ? 'http://a.b' : usual, schema.format === 'email' ? 'a@b.co' : usual];
  const candidates = texts.map((each) => varied(each, index)).map((each) => padded(each, schema.format, least));
  if (schema.pattern === undefined) return candidates.find(accepts) ?? [...candidates[0]].slice(0, most).join('');
  // without a text that matches, one that does not: the other fields are still of use
  return candidates.find(accepts) ?? matching(schema.pattern, accepts, index) ?? candidates[0];
}

const DATE = /^\d{4}-\d{2}-\d{2}(T|$)/;

/** Return another text of the same kind: another last digit, or a number beside it. */
function varied(text, index) {
  if (!index) return text;
  if (DATE.test(text)) return new Date(Date.UTC(2026, 0, 15 + index)).toISOString().slice(0, 10) + text.slice(10);
  if (/^[\da-f-]{36}$/.test(text)) return text.slice(0, -4) + (0x1000 + index).toString(16).slice(-4);
  if (/\d\D*$/.test(text)) return text.replace(/\d(?=\D*$)/, (digit) => (Number(digit) + index) % 10);
  if (text.includes('://')) return text + index;
  return text === 'dGV4'
    ? 'dGV4'.repeat(index + 1)
    : text.includes('@') || text.includes('.')
      ? `a${index}${text}`
      : text + index;
}

function padded(text, format, least) {
  const missing = Math.min(least, 10_000) - [...text].length;
  if (missing <= 0) return text;
  if (text.startsWith('dGV4')) return text + 'dGV4'.repeat(Math.ceil(missing / 4));
  return format === 'email' || format === 'hostname' ? 'x'.repeat(missing) + text : text + 'x'.repeat(missing);
}
