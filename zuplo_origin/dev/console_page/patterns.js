// Texts that match a regular expression

/** Return a pattern of Python or Rust as one of JavaScript; `null` if it cannot be read. */
function expression(pattern) {
  const [, flags = '', rest] = /^(?:\(\?([ims]+)\))?([^]*)$/.exec(pattern);
  const source = rest
    .replaceAll('(?P<', '(?<')
    .replaceAll('\\A', '^')
    .replace(/\\[zZ]/g, '$');
  for (const mode of ['u', '']) {
    try {
      return new RegExp(source, flags + mode);
    } catch {
      /* the next mode accepts more escapes */
    }
  }
  return null;
}

function matching(pattern, accepts, index) {
  let make;
  try {
    make = parsed(pattern.replace(/^\(\?[ims]+\)/, ''));
  } catch {
    return undefined;
  }
  const found = new Set();
  for (const repeats of [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377]) {
    for (let choice = 0; choice < 6; choice++) {
      const text = make(repeats, choice);
      if (text.length < 10_000 && accepts(text)) found.add(text);
      if (found.size > index) return [...found][index];
    }
  }
  return undefined;
}

const USUAL = [
  ...'aA1bB2cC3dD4eE5fF6gG7hH8iI9jJ0kKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ_-. !#$%&()*+,/:;<=>?@[]^`{|}~"\'\\\n\t',
];
const CLASSES = { d: /[0-9]/, w: /[A-Za-z0-9_]/, s: /[ \n\t]/ };
const CONTROLS = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', 0: '\0' };

/** Return a function that makes a text of a pattern. Look-around makes no text: the result has to be tested. */
function parsed(pattern) {
  const all = [...pattern];
  let at = 0;
  const pick = (characters) => (repeats, choice) => characters[choice % characters.length] ?? '';

  function alternatives() {
    const found = [sequence()];
    while (all[at] === '|') {
      at += 1;
      found.push(sequence());
    }
    return (repeats, choice) => found[choice % found.length](repeats, choice);
  }

  function sequence() {
    const parts = [];
    while (at < all.length && all[at] !== '|' && all[at] !== ')') parts.push(repeated(atom()));
    return (repeats, choice) => parts.map((each) => each(repeats, choice)).join('');
  }

  function repeated(part) {
    const [text, least, comma, most] = /^(?:\{(\d*)(,?)(\d*)\}|[*+?])/.exec(all.slice(at, at + 20).join('')) ?? [];
    if (!text) return part;
    at += text.length;
    if (all[at] === '?' || all[at] === '+') at += 1;
    const begin = text === '+' ? 1 : Number(least ?? 0);
    const end = text === '?' ? 1 : text.length === 1 || (comma && !most) ? Infinity : Number(most || least);
    return (repeats, choice) =>
      Array.from({ length: Math.min(end, Math.max(begin, Math.min(repeats, 400))) }, () => part(repeats, choice)).join(
        '',
      );
  }

  function atom() {
    const character = all[at++];
    if (character === '(') return group();
    if (character === '[') return pick(characterClass());
    if (character === '.') return pick(USUAL.filter((each) => each !== '\n'));
    if (character === '^' || character === '$') return () => '';
    if (character !== '\\') return () => character;
    const found = escaped();
    return found === null ? () => '' : pick(found);
  }

  function group() {
    const opening = /^\?(?:[:>]|P?<[A-Za-z_]\w*>|<?[=!])/.exec(all.slice(at, at + 80).join(''))?.[0] ?? '';
    at += opening.length;
    const made = alternatives();
    if (all[at++] !== ')') throw Error('a group without an end');
    return /[=!]$/.test(opening) ? () => '' : made;
  }

  /** Return the characters of an escape; `null` if it is for a position. */
  function escaped() {
    const name = all[at++];
    if (name === undefined) throw Error('an escape without an end');
    if ('AzZbB'.includes(name)) return null;
    if (CLASSES[name]) return USUAL.filter((each) => CLASSES[name].test(each));
    if (CLASSES[name.toLowerCase()]) return USUAL.filter((each) => !CLASSES[name.toLowerCase()].test(each));
    const length = { x: 2, u: 4 }[name];
    if (length) {
      const code = parseInt(all.slice(at, at + length).join(''), 16);
      at += length;
      return [String.fromCodePoint(code)];
    }
    if (/[1-9pPkc]/.test(name)) throw Error('a back-reference or a property');
    return [CONTROLS[name] ?? name];
  }

  function characterClass() {
    const found = [];
    const isNegated = all[at] === '^';
    if (isNegated) at += 1;
    for (let isFirst = true; isFirst || all[at] !== ']'; isFirst = false) {
      if (at >= all.length) throw Error('a class without an end');
      const from = all[at] === '\\' ? ((at += 1), escaped() ?? []) : [all[at++]];
      if (from.length !== 1 || all[at] !== '-' || all[at + 1] === ']') {
        found.push(...from);
        continue;
      }
      at += 1;
      const [to] = all[at] === '\\' ? ((at += 1), escaped()) : [all[at++]];
      const [low, high] = [from[0].codePointAt(0), to.codePointAt(0)];
      for (let code = low; code <= Math.min(high, low + 200); code++) found.push(String.fromCodePoint(code));
    }
    at += 1;
    if (isNegated) return USUAL.filter((each) => !found.includes(each));
    return [...USUAL.filter((each) => found.includes(each)), ...found];
  }

  const made = alternatives();
  if (at < all.length) throw Error('a parenthesis too many');
  return made;
}
