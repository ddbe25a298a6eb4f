import { describe, expect, test } from 'vitest';
import { TraceContext } from '../../../proxy/telemetry/propagation.ts';
import type { SpanRecord } from '../../../proxy/telemetry/record.ts';
import { serverSpan } from '../../../proxy/telemetry/span.ts';
import { BATCH_SPANS, SpanBatch } from '../../../proxy/telemetry/span-batch.ts';
import { ManualClock } from '../../../shared/clock.ts';
import { requestRecord } from './fixtures.ts';

const span: SpanRecord = serverSpan(requestRecord, new TraceContext('a'.repeat(32), 'b'.repeat(16), '', true, ''));

function open(): { batch: SpanBatch; clock: ManualClock; posted: number[] } {
  const clock = new ManualClock();
  const posted: number[] = [];
  return { batch: new SpanBatch(clock, (spans) => posted.push(spans.length)), clock, posted };
}

describe('a batch of spans', () => {
  test('goes a fifth of a second after its first span', () => {
    const { batch, clock, posted } = open();
    batch.add(span);
    clock.advance(150);
    batch.add(span);
    expect(posted).toEqual([]);
    clock.advance(50);
    expect(posted).toEqual([2]);
    clock.advance(1000);
    expect(posted).toEqual([2]);
  });

  test('goes at once when it is full, and its timer with it', () => {
    const { batch, clock, posted } = open();
    for (let i = 0; i < BATCH_SPANS + 1; i++) batch.add(span);
    expect(posted).toEqual([BATCH_SPANS]);
    clock.advance(200);
    expect(posted).toEqual([BATCH_SPANS, 1]);
  });

  test('is handed over on demand, but never empty', () => {
    const { batch, posted } = open();
    batch.flush();
    batch.add(span);
    batch.flush();
    expect(posted).toEqual([1]);
  });
});
