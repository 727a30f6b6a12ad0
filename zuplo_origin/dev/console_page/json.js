// JSON whose numbers keep their digits. A number that JavaScript would round, as 9007199254740993, or write in another
// way, as 1.10, is an object of JSON.rawJSON. Browsers before 2025 do not have it: there, numbers are rounded.

const readJson = (text) =>
  JSON.parse(text, (name, value, context) =>
    typeof value === 'number' && JSON.rawJSON && context && String(value) !== context.source
      ? JSON.rawJSON(context.source)
      : value,
  );
const isNumber = (value) => typeof value === 'number' || Boolean(JSON.isRawJSON?.(value));
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !isNumber(value);
const writeJson = (value, indent = 2) => JSON.stringify(value, null, indent);

const MOST_CHILDREN = 200,
  LONGEST_VALUE = 5_000;

/** Return JSON as a tree. A folded part is made when it is opened. */
function tree(value, name, depth = 0) {
  const label = name === undefined ? [] : [make('span', { className: 'key' }, JSON.stringify(name)), ': '];
  if (value === null || typeof value !== 'object' || isNumber(value)) return make('div', {}, ...label, leaf(value));
  const isList = Array.isArray(value),
    entries = Object.entries(value);
  const [begin, end] = isList ? '[]' : '{}';
  if (!entries.length) return make('div', {}, ...label, begin + end);
  const size = `${entries.length} ${isList ? 'item' : 'member'}${entries.length === 1 ? '' : 's'}`;
  const details = make(
    'details',
    {},
    make('summary', {}, ...label, begin, make('span', { className: 'size' }, ` ${size} ${end}`)),
  );
  let shown = 0;
  const fill = () => {
    const more = make('button', {
      type: 'button',
      textContent: 'Show more',
      onclick: () => {
        more.remove();
        fill();
      },
    });
    details.append(
      ...entries
        .slice(shown, shown + MOST_CHILDREN)
        .map(([key, each]) => tree(each, isList ? undefined : key, depth + 1)),
    );
    shown += MOST_CHILDREN;
    if (shown < entries.length) details.append(more);
  };
  details.addEventListener('toggle', () => {
    if (details.open && !shown) fill();
  });
  if (depth < 3 && entries.length <= 50) {
    details.open = true;
    fill();
  }
  return details;
}

function leaf(value) {
  const text = JSON.stringify(value);
  const kind = isNumber(value) ? 'number' : typeof value === 'string' ? 'string' : 'literal';
  const cut = text.length > LONGEST_VALUE ? `… ${text.length - LONGEST_VALUE} more characters` : '';
  return make('span', { className: kind }, text.slice(0, LONGEST_VALUE) + cut);
}
