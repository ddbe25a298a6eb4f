/**
 * A copy in memory of just its size, for bytes that are kept. `Buffer.from` cuts small ones out of a slab (`Buffer.poolSize`,
 * 64 KB), all of which lives as long as the last of them.
 */
export function ownBytes(bytes: Uint8Array): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  own.set(bytes);
  return own;
}
