/** The hash of consistent hashing: endpoints by their key, requests by a header, cookie, address or parameter. */

/**
 * 32 bits, unsigned: FNV-1a over the UTF-16 units, then MurmurHash3's finalizer, since FNV alone spreads the keys of
 * neighbours (`10.0.0.1:80`, `10.0.0.2:80`) badly. Not for anything an attacker must not choose.
 */
export function hash32(text: string, seed = 0): number {
  let hash = 0x811c_9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return mix32(hash);
}

/** Spreads every bit of a 32 bit number over all of them. */
export function mix32(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
