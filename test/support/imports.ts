/**
 * Which modules a TypeScript source names, read with a small scanner of its own: comments, strings, templates and
 * regular expressions are told apart well enough that only real import and export declarations and `import()` count.
 */
export interface ImportedModule {
  /** As written; null for `import(expression)`. */
  readonly specifier: string | null;
  readonly dynamic: boolean;
  /** `import type` and `export type`: erased before the program runs. */
  readonly typeOnly: boolean;
  readonly line: number;
}

interface Token {
  readonly kind: 'word' | 'string' | 'template' | 'number' | 'regex' | 'mark';
  readonly text: string;
  readonly line: number;
}

/** The modules that `source` names, in their order. */
export function importsOf(source: string): ImportedModule[] {
  const tokens = tokenize(source);
  const found: ImportedModule[] = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    if (token.kind !== 'word' || tokens[i - 1]?.text === '.') continue;
    const imported =
      token.text === 'import' ? importAt(tokens, i) : token.text === 'export' ? exportAt(tokens, i) : undefined;
    if (imported !== undefined) found.push(imported);
  }
  return found;
}

/** Names of the things that `source` exports by declaration, in their order. */
export function exportedNames(source: string): string[] {
  const tokens = tokenize(source);
  const names: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i]?.text !== 'export' || tokens[i]?.kind !== 'word') continue;
    let at = i + 1;
    while (
      [
        'default',
        'declare',
        'abstract',
        'async',
        'type',
        'const',
        'let',
        'function',
        'class',
        'interface',
        '*',
      ].includes(tokens[at]?.text ?? '')
    )
      at++;
    if (at > i + 1 && tokens[at]?.kind === 'word') names.push((tokens[at] as Token).text);
  }
  return names;
}

function importAt(tokens: readonly Token[], at: number): ImportedModule | undefined {
  const { line } = tokens[at] as Token;
  const next = tokens[at + 1];
  if (next === undefined || next.text === '.') return undefined; // import.meta
  if (next.kind === 'string') return { specifier: next.text, dynamic: false, typeOnly: false, line };
  if (next.kind === 'mark' && next.text === '(') {
    const argument = tokens[at + 2];
    const end = tokens[at + 3]?.text;
    const literal = argument?.kind === 'string' && (end === ')' || end === ',');
    return { specifier: literal ? argument.text : null, dynamic: true, typeOnly: false, line };
  }
  return fromClause(tokens, at);
}

function exportAt(tokens: readonly Token[], at: number): ImportedModule | undefined {
  const open = tokens[at + (tokens[at + 1]?.text === 'type' ? 2 : 1)];
  return open?.text === '{' || open?.text === '*' ? fromClause(tokens, at) : undefined;
}

/** `… from 'specifier'` of the declaration that starts at `at`; undefined where it has none (`export { a };`). */
function fromClause(tokens: readonly Token[], at: number): ImportedModule | undefined {
  const { line } = tokens[at] as Token;
  const marked = tokens[at + 1]?.text === 'type' && !['from', ','].includes(tokens[at + 2]?.text ?? '');
  for (let i = at + 1; i < tokens.length; i++) {
    const token = tokens[i] as Token;
    const next = tokens[i + 1];
    if (token.text === 'from' && token.kind === 'word' && next?.kind === 'string') {
      return { specifier: next.text, dynamic: false, typeOnly: marked, line };
    }
    const partOfClause = token.kind === 'word' || token.kind === 'string' || '{}*,'.includes(token.text);
    if (!partOfClause || (token.text === '}' && next?.text !== 'from')) return undefined;
  }
  return undefined;
}

/** Words after which a slash starts a regular expression, not a division. */
const BEFORE_REGEX = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'delete',
  'void',
  'throw',
  'new',
  'else',
  'do',
  'await',
  'yield',
]);

function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  /** For each open `${`, how many braces are open inside it. */
  const templates: number[] = [];
  let line = 1;
  let at = 0;

  const take = (kind: Token['kind'], end: number, text = source.slice(at, end)): void => {
    tokens.push({ kind, text, line });
    for (let i = at; i < end; i++) if (source[i] === '\n') line++;
    at = end;
  };
  const skipTo = (end: number): void => {
    for (; at < end; at++) if (source[at] === '\n') line++;
  };
  /** Takes template text from behind a backtick or a closing brace up to the next `${` or the end. */
  const takeTemplate = (from: number): void => {
    let end = from;
    while (end < source.length && source[end] !== '`' && !source.startsWith('${', end))
      end += source[end] === '\\' ? 2 : 1;
    const opens = source[end] === '$';
    take('template', end + (opens ? 2 : 1), '');
    if (opens) templates.push(0);
  };

  while (at < source.length) {
    const char = source[at] as string;
    if (char.trim() === '') skipTo(at + 1);
    else if (source.startsWith('//', at)) skipTo(endOf(source, '\n', at));
    else if (source.startsWith('/*', at)) skipTo(endOf(source, '*/', at + 2) + 2);
    else if (char === "'" || char === '"') {
      const end = closing(source, char, at + 1);
      take('string', end + 1, source.slice(at + 1, end));
    } else if (char === '`') takeTemplate(at + 1);
    else if (char === '}' && templates.at(-1) === 0) {
      templates.pop();
      takeTemplate(at + 1);
    } else if (char === '/' && regexMayStart(tokens.at(-1))) take('regex', regexEnd(source, at + 1));
    else if (/[\p{L}$_#]/u.test(char)) take('word', wordEnd(source, at));
    else if (/\d/.test(char)) take('number', wordEnd(source, at));
    else {
      const open = templates.length - 1;
      if (open >= 0 && (char === '{' || char === '}'))
        templates[open] = (templates[open] as number) + (char === '{' ? 1 : -1);
      take('mark', at + 1);
    }
  }
  return tokens;
}

function regexMayStart(before: Token | undefined): boolean {
  if (before === undefined) return true;
  if (before.kind === 'word') return BEFORE_REGEX.has(before.text);
  return before.kind === 'mark' && before.text !== ')' && before.text !== ']' && before.text !== '}';
}

function regexEnd(source: string, from: number): number {
  let inClass = false;
  let end = from;
  for (; end < source.length && source[end] !== '\n'; end++) {
    const char = source[end];
    if (char === '\\') end++;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '/' && !inClass) break;
  }
  return wordEnd(source, end + 1);
}

function closing(source: string, quote: string, from: number): number {
  let end = from;
  while (end < source.length && source[end] !== quote) end += source[end] === '\\' ? 2 : 1;
  return end;
}

function endOf(source: string, mark: string, from: number): number {
  const end = source.indexOf(mark, from);
  return end < 0 ? source.length : end;
}

function wordEnd(source: string, from: number): number {
  let end = from;
  while (end < source.length && /[\p{L}\p{N}$_#]/u.test(source[end] as string)) end++;
  return end;
}
