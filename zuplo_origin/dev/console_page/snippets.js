// A request as a command. `sent` has url, method, headers, and at most one of: body, a text; file; parts, those of a
// multipart form, each with name and value or file. Files are named, as if they were in the current folder.

// a carriage return would end the line in a terminal: Bash and zsh have $'…' for it
const quote = (text) =>
  text.includes('\r')
    ? `$'${text.replace(/[\\']/g, '\\$&').replaceAll('\r', '\\r').replaceAll('\n', '\\n')}'`
    : `'${text.replaceAll("'", "'\\''")}'`;
const inForm = (text) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
const literal = JSON.stringify; // a text in JSON is one in Python and JavaScript too

const snippets = {
  curl({ url, method, headers, body, file, parts }) {
    const options = [
      'curl -i --globoff',
      `-X ${method}`,
      ...Object.entries(headers).map(([name, value]) => `-H ${quote(value ? `${name}: ${value}` : `${name};`)}`),
    ];
    if (parts) {
      options.push(
        ...parts.map(({ name, value, file: each }) =>
          each
            ? `-F ${quote(`${name}=@${inForm(each.name)};type=${typeOfFile(each)}`)}`
            : `--form-string ${quote(`${name}=${value}`)}`,
        ),
      );
    } else if (file) options.push(`--data-binary ${quote(`@${file.name}`)}`);
    else if (body) options.push(`--data-raw ${quote(body)}`);
    return `${[...options, quote(url)].join(' \\\n  ')}\n`;
  },

  python({ url, method, headers, body, file, parts }) {
    const options = [literal(method), literal(url), `headers={${named(headers)}}`];
    if (parts) {
      const pairs = parts.map(
        ({ name, value, file: each }) =>
          `(${literal(name)}, ${
            each
              ? `(${literal(each.name)}, open(${literal(each.name)}, "rb"), ${literal(typeOfFile(each))})`
              : `(None, ${literal(value)})`
          })`,
      );
      options.push(`files=[${pairs.join(', ')}]`);
    } else if (file) options.push(`data=open(${literal(file.name)}, "rb")`);
    else if (body) options.push(`data=${literal(body)}.encode()`);
    return (
      `import requests\n\nresponse = requests.request(\n    ${[...options, 'timeout=10'].join(',\n    ')},\n)\n` +
      'print(response.status_code, response.text)\n'
    );
  },

  fetch({ url, method, headers, body, file, parts }) {
    const options = [`method: ${literal(method)}`, `headers: {${named(headers)}}`];
    const lines = [];
    if (file || parts?.some((each) => each.file))
      lines.push('import { openAsBlob } from "node:fs";  // Node.js 20', '');
    if (parts) {
      lines.push(
        'const form = new FormData();',
        ...parts.map(
          ({ name, value, file: each }) =>
            `form.append(${literal(name)}, ${
              each
                ? `await openAsBlob(${literal(each.name)}, { type: ${literal(typeOfFile(each))} }), ${literal(each.name)}`
                : literal(value)
            });`,
        ),
      );
      options.push('body: form');
    } else if (file) options.push(`body: await openAsBlob(${literal(file.name)})`);
    else if (body) options.push(`body: ${literal(body)}`);
    lines.push(`const response = await fetch(${literal(url)}, {\n  ${options.join(',\n  ')},\n});`);
    return `${lines.join('\n')}\nconsole.log(response.status, await response.text());\n`;
  },
};

const typeOfFile = (file) => file.type || 'application/octet-stream';
const named = (headers) =>
  Object.entries(headers)
    .map((each) => each.map(literal).join(': '))
    .join(', ');
