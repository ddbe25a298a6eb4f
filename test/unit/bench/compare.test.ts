import { expect, test } from 'vitest';
import { compareCpu, forthAndBack, median } from '../../bench/compare.ts';
import { cpuMicros, residentKb } from '../../bench/cpu.ts';
import type { Deployment } from '../../bench/peer.ts';
import { differenceLine, ratioLine, table, valueLine, verdict } from '../../bench/report.ts';

const deployment = (pids: readonly number[]): Deployment => ({
  port: 0,
  host: '',
  preamble: '',
  pids,
  stop: async () => undefined,
});

test('slices go forth and back, so that drift meets all alike', () => {
  expect(forthAndBack(2)).toEqual([0, 1, 1, 0]);
  expect(forthAndBack(3)).toEqual([0, 1, 2, 2, 1, 0]);
});

test('a median is the middle value, or the mean of the two in the middle', () => {
  expect([median([3, 1, 2]), median([4, 1, 3, 2])]).toEqual([2, 2.5]);
  expect(median([])).toBeNaN();
});

test('the cost of work is CPU time of the process by units of work, each subject loaded twice a block', async () => {
  const loads: string[] = [];
  const subjects = [
    { name: 'own', deployment: deployment([process.pid]) },
    { name: 'none', deployment: deployment([]) },
  ];
  const load = async (where: Deployment): Promise<number> => {
    loads.push(where === subjects[0]?.deployment ? 'own' : 'none');
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < 5_000);
    return 10;
  };
  const [own, none] = await compareCpu(subjects, load, 2);
  expect(loads.join(' ')).toBe('own none own none none own own none none own');
  expect(own?.micros).toBeGreaterThan(50);
  expect([none?.micros, own?.ratio, own?.difference]).toEqual([0, 1, 0]);
});

test('CPU time and resident memory of a process are read from the kernel', () => {
  expect(residentKb([process.pid])).toBeGreaterThan(10_000);
  expect(cpuMicros([process.pid])).toBeGreaterThan(10_000);
});

test('a verdict says whether target and stretch were met', () => {
  const figures = { name: 'hop', unit: 'µs', weft: 12, peer: 'nginx', peerFigure: 10 };
  expect(verdict(ratioLine(figures, 1.2))).toBe('');
  expect(verdict(ratioLine(figures, 1.2, { target: 1.35, stretch: 1.1 }))).toBe('met');
  expect(verdict(ratioLine(figures, 1.1, { target: 1.35, stretch: 1.1 }))).toBe('met, stretch too');
  expect(verdict(ratioLine(figures, 1.36, { target: 1.35, stretch: 1.1 }))).toBe('MISSED');
  expect(verdict(differenceLine(figures, -0.5, { target: 0 }))).toBe('met');
  expect(verdict(valueLine({ name: 'RSS', unit: 'MB', weft: Number.NaN }, { target: 85 }))).toBe('no figure');
});

test('the table shows the figure of the peer beside each score', () => {
  const text = table([
    ratioLine({ name: 'hop', unit: 'µs', weft: 12, peer: 'nginx', peerFigure: 10.04 }, 1.2, { target: 1.35 }),
    valueLine({ name: 'RSS', unit: 'MB', weft: 90 }, { target: 85 }),
  ]);
  expect(text.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
    expect.stringContaining('what | weft | peer | peer figure | score'),
    expect.stringMatching(/^─+$/),
    'hop | 12.0 µs | nginx | 10.0 µs | 1.20 × | ≤ 1.35 | met',
    'RSS | 90.0 MB | ≤ 85 | MISSED',
  ]);
});
