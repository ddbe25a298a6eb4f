import { describe, expect, test } from 'vitest';
import { type Handling, RequestDriver, ResponseDriver } from './http1.ts';
import { type Driver, play, readCases, type WireCase } from './run.ts';

const CODECS: Readonly<Record<string, (options: WireCase['options'], handling: Handling) => Driver>> = {
  'http1-request': (options, handling) => new RequestDriver(options, handling),
  'http1-response': (options, handling) => new ResponseDriver(options, handling),
};

const cases = readCases(import.meta.dirname);

function driverOf(wire: WireCase, stopAlways = false): Driver {
  const make = CODECS[wire.codec];
  if (make === undefined) throw new Error(`${wire.file}: no codec ${wire.codec}`);
  return make(wire.options, { stopAlways });
}

test('There are at least 300 wire cases, and each has a name of its own in its file.', () => {
  expect(cases.length).toBeGreaterThanOrEqual(300);
  const names = cases.map((wire) => `${wire.file} ${wire.section} ${wire.name}`);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

for (const file of new Set(cases.map((wire) => wire.file))) {
  describe(file, () => {
    test.for(
      cases
        .filter((wire) => wire.file === file)
        .map((wire) => [`${wire.section}: ${wire.name} (line ${wire.line})`, wire] as const),
    )('%s', ([, wire]) => {
      expect(play(driverOf(wire), wire, [])).toEqual(wire.events);
      const bytewise = Array.from({ length: wire.input.length }, (_, i) => i);
      expect(play(driverOf(wire), wire, bytewise), 'byte by byte').toEqual(wire.events);
      expect(play(driverOf(wire, true), wire, []), 'stopped in every event').toEqual(wire.events);
      for (const cut of bytewise) {
        const events = play(driverOf(wire), wire, [cut]);
        if (events.join('\n') !== wire.events.join('\n')) expect(events, `cut at ${cut}`).toEqual(wire.events);
      }
    });
  });
}
