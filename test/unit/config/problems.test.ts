/**
 * Golden problems: each section of test/config/problems/*.md is a policy file and the lines that weft must say of it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compile } from '../../../proxy/config/compile.ts';
import { loadExpressions } from '../../../proxy/policy/expression.ts';
import { formatProblem } from '../../../shared/problem.ts';

await loadExpressions();

const FOLDER = join(import.meta.dirname, '../../config/problems');
const SELF = { namespace: 'shop', labels: { app: 'catalog' }, serviceAccount: 'default' };

interface Case {
  readonly title: string;
  readonly policy: string;
  readonly lines: string;
}

function casesOf(file: string): Case[] {
  const sections = readFileSync(join(FOLDER, file), 'utf8').split(/^## /m).slice(1);
  return sections.map((section) => {
    const match = /^(.*)\n\n```yaml\n([^]*?)```\n\n```text\n([^]*?)```\n*$/.exec(section);
    if (match === null)
      throw new Error(`${file}: "${section.split('\n', 1)[0]}" is no title, yaml block and text block`);
    return { title: match[1] as string, policy: match[2] as string, lines: (match[3] as string).trimEnd() };
  });
}

for (const file of readdirSync(FOLDER)) {
  describe(`test/config/problems/${file}`, () => {
    it.each(casesOf(file))('$title', ({ policy, lines }) => {
      const { snapshot, problems } = compile([{ path: 'policy.yaml', text: policy }], SELF);
      expect(problems.map(formatProblem).join('\n')).toBe(lines);
      expect(snapshot).toBeNull();
    });
  });
}
