/** As much of DER as it takes to find a field in bytes that OpenSSL reads too; what cannot be followed is a RangeError. */

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OBJECT_ID = 0x06;
export const SEQUENCE = 0x30;

/** Steps through tag-length-value triples (X.690 section 8.1) in place; every length is checked against what is there. */
export class DerReader {
  private readonly bytes: Uint8Array;
  private readonly end: number;
  private at: number;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  done(): boolean {
    return this.at >= this.end;
  }

  rest(): Uint8Array {
    return this.bytes.subarray(this.at, this.end);
  }

  /** Is the rest exactly this? */
  holds(expected: Uint8Array): boolean {
    if (this.end - this.at !== expected.length) return false;
    return expected.every((byte, index) => this.bytes[this.at + index] === byte);
  }

  next(): { tag: number; content: DerReader } {
    const tag = this.byte();
    const length = this.length();
    const begin = this.at;
    if (begin + length > this.end) throw new RangeError('a value is longer than what holds it');
    this.at = begin + length;
    return { tag, content: new DerReader(this.bytes, begin, this.at) };
  }

  /** The next value with its tag and length, as it was signed. */
  raw(): Uint8Array {
    const begin = this.at;
    this.next();
    return this.bytes.subarray(begin, this.at);
  }

  enter(tag: number): DerReader {
    const value = this.next();
    if (value.tag !== tag) throw new RangeError(`tag ${value.tag} where ${tag} belongs`);
    return value.content;
  }

  /** Short form, or long form of up to three bytes: certificates are far below 16 MB. */
  private length(): number {
    const first = this.byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw new RangeError('a length that DER does not allow here');
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.byte();
    return length;
  }

  private byte(): number {
    const value = this.bytes[this.at];
    if (value === undefined || this.at >= this.end) throw new RangeError('the bytes end early');
    this.at++;
    return value;
  }
}
