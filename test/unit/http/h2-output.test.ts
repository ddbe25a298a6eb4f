import { describe, expect, it } from 'vitest';
import { H2Output } from '../../../proxy/http/h2-output.ts';

function write(output: H2Output, text: string): void {
  const bytes = Buffer.from(text);
  output.copy(bytes, 0, bytes.length, output.reserve(bytes.length));
}

describe('an output', () => {
  it('calls its owner when it stops being empty, and not before it is empty again', () => {
    let called = 0;
    const output = new H2Output(64, () => void called++);
    write(output, 'a');
    write(output, 'b');
    expect(called).toBe(1);
    output.clear();
    write(output, 'c');
    expect(called).toBe(2);
  });

  it('grows and keeps what it holds', () => {
    const output = new H2Output(16, () => undefined);
    const text = Array.from({ length: 50 }, (_, n) => `piece ${n};`);
    for (const piece of text) write(output, piece);
    expect(output.pending().toString()).toBe(text.join(''));
  });

  it('never writes over bytes that the transport kept', () => {
    const output = new H2Output(64, () => undefined);
    write(output, 'kept by the transport');
    const kept = output.pending();
    output.rotate();
    for (let i = 0; i < 20; i++) {
      write(output, 'something else altogether');
      output.clear();
    }
    expect(kept.toString()).toBe('kept by the transport');
  });

  it('holds no buffer while it is empty', () => {
    const output = new H2Output(64, () => undefined);
    write(output, 'x');
    output.clear();
    expect(output.bytes.length).toBe(0);
  });

  it('takes bytes from any kind of byte array', () => {
    const output = new H2Output(64, () => undefined);
    const source = new Uint8Array([0, 104, 105, 0]);
    output.copy(source, 1, 3, output.reserve(2));
    expect(output.pending().toString()).toBe('hi');
  });
});
