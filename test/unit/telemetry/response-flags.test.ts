import { expect, test } from 'vitest';
import { responseFlags } from '../../../proxy/telemetry/record.ts';
import { FAILURES } from '../../../shared/errors.ts';

test.each([
  [null, '', '-'],
  [null, 'DI', 'DI'],
  [FAILURES.faultAbort, '', 'FI'],
  [FAILURES.faultAbort, 'DI', 'DI,FI'],
  [FAILURES.connectRefused, 'DI', 'UF,DI'],
  [FAILURES.loopDetected, 'DI', 'DI'],
])('flags stand in the order of Envoy: %#', (failure, waitFlag, flags) => {
  expect(responseFlags(failure, waitFlag)).toBe(flags);
});
