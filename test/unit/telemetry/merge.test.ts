import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeExpositions } from '../../../proxy/telemetry/merge.ts';
import { parseExposition } from './exposition.ts';

const OWN = '# HELP weft_up Whether.\n# TYPE weft_up gauge\nweft_up 1\n';

test('the families of the application follow our own', () => {
  const app = '# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{kind="a"} 3\njobs_total{kind="b"} 4\n';
  expect(mergeExpositions(OWN, app)).toBe(OWN + app);
});

test('an application that says nothing leaves our own', () => {
  expect(mergeExpositions(OWN, '')).toBe(OWN);
});

test('a family that both have is ours, and one that the application tears apart is put together', () => {
  const app = [
    '# TYPE weft_up gauge',
    'weft_up 0',
    '# HELP a_total First.',
    '# TYPE a_total counter',
    'a_total{x="1"} 1',
    'b 2',
    '# HELP a_total Second.',
    '# TYPE a_total gauge',
    'a_total{x="2"} 2',
    'a_total{x="1"} 9',
    '',
  ].join('\n');
  expect(mergeExpositions(OWN, app)).toBe(
    `${OWN}# HELP a_total First.\n# TYPE a_total counter\na_total{x="1"} 1\na_total{x="2"} 2\nb 2\n`,
  );
});

test('the series of histograms and summaries stay with their family', () => {
  const app = [
    '# HELP seconds Time.',
    '# TYPE seconds histogram',
    'seconds_bucket{le="1"} 1',
    'seconds_bucket{le="+Inf"} 2',
    'seconds_sum 1.5e-3',
    'seconds_count 2',
    '',
  ].join('\n');
  const merged = parseExposition(mergeExpositions(OWN, app));
  expect(merged.get('seconds')?.samples.map(({ name }) => name)).toEqual([
    'seconds_bucket',
    'seconds_bucket',
    'seconds_sum',
    'seconds_count',
  ]);
});

test.each([
  ['a page', '<html>not found</html>'],
  ['a series cut in half', 'a_total{x="1'],
  ['a sample without a value', 'a_total'],
  ['an exemplar of OpenMetrics', 'a_total 1 # {trace_id="x"} 1'],
  ['a comment', '# EOF'],
  ['a carriage return', 'a 1\rb 2'],
])('%s is left out', (_case, line) => {
  expect(mergeExpositions(OWN, `${line}\ngood 1\n`)).toBe(`${OWN}good 1\n`);
});

test('whatever an application answers, the whole stays valid', () => {
  const name = fc.constantFrom('a', 'a_total', 'a_bucket', 'weft_up', 'b:c');
  const line = fc.oneof(
    fc.tuple(name, fc.integer()).map(([metric, value]) => `${metric} ${value}`),
    fc.tuple(name, fc.string({ maxLength: 5 })).map(([metric, value]) => `${metric}{l=${JSON.stringify(value)}} 1`),
    fc
      .tuple(fc.constantFrom('HELP', 'TYPE'), name, fc.constantFrom('counter', 'histogram', 'text'))
      .map((parts) => `# ${parts.join(' ')}`),
    fc.string({ maxLength: 12 }),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), (lines) => {
      const merged = mergeExpositions(OWN, lines.join('\n'));
      expect(merged.startsWith(OWN)).toBe(true);
      const series = merged.split('\n').filter((each) => each !== '' && !each.startsWith('#'));
      const keys = series.map((each) => each.slice(0, each.lastIndexOf(' ')));
      expect(new Set(keys).size).toBe(keys.length);
      const types = [...merged.matchAll(/^# TYPE (\S+)/gm)].map(([, family]) => family);
      expect(new Set(types).size).toBe(types.length);
    }),
    { seed: 5, numRuns: 500 },
  );
});
