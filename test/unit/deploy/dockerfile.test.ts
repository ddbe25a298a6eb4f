import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const text = readFileSync(join(root, 'deploy/Dockerfile'), 'utf8');

interface Instruction {
  readonly word: string;
  readonly rest: string;
  /** Name or number of the stage it stands in; empty before the first. */
  readonly stage: string;
}

/** Instructions in order, with their here-documents and continued lines. */
function instructionsOf(dockerfile: string): Instruction[] {
  const found: Instruction[] = [];
  const lines = dockerfile.split('\n');
  let stage = '';
  let stages = 0;
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i] as string;
    if (line.trim() === '' || line.startsWith('#')) continue;
    while (line.endsWith('\\')) line = line.slice(0, -1) + (lines[++i] as string);
    const end = /<<-?["']?([A-Z]+)["']?$/.exec(line)?.[1];
    if (end !== undefined) while (lines[++i] !== end) line += `\n${lines[i]}`;
    const [, word, rest] = /^([A-Z]+)\s+([^]*)$/.exec(line) ?? [];
    if (word === undefined || rest === undefined) throw new Error(`no instruction: ${line}`);
    if (word === 'FROM') stage = / AS (\S+)$/.exec(rest)?.[1] ?? String(stages);
    if (word === 'FROM') stages++;
    found.push({ word, rest, stage });
  }
  return found;
}

const instructions = instructionsOf(text);
const stages = [...new Set(instructions.map(({ stage }) => stage))].filter((stage) => stage !== '');
const last = stages.at(-1);
const of = (word: string, stage?: string): Instruction[] =>
  instructions.filter((each) => each.word === word && (stage === undefined || each.stage === stage));

test('only instructions that Docker knows, and arguments only before the first stage or in one', () => {
  const known = ['ARG', 'FROM', 'WORKDIR', 'COPY', 'RUN', 'USER', 'ENV', 'ENTRYPOINT', 'CMD'];
  expect(instructions.filter(({ word }) => !known.includes(word))).toEqual([]);
  expect(stages).toEqual(['build', 'init', '2']);
});

test('every image it builds on is pinned to the Node that package.json names', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: { node: string };
  };
  expect(of('ARG')[0]?.rest).toBe(`NODE=${dependencies.node}`);
  for (const { rest } of of('FROM')) expect(rest).toMatch(/^node:\$\{NODE\}-trixie-slim(?: AS [a-z]+)?$/);
  expect(text).toContain('ARG SOURCE_DATE_EPOCH');
});

test('every path it copies from the source exists, and .dockerignore lets it through', () => {
  const ignore = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
  const sources = of('COPY')
    .filter(({ rest }) => !rest.startsWith('--from'))
    .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
  expect(sources.length).toBeGreaterThan(5);
  expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([]);
  expect(sources.filter((source) => !ignore.includes(`!${source}`))).toEqual([]);
});

test('every stage that is copied or mounted from comes before', () => {
  const used = instructions.flatMap(({ rest, stage }) =>
    [...rest.matchAll(/(?:--from=|from=)([a-z]+)/g)].map(([, from]) => [from as string, stage] as const),
  );
  expect(used.length).toBeGreaterThan(2);
  for (const [from, stage] of used) expect(stages.slice(0, stages.indexOf(stage))).toContain(from);
});

test('what is copied into the images is what "make build" makes, where the entry point and the hooks look for it', () => {
  const builder = readFileSync(join(root, 'deploy/build.ts'), 'utf8');
  const [folder] = /join\(root, '(dist)'\)/.exec(builder)?.slice(1) ?? [];
  const [program] = /outfile: join\(folder, '([^']+)'\)/.exec(builder)?.slice(1) ?? [];
  for (const stage of ['init', last as string]) {
    expect(of('COPY', stage).map(({ rest }) => rest.replace(/--\S+ /g, ''))).toEqual([`/src/${folder} /weft`]);
    expect(of('ENTRYPOINT', stage)[0]?.rest).toBe(`["node", "/weft/${program}"]`);
  }
  expect(readFileSync(join(root, 'deploy/inject/sidecar.ts'), 'utf8')).toContain(`['node', '/weft/${program}']`);
  expect(of('RUN', 'build').some(({ rest }) => rest === 'node deploy/build.ts')).toBe(true);
});

test('folders that a build mounts exist', () => {
  const mounted = [...text.matchAll(/source=\/src\/([^,\s]+)/g)].map(([, path]) => path as string);
  expect(mounted).toEqual(['deploy/examples']);
  expect(mounted.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('only the image of weft init has packages besides Node, and only the sidecar runs as 1337', () => {
  const installing = of('RUN').filter(({ rest }) => rest.includes('apt-get'));
  expect(installing.map(({ stage }) => stage)).toEqual(['init']);
  expect(installing[0]?.rest).toMatch(/install --yes --no-install-recommends nftables iptables\n/);
  expect(installing[0]?.rest).toContain('rm -rf /var/lib/apt/lists');
  expect(of('USER')).toEqual([{ word: 'USER', rest: '1337:1337', stage: last }]);
});
